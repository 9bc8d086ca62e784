"""What connectors of sinks keep to, as tests to inherit; they need pytest and pytest-asyncio.

::

    class TestMine(SinkConnectorSuite):
        @pytest.fixture
        async def stage(self) -> AsyncIterator[SinkStage]:
            async with MyStage() as stage:
                yield stage
"""

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import Produced, Record, SinkConnector, SinkFailed

TOLD_SECONDS = 15.0
"""Within this opening and checking tell that a system is away."""
SEND_SECONDS = 30.0
"""Within this sending does: half of what a batch may take."""
_COUNT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A record as it is found in the system; headers that it adds itself may be among them."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class SinkStage(ABC):
    """A connector, and a sink of its kind that is empty."""

    connector: SinkConnector
    sink: EventSink

    @abstractmethod
    async def arrived(self, count: int) -> Sequence[Arrived]:
        """Read what came since the beginning, in its order, once there are so many."""

    @abstractmethod
    async def go_away(self) -> None:
        """Let the system not be reachable."""

    @abstractmethod
    async def come_back(self) -> None:
        """Let it be there again."""


def records(count: int, first: int = 0) -> list[Record]:
    """Write records, all of one key."""
    return [
        Record(
            id=uuid.uuid4(),
            key="order-1",
            body=f'{{"number": {first + each}, "size": "größer"}}'.encode(),
            headers={"content-type": "application/json", "x-number": str(first + each)},
        )
        for each in range(count)
    ]


class SinkConnectorSuite:
    """What any sink keeps to; give it a fixture `stage`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def stage(self) -> SinkStage:
        """Set the stage."""
        raise NotImplementedError("Write a fixture `stage` in the class that inherits this one.")

    async def test_records_arrive_in_their_order(self, stage: SinkStage) -> None:
        """Bodies byte by byte, headers too; each is answered, and its place is its own."""
        sent = records(_COUNT)

        async with stage.connector.open(stage.sink) as producer:
            results = await producer.send(sent)

        arrived = await stage.arrived(_COUNT)
        places = {result.place for result in results if isinstance(result, Produced)}
        assert len(sent) == len(results) == len(places)
        assert [record.body for record in sent] == [one.body for one in arrived]
        for record, one in zip(sent, arrived, strict=True):
            assert record.headers.items() <= one.headers.items()

    async def test_batches_follow_each_other(self, stage: SinkStage) -> None:
        """On one connection and on the next."""
        sent = records(6)

        async with stage.connector.open(stage.sink) as producer:
            await producer.send(sent[:2])
            await producer.send(sent[2:4])
        async with stage.connector.open(stage.sink) as producer:
            await producer.send(sent[4:])

        assert [record.body for record in sent] == [one.body for one in await stage.arrived(6)]

    async def test_no_records_are_no_results(self, stage: SinkStage) -> None:
        """An empty batch is nothing; and a sink that is well is."""
        async with stage.connector.open(stage.sink) as producer:
            await producer.check()

            assert list(await producer.send([])) == []

    async def test_a_system_that_is_away_cannot_be_opened(self, stage: SinkStage) -> None:
        """That is told soon, with its reason; and once it is back it can."""
        await stage.go_away()
        async with asyncio.timeout(TOLD_SECONDS):
            with pytest.raises(SinkFailed) as failed:
                async with stage.connector.open(stage.sink):
                    pass
        await stage.come_back()

        await _produce(stage, records(1))

        assert failed.value.reason == Reason.CONNECT_FAILED
        assert len(await stage.arrived(1)) == 1

    async def test_a_system_that_goes_away_is_to_blame(self, stage: SinkStage) -> None:
        """Nothing counts as produced then, and the same can be produced once it is back."""
        sent = records(3)
        async with asyncio.timeout(TOLD_SECONDS + SEND_SECONDS):
            with pytest.raises(SinkFailed):
                await _lose(stage, sent)
        await stage.come_back()

        await _produce(stage, sent)

        arrived = [one.body for one in await stage.arrived(3)]
        assert [record.body for record in sent] == arrived[-3:]


async def _lose(stage: SinkStage, sent: Sequence[Record]) -> None:
    """Have the system go away under an open connection, look after it, and send all the same."""
    async with stage.connector.open(stage.sink) as producer:
        await stage.go_away()
        async with asyncio.timeout(TOLD_SECONDS):
            with pytest.raises(SinkFailed):
                await producer.check()
        await producer.send(sent)


async def _produce(stage: SinkStage, sent: Sequence[Record]) -> None:
    """Open and send, again and again as Taskloom does, until it works."""
    async with asyncio.timeout(SEND_SECONDS):
        while True:
            try:
                async with stage.connector.open(stage.sink) as producer:
                    await producer.send(sent)
            except SinkFailed as error:
                await asyncio.sleep(error.delay)
            else:
                return
