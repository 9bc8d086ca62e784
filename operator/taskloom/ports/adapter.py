"""How a message of a form of one's own becomes an event: an adapter reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What an adapter read out of a message.

    `key` has 1 to 255 characters, `source` at most 255, `description` at most 10,000;
    `payload` is any JSON value.  Messages of one source with one `idempotency_key`, of 1 to 255
    characters, are one event, unless the broker or the sender gives another.
    """

    key: str
    payload: Any
    source: str | None = None
    description: str | None = None
    idempotency_key: str | None = None


class Adapter(Protocol):
    """Reads the messages of sources whose format names it.

    It decides from the message alone: it is called on the loop that serves everything else, so it
    must neither wait nor call other systems, and it may be called again with the same message.

    Raise `taskloom.errors.Invalid` saying what the message lacks.  Whatever it raises, the message
    is no event then; of other errors only the class is told, as their text may hold anything.
    """

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Adapted:
        """Read a message; the names of its headers are in lower case."""
        ...
