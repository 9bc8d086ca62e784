"""Where an engine's feed stands, kept in memory."""

from collections.abc import Mapping
from datetime import datetime


class MemoryBookmark:
    """Keeps moments by kind, as the task database does for real."""

    def __init__(self) -> None:
        self.moments: dict[str, datetime] = {}

    async def read(self) -> Mapping[str, datetime]:
        """Give what is kept."""
        return dict(self.moments)

    async def keep(self, moments: Mapping[str, datetime]) -> None:
        """Keep moments; none goes back."""
        for kind, moment in moments.items():
            self.moments[kind] = max(moment, self.moments.get(kind, moment))
