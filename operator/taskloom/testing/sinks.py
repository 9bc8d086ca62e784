"""A sink in memory: for tests of what is produced, and of what happens when that fails."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.resources.event_sink import EventSinkSpec


def sink_row(
    spec: Mapping[str, Any], *, name: str = "sink", secrets: Mapping[str, Secret] | None = None
) -> EventSink:
    """Write the row of an EventSink, its spec as YAML has it, as the reconcilers do."""
    read = EventSinkSpec.model_validate(spec)
    return EventSink(
        id=uuid.uuid5(uuid.NAMESPACE_OID, f"sink {name}"),
        kind=read.type,
        spec=read.model_dump(by_alias=True, mode="json", exclude_none=True),
        event_keys=read.event_keys,
        filter=read.filter,
        secrets=secrets or {},
        suspended=read.suspend,
        managed_by=f"file:EventSink/default/{name}",
    )


class FakeSinks:
    """A `SinkConnector` and its producers: it keeps the records of each sink, by its id.

    While `failure` is set nothing can be opened, sent or checked; `refusals` says what is not
    produced, by the record's key.  `opened` are the sinks in the order they were opened.
    """

    def __init__(self, kind: str = "kafka") -> None:
        self.kind = kind
        self.records: dict[uuid.UUID, list[Record]] = {}
        self.opened: list[EventSink] = []
        self.failure: SinkFailed | None = None
        self.refusals: dict[str, NotProduced] = {}

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator["FakeProducer"]:
        """Open one."""
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.opened.append(sink)
        yield FakeProducer(self, self.records.setdefault(sink.id, []))


class FakeProducer:
    """An open one."""

    def __init__(self, sinks: FakeSinks, records: list[Record]) -> None:
        self._sinks = sinks
        self._records = records

    async def send(self, records: Sequence[Record]) -> Sequence[Produced | NotProduced]:
        """Keep records, but those that are refused."""
        await self.check()
        results: list[Produced | NotProduced] = []
        for record in records:
            record.key.encode()  # as every real one does
            refusal = self._sinks.refusals.get(record.key)
            if refusal is None:
                self._records.append(record)
                results.append(Produced(place=str(len(self._records))))
            else:
                results.append(refusal)
        return results

    async def check(self) -> None:
        """Fail if it is to."""
        await asyncio.sleep(0)
        if self._sinks.failure is not None:
            raise self._sinks.failure
