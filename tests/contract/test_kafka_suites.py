"""Kafka, source and sink, held to the public suites; and partitions that are blocked alone."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer

from taskloom.connectors.kafka.sink import KafkaSinks
from taskloom.connectors.kafka.source import Kafka
from taskloom.ports.connector import Fate
from taskloom.testing.connectors import FakeContext, source_row
from taskloom.testing.sink_suite import Arrived, SinkConnectorSuite, SinkStage
from taskloom.testing.sinks import sink_row
from taskloom.testing.source_suite import SystemSourceSuite, SystemStage, running
from tests.real.kafka.broker import RealKafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Run a broker that may be taken away."""
    kafka = RealKafka(tmp_path_factory.mktemp("kafka"))
    asyncio.run(kafka.start())
    yield kafka
    kafka.kill()


@pytest.fixture
async def kafka(broker: RealKafka) -> RealKafka:
    """See that it runs, whatever the former test did."""
    await broker.start()
    return broker


@pytest.fixture
async def topic(kafka: RealKafka) -> str:
    """Make a topic of one partition."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    await kafka.create_topic(name)
    return name


class TopicStage(SystemStage):
    """A topic, read from its beginning; a member that was cut off is missed after six seconds."""

    connector = Kafka()
    seconds = 30.0

    def __init__(self, kafka: RealKafka, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic
        self.source = source_row(
            {
                "kafka": {
                    "bootstrapServers": [kafka.plaintext],
                    "topics": [topic],
                    "initialOffset": "Earliest",
                    "properties": {"session.timeout.ms": "6000"},
                }
            },
            name=topic,
        )

    async def produce(self, *bodies: bytes) -> None:
        """Produce."""
        await self.kafka.produce(self.topic, *bodies, headers=[("X-Kind", b"order")])

    async def go_away(self) -> None:
        """Kill the broker."""
        self.kafka.kill()

    async def come_back(self) -> None:
        """Start it again."""
        await self.kafka.start()


class TestSource(SystemSourceSuite):
    """The public suite."""

    @pytest.fixture
    def stage(self, kafka: RealKafka, topic: str) -> SystemStage:
        """Set the stage."""
        return TopicStage(kafka, topic)


class TopicSinkStage(SinkStage):
    """A topic that is produced to."""

    connector = KafkaSinks()

    def __init__(self, kafka: RealKafka, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic
        self.sink = sink_row({"kafka": {"bootstrapServers": [kafka.plaintext], "topic": topic}})

    async def arrived(self, count: int) -> Sequence[Arrived]:
        """Read the topic."""
        found: list[Arrived] = []
        async with (
            AIOKafkaConsumer(
                self.topic, bootstrap_servers=self.kafka.plaintext, auto_offset_reset="earliest"
            ) as consumer,
            asyncio.timeout(15),
        ):
            while len(found) < count:
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    found += [
                        Arrived(
                            body=each.value, headers={name: v.decode() for name, v in each.headers}
                        )
                        for each in batch
                    ]
        return found

    async def go_away(self) -> None:
        """Kill the broker."""
        self.kafka.kill()

    async def come_back(self) -> None:
        """Start it again."""
        await self.kafka.start()


class TestSink(SinkConnectorSuite):
    """The public suite."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wait for a batch for a few seconds only."""
        monkeypatch.setattr("taskloom.connectors.kafka.sink._SEND_SECONDS", 3.0)

    @pytest.fixture
    def stage(self, kafka: RealKafka, topic: str) -> SinkStage:
        """Set the stage."""
        return TopicSinkStage(kafka, topic)


async def test_a_blocked_partition_is_tried_again_and_others_flow(
    kafka: RealKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on at the very message, in order, once that is an event."""
    monkeypatch.setattr("taskloom.connectors.kafka.source._BLOCKED_SECONDS", 2.0)
    await kafka.add_partitions(topic, 2)
    bad = True

    stage = TopicStage(kafka, topic)
    context = FakeContext(
        stage.source,
        wall_clock=True,
        fate_of=lambda message: Fate.BLOCKED if bad and message.body == b"bad" else Fate.STORED,
    )
    async with running(Kafka(), context):
        await kafka.produce(topic, b"1", b"bad", b"2", partition=0)
        await kafka.produce(topic, b"3", b"4", partition=1)
        await context.wait_for_kept(3, seconds=20)
        await context.wait_for_told("MessageInvalid", seconds=15)
        bad = False
        await context.wait_for_kept(5, seconds=20)
        await context.wait_for_told("connected", seconds=15)

    kept = [message.body for message in context.kept if message.lane == f"{topic}/0"]
    assert [b"1", b"bad", b"2"] == kept
