"""EventSources of kind kafka: read, store, then commit.

Every record is stored before its offset is committed, and named by topic, partition and offset:
whatever is read twice, after a rebalance or a crash, is stored once.
Records are stored in batches, in the order of their partitions: so is what has the same key.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from taskloom.connectors.kafka.connection import (
    REACH_SECONDS,
    BrokerFailed,
    Connection,
    Trouble,
    connection_of,
    reach,
    trouble_of,
)
from taskloom.connectors.kafka.consumer import begins, options_of, pattern_of
from taskloom.connectors.kafka.records import incoming
from taskloom.domain.conditions import Reason
from taskloom.errors import Temporary
from taskloom.ports.connector import ConnectorContext, Fate, Receipt, SourceFailed
from taskloom.resources.source_types import KafkaSource

_NO_TOPIC = Trouble(Reason.TOPIC_NOT_FOUND, "no topic matches spec.kafka.topicPattern yet")
_POLL = 500
"""Milliseconds that a read waits for records: how soon a stop is noticed."""
_JOIN_SECONDS = 11.0
_STOP_SECONDS = 1.0
"""How long brokers that may be away are waited for at the end, once for each of two things."""
_COMMIT_SECONDS = 2.0
"""After that a commit is given up: the next one says the same and more."""
_LOOK_SECONDS = 3.0
"""Between two looks at how the brokers are, and how much waits there."""
_BLOCKED_SECONDS = 15.0
"""After how long a partition that stops at a message that is no event is tried again."""


class Kafka:
    """Reads topics as a member of a consumer group."""

    kind = "kafka"
    exclusive = False

    async def run(self, context: ConnectorContext) -> None:
        """Read until the context says to stop."""
        spec = KafkaSource.model_validate(context.source.spec["kafka"])
        connection = connection_of(
            spec.bootstrap_servers,
            spec.sasl,
            spec.tls,
            context.source.secrets,
            client_id=f"taskloom-{context.source.id}",
        )
        options = options_of(spec, context.source)
        pattern = pattern_of(spec)
        try:
            await reach(connection, spec.topics or ())
        except BrokerFailed as error:
            raise _failed(error) from error
        consumer = AIOKafkaConsumer(**(dict(connection.arguments) | options))
        reading = _Reading(context, consumer, connection, spec.topics or ())
        if pattern is None:
            consumer.subscribe(topics=spec.topics, listener=_Listener(reading, spec))
        else:
            consumer.subscribe(pattern=pattern, listener=_Listener(reading, spec))
        try:
            if await _joins(context, consumer):
                if pattern is None:
                    context.connected()  # its topics are there
                await reading.run()
        except (KafkaError, OSError) as error:
            raise _failed(error) from error
        finally:
            await _stop(consumer)


@dataclass(slots=True)
class _Reading:
    """A consumer while it is read."""

    context: ConnectorContext
    consumer: Any
    connection: Connection
    topics: Sequence[str]
    in_hand: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while records are read, stored and committed; partitions come and go between."""
    stored: dict[TopicPartition, int] = field(default_factory=dict)
    """The offset after the last record that is stored, of those not committed yet."""
    blocked: dict[TopicPartition, float] = field(default_factory=dict)
    """Partitions that stop at a message that is no event, and until when."""
    unsettled: bool = False
    """Whether partitions have come that may never have been read."""
    storing: bool = True
    """Whether what was read last could be stored."""
    looked_at: float = 0.0

    async def run(self) -> None:
        """Read, store, commit."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            while not self.context.stopping:
                if looking.done():
                    looking.result()
                async with self.in_hand:
                    await self._step()
            async with self.in_hand:
                await self.commit(_STOP_SECONDS)
        finally:
            looking.cancel()

    async def _step(self) -> None:
        if self.unsettled:
            await self._settle()
        self._unblock()
        batches = await self.consumer.getmany(
            timeout_ms=_POLL, max_records=self.context.source.spec["maxInFlight"]
        )
        if batches:
            await self._take(batches)

    async def _settle(self) -> None:
        """Begin partitions that the group has never read where the source says to begin."""
        self.unsettled = False
        partitions = self.consumer.assignment()
        offsets = await begins(self.consumer, self.context.source, partitions)
        for partition, offset in offsets.items():
            self.consumer.seek(partition, offset)
            # Committed, so that whoever reads it next does not begin later.
            self.stored[partition] = offset
        await self.commit()

    async def _take(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Store records, and commit those that are confirmed."""
        records = [record for batch in batches.values() for record in batch]
        try:
            receipts = await self.context.ingest([incoming(record) for record in records])
        except SourceFailed:
            raise
        except Temporary as error:
            await self._wait_for_the_store(batches, error)
            return
        self.storing = True
        self._note(records, receipts)
        await self.commit()

    async def _wait_for_the_store(
        self, batches: Mapping[TopicPartition, Sequence[Any]], error: Temporary
    ) -> None:
        """Read nothing for a while, and then the same again; the group keeps us meanwhile."""
        for partition, batch in batches.items():
            self.consumer.seek(partition, batch[0].offset)
        self.storing = False
        self.context.failing(Reason.DATABASE_UNAVAILABLE, error.message)
        await self.context.pause(error.delay)

    def _note(self, records: Sequence[Any], receipts: Sequence[Receipt]) -> None:
        """Keep how far each partition is confirmed: up to its first record that is blocked."""
        for record, receipt in zip(records, receipts, strict=True):
            partition = TopicPartition(record.topic, record.partition)
            if receipt.fate is not Fate.BLOCKED:
                self.stored[partition] = record.offset + 1
            elif partition not in self.blocked:
                self.consumer.seek(partition, record.offset)
                self.consumer.pause(partition)
                self.blocked[partition] = _now() + _BLOCKED_SECONDS
                self.context.failing(
                    Reason.MESSAGE_INVALID,
                    f"{record.topic}/{record.partition} stops at the offset {record.offset}, "
                    f"which is no event: {receipt.reason}",
                )

    def _unblock(self) -> None:
        """Try partitions again whose time has come."""
        for partition in [each for each, until in self.blocked.items() if until <= _now()]:
            del self.blocked[partition]
            if partition in self.consumer.assignment():
                self.consumer.resume(partition)

    async def commit(self, seconds: float = _COMMIT_SECONDS) -> None:
        """Commit what is stored; what cannot be committed is read again, and stored once."""
        offsets, self.stored = self.stored, {}
        if not offsets:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.consumer.commit(offsets)
        except (KafkaError, TimeoutError):
            self.stored = offsets | self.stored

    async def _keep_looking(self) -> None:
        """Tell how the source stands, again and again: the client itself retries in silence."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS if self.looked_at else 0.1)
            try:
                async with asyncio.timeout(REACH_SECONDS):
                    await self._look()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is found out and told
                await self._find_out(error)
            self.looked_at = _now()

    async def _look(self) -> None:
        partitions = self.consumer.assignment()
        ends = await self.consumer.end_offsets(list(partitions)) if partitions else {}
        lag = 0
        for partition, end in ends.items():
            at = self.stored.get(partition)
            lag += max(0, end - (await self.consumer.position(partition) if at is None else at))
        if not partitions:
            await reach(self.connection, self.topics)
            if not self.topics and not self.consumer.subscription():
                raise BrokerFailed(_NO_TOPIC)
        if self.storing and not self.blocked:
            self.context.connected(partitions=len(partitions))
        self.context.lagging(lag)

    async def _find_out(self, error: Exception) -> None:
        """Tell why the brokers do not answer: connect anew, which gives the reason."""
        try:
            await reach(self.connection, self.topics)
        except BrokerFailed as failed:
            self.context.failing(failed.trouble.reason, failed.trouble.message)
            return
        if isinstance(error, BrokerFailed):
            self.context.failing(error.trouble.reason, error.trouble.message)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Finishes what is in hand before partitions go, and begins those that come."""

    def __init__(self, reading: _Reading, spec: KafkaSource) -> None:
        self._reading = reading
        self._latest = spec.initial_offset == "Latest"

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Commit what is stored; what was read and not taken yet is left to the next owner."""
        async with self._reading.in_hand:
            await self._reading.commit()
            self._reading.stored.clear()
            self._reading.blocked.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Have those settled that the group may never have read."""
        self._reading.unsettled = self._latest


