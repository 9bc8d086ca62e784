"""Where outgoing events go to, other than webhooks: a connector produces to one sink.

A producer moves records and tells what became of each.  What is in them, when one is tried again,
and what is told of the sink is the business of who calls it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSink
from taskloom.errors import Temporary


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An outgoing event as it is produced.

    `id` is the outgoing event's, the same at every attempt: systems that drop duplicates do so by
    it.  `key` is what they keep in order by; the names of the headers are in lower case.
    """

    id: UUID
    key: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """The record is durable; `place` says where (``topic/partition/offset``, a message's id)."""

    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotProduced:
    """It is not; a `permanent` failure will be the same at every attempt (it is too large)."""

    message: str
    permanent: bool = False


class SinkFailed(Temporary):
    """The sink cannot be reached or does not take anything now."""

    def __init__(
        self, message: str, *, reason: Reason = Reason.CONNECT_FAILED, delay: float = 1.0
    ) -> None:
        """Say why in words that hold no secret, and by a reason that conditions know."""
        super().__init__(message, delay=delay)
        self.reason = reason


class Producer(Protocol):
    """An open connection to a sink."""

    async def send(self, records: Sequence[Record]) -> Sequence[Produced | NotProduced]:
        """Produce records in their order; tell of each, in the same order, what became of it.

        Raises `SinkFailed` if the sink is to blame: none counts as produced then.
        """
        ...

    async def check(self) -> None:
        """Return if records could be produced now; called now and then while there are none.

        Raises `SinkFailed` if not.
        """
        ...


class SinkConnector(Protocol):
    """Opens sinks of one kind."""

    @property
    def kind(self) -> str:
        """The kind of sink: the name of its part of the spec, or a custom one's."""
        ...

    def open(self, sink: EventSink) -> AbstractAsyncContextManager[Producer]:
        """Connect; leaving the context closes what was opened.

        Entering raises `SinkFailed` if that did not work.
        """
        ...
