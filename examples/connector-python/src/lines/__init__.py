"""Events from the lines of a file that grows, and to the end of another: the kind ``lines``."""

from lines.sink import LineSinks
from lines.source import LineSources

__all__ = ["LineSinks", "LineSources"]
