"""A connector and a context in memory: for tests of contexts, and of connectors."""

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.errors import TaskloomError, Unavailable
from taskloom.ports.connector import ConnectorContext, Fate, Incoming, Receipt, SourceFailed
from taskloom.resources.event_source import EventSourceSpec

_LOOK = 0.02
_TAKEN = (Fate.STORED, Fate.DUPLICATE)


def source_row(
    spec: Mapping[str, Any],
    *,
    name: str = "source",
    secrets: Mapping[str, Secret] | None = None,
    pool: str | None = "default",
) -> EventSource:
    """Write the row of an EventSource, its spec as YAML has it, as the reconcilers do."""
    read = EventSourceSpec.model_validate(spec)
    return EventSource(
        id=uuid.uuid5(uuid.NAMESPACE_OID, name),
        kind=read.type,
        path=None,
        spec=read.model_dump(by_alias=True, mode="json", exclude_none=True),
        secrets=secrets or {},
        suspended=read.suspend,
        pool=pool,
        managed_by=f"file:EventSource/default/{name}",
    )


def _stored(_message: Incoming) -> Fate:
    return Fate.STORED


@dataclass
class FakeContext:
    """A `ConnectorContext` that keeps what it is given, by a clock that runs while one pauses.

    `kept` are the messages that were stored, in that order; `given` all that ever came, those
    that could not be stored too; `told` the states in theirs.
    `failures` are raised by the next calls of `ingest`, one after another; `fate_of` says what
    becomes of a message that was not stored before.
    It stops after `most_pauses` pauses, or when `stop` is called.
    With `wall_clock` a pause takes its time, as connectors need that talk to a real system.
    """

    source: EventSource
    time: datetime = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    most_pauses: int = 1000
    kept: list[Incoming] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    failures: list[TaskloomError] = field(default_factory=list)
    at: str | None = None
    lag: int | None = None
    pauses: int = 0
    stopping: bool = False
    wall_clock: bool = False
    fate_of: Callable[[Incoming], Fate] = _stored
    given: list[Incoming] = field(default_factory=list)

    def stop(self) -> None:
        """Ask the connector to return."""
        self.stopping = True

    def now(self) -> datetime:
        """Tell the time."""
        return datetime.now(UTC) if self.wall_clock else self.time

    async def pause(self, seconds: float) -> bool:
        """Let the time pass: at once, or as the clock on the wall does."""
        if self.wall_clock:
            await came(lambda: self.stopping, seconds)
            return not self.stopping
        await asyncio.sleep(0)
        self.time += timedelta(seconds=max(0.0, seconds))
        self.pauses += 1
        if self.pauses >= self.most_pauses:
            self.stop()
        return not self.stopping

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Keep messages, each idempotency key once."""
        await asyncio.sleep(0)
        self.given.extend(batch)
        if self.failures:
            raise self.failures.pop(0)
        known = {kept.idempotency_key for kept in self.kept} - {None}
        blocked: set[str] = set()
        receipts = []
        for message in batch:
            fate = self._fate(message, known, blocked)
            receipts.append(Receipt(fate=fate, reason="" if fate in _TAKEN else "scripted"))
            if fate is Fate.STORED:
                self.kept.append(message)
                known.add(message.idempotency_key)
        return receipts

    def connected(self, *, partitions: int | None = None) -> None:
        """Keep that it is connected."""
        self.told.append(("connected", ""))

    def failing(self, reason: Reason, message: str) -> None:
        """Keep that it is failing."""
        self.told.append((str(reason), message))

    def lagging(self, messages: int) -> None:
        """Keep how many messages wait."""
        self.lag = messages

    async def position(self) -> str | None:
        """Give what was kept last."""
        return self.at

    async def move(self, position: str) -> None:
        """Keep how far the source was read."""
        self.at = position

    async def wait_for_kept(self, count: int, *, seconds: float = 15.0) -> None:
        """Return once so many messages are kept; `TimeoutError` if that takes too long."""
        if not await came(lambda: len(self.kept) >= count, seconds):
            raise TimeoutError(f"{len(self.kept)} of {count} messages are kept: {self.told}")

    async def wait_for_told(self, state: str, *, seconds: float = 15.0) -> None:
        """Return once this is what was told last: ``connected``, or a reason."""
        if not await came(lambda: bool(self.told) and self.told[-1][0] == state, seconds):
            raise TimeoutError(f"{state} was not told: {self.told}")

    def _fate(self, message: Incoming, known: Collection[str | None], blocked: set[str]) -> Fate:
        if message.lane in blocked:
            return Fate.BLOCKED
        if message.idempotency_key in known:
            return Fate.DUPLICATE
        fate = self.fate_of(message)
        if fate is Fate.BLOCKED and message.lane is None:
            raise SourceFailed("a message is no event: scripted", reason=Reason.MESSAGE_INVALID)
        if fate is Fate.BLOCKED and message.lane is not None:
            blocked.add(message.lane)
        return fate


async def came(what: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so, no longer than that; tell whether it is."""
    end = time.monotonic() + seconds
    while True:
        if what():
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        await asyncio.sleep(min(_LOOK, left))


class FakeConnector:
    """A `Connector` of a kind: it sends what `messages` gives for a source, once around.

    `fail` makes the next runs end so; `runs` counts them, `running` are the sources of now.
    """

    def __init__(
        self,
        kind: str = "kafka",
        *,
        exclusive: bool = False,
        messages: Callable[[EventSource], Sequence[Incoming]] = lambda _source: (),
    ) -> None:
        self.kind = kind
        self.exclusive = exclusive
        self.runs: list[EventSource] = []
        self.running: list[EventSource] = []
        self._messages = messages
        self._failures: list[Exception] = []

    def fail(self, *errors: Exception) -> None:
        """Let the next runs end with these errors, one after another."""
        self._failures.extend(errors)

    async def run(self, context: ConnectorContext) -> None:
        """Send the messages one by one, then wait to be stopped."""
        self.runs.append(context.source)
        self.running.append(context.source)
        try:
            if self._failures:
                raise self._failures.pop(0)
            context.connected(partitions=1)
            for message in self._messages(context.source):
                if context.stopping:
                    return
                await self._send(context, message)
            while await context.pause(1.0):
                pass
        finally:
            self.running.remove(context.source)

    async def _send(self, context: ConnectorContext, message: Incoming) -> None:
        while not context.stopping:
            try:
                await context.ingest([message])
            except Unavailable as error:
                await context.pause(error.delay)
            else:
                return