async def _joins(context: ConnectorContext, consumer: Any) -> bool:
    """Join the group, which may take for ever; tell whether to go on, and not to stop.

    A member that was killed holds others up for its session of ten seconds: that is no failure.
    """
    starting = asyncio.ensure_future(consumer.start())
    late = _now() + _JOIN_SECONDS
    while not starting.done():
        await asyncio.wait({starting}, timeout=_POLL / 1000)
        if context.stopping and not starting.done():
            starting.cancel()
            return False
        if _now() > late and not starting.done():
            context.failing(Reason.CONNECT_FAILED, "the consumer group cannot be joined yet")
    await starting
    return True


async def _stop(consumer: Any) -> None:
    """Leave the group; if the brokers are away it will miss us by itself.

    In a task of its own: the client's fetcher, when it is closed while it waits to fetch again,
    raises the cancellation of its own task at us.
    """
    leaving = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({leaving}, timeout=_STOP_SECONDS)
    if leaving.done() and not leaving.cancelled() and leaving.exception() is None:
        return
    leaving.cancel()
    # There is no public way to close what `stop` has not come to.
    closing = asyncio.ensure_future(consumer._client.close())  # noqa: SLF001
    await asyncio.wait({closing}, timeout=_STOP_SECONDS)


def _failed(error: BaseException) -> SourceFailed:
    trouble = trouble_of(error)
    return SourceFailed(trouble.message, reason=trouble.reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
