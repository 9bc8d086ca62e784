"""Messages that are no events, kept to be looked at, repaired and given again.

::

    open ──► replayed     it became an event, as it was or repaired
      └────► discarded    somebody decided that it is none
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class DeadLetterState(StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeadLetter:
    """A message that came by `origin` and is no event; a `body` of None was none at all.

    `idempotency_key` is the message's name within its source: it is kept once.
    """

    id: UUID
    source_id: UUID
    origin: str
    reason: str
    body: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A kept message without its body, of which `size` counts the bytes."""

    id: UUID
    source_id: UUID
    origin: str
    reason: str
    headers: Mapping[str, str] = field(repr=False)
    idempotency_key: str | None
    size: int
    state: DeadLetterState
    event_id: UUID | None
    created_on: datetime
    finished_at: datetime | None

    @property
    def once(self) -> str:
        """The key that makes it one event only, however often it is replayed."""
        return self.idempotency_key or f"dead-letter/{self.id}"
