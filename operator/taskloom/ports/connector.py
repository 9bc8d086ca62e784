"""Where events come in from, other than calls: a connector runs one source.

A connector moves messages and confirms them.  What a message means, whether it is passed over,
and that it becomes an event once only is the business of the context it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSource
from taskloom.errors import Temporary


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message; the names of its headers are in lower case, and a `body` of None is none at all.

    `idempotency_key` names it within its source (topic, partition and offset; a scheduled time):
    given again with the same one, it is not stored again.
    `lane` names those that are confirmed in their order (a partition): a source that stops at a
    message that is no event stops this lane only, if the connector names one.
    """

    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    idempotency_key: str | None = None
    lane: str | None = None


class Fate(StrEnum):
    """What became of a message; unless it is blocked, it need not be given again."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # it was stored before
    FILTERED = "filtered"  # the source's filter does not let it through
    DROPPED = "dropped"  # it is no event, and the source drops such
    DEAD_LETTERED = "dead-lettered"  # it is no event, and is kept to be looked at
    BLOCKED = "blocked"  # it, or one before it in its lane, is no event: to be given again


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to a message."""

    fate: Fate
    event_id: UUID | None = None
    reason: str = ""


class SourceFailed(Temporary):
    """The source cannot be read now; the connector is started again after a while."""

    def __init__(
        self, message: str, *, reason: Reason = Reason.CONNECT_FAILED, delay: float = 1.0
    ) -> None:
        """Say why in words that hold no secret, and by a reason that conditions know."""
        super().__init__(message, delay=delay)
        self.reason = reason


class ConnectorContext(Protocol):
    """What a running connector is given."""

    @property
    def source(self) -> EventSource:
        """The source to run: its spec as JSON, and the secrets that its references held."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether to finish what is in hand and return."""
        ...

    def now(self) -> datetime:
        """Tell the time."""
        ...

    async def pause(self, seconds: float) -> bool:
        """Wait so long; tell whether to go on, which is False at once when it is to stop."""
        ...

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Store messages as events; when it returns they are durable, receipts in their order.

        Raises `Temporary` if that did not work now: none of them counts as stored then, and all
        are to be given again.
        """
        ...

    def connected(self, *, partitions: int | None = None) -> None:
        """Tell that the source is being read, and how many partitions of it."""
        ...

    def failing(self, reason: Reason, message: str) -> None:
        """Tell that it is not being read, where the connector goes on trying by itself."""
        ...

    def lagging(self, messages: int) -> None:
        """Tell how many messages wait for this connector."""
        ...

    async def position(self) -> str | None:
        """Read what `move` kept last; None at first, and after the source was suspended."""
        ...

    async def move(self, position: str) -> None:
        """Keep how far the source has been read, for sources that do not know it themselves."""
        ...


class Connector(Protocol):
    """Runs sources of one kind; one object for all of them, so what a run needs is its own."""

    @property
    def kind(self) -> str:
        """The kind of source: the name of its part of the spec."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether a source of it may run in one process only.

        Else each process of a pool may, up to the source's `placement.replicas`, and the system
        that is read shares the messages out.
        """
        ...

    async def run(self, context: ConnectorContext) -> None:
        """Read the source until the context says to stop; then return, within seconds.

        Raise `SourceFailed` if it cannot be read; whatever is raised, or a return before it is to
        stop, leads to another run after a while.
        """
        ...
