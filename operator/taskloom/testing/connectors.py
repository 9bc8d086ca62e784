"""A connector and a context in memory: for tests of contexts, and of connectors."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.errors import TaskloomError, Unavailable
from taskloom.ports.connector import ConnectorContext, Fate, Incoming, Receipt
from taskloom.resources.event_source import EventSourceSpec


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


@dataclass
class FakeContext:
    """A `ConnectorContext` that keeps what it is given, by a clock that runs while one pauses.

    `kept` are the messages in the order they were stored in, `told` the states in theirs;
    `failures` are raised by the next calls of `ingest`, one after another.
    It stops after `most_pauses` pauses, or when `stop` is called.
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

    def stop(self) -> None:
        """Ask the connector to return."""
        self.stopping = True

    def now(self) -> datetime:
        """Tell the time."""
        return self.time

    async def pause(self, seconds: float) -> bool:
        """Let the time pass at once."""
        await asyncio.sleep(0)
        self.time += timedelta(seconds=max(0.0, seconds))
        self.pauses += 1
        if self.pauses >= self.most_pauses:
            self.stop()
        return not self.stopping

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Keep messages, each idempotency key once."""
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        receipts = []
        for message in batch:
            known = {kept.idempotency_key for kept in self.kept} - {None}
            duplicate = message.idempotency_key in known
            receipts.append(Receipt(fate=Fate.DUPLICATE if duplicate else Fate.STORED))
            if not duplicate:
                self.kept.append(message)
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
