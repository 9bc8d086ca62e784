"""What must show a sign of life now and then: what does not is stuck, and a restart would help."""

import time
from collections.abc import Callable


class Vitals:
    """The signs of life of one process; may be given from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, tuple[float, float]] = {}

    def beat(self, name: str, within: float) -> None:
        """Show that something lives, and will show it again within so many seconds."""
        now = self._clock()
        self._due[name] = (now, now + within)

    def end(self, name: str) -> None:
        """Tell that something has ended, as it should."""
        self._due.pop(name, None)

    def stuck(self) -> dict[str, str]:
        """Name what has shown no sign of life for too long, and for how long."""
        now = self._clock()
        return {
            name: f"no sign of life for {now - beaten:.0f} seconds"
            for name, (beaten, due) in self._due.copy().items()
            if now > due
        }
