"""EventSinks of kind kafka: an idempotent producer, kept open."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from taskloom.connectors.kafka.connection import (
    BrokerFailed,
    Connection,
    connection_of,
    reach,
    trouble_of,
)
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.resources.event_sink import KafkaSink

_SEND_SECONDS = 20.0
"""After that a batch counts as not produced; what was is produced again."""
_STOP_SECONDS = 5.0
_MOST_BYTES = 10_485_760
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class KafkaSinks:
    """Opens a producer for each sink."""

    kind = "kafka"

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator["KafkaProducer"]:
        """Connect, and see that the topic is there."""
        spec = KafkaSink.model_validate(sink.spec["kafka"])
        connection = connection_of(
            spec.bootstrap_servers,
            spec.sasl,
            spec.tls,
            sink.secrets,
            client_id=f"taskloom-{sink.id}",
        )
        await _reach(connection, spec.topic)
        producer = KafkaProducer(connection, spec.topic)
        try:
            await producer.start()
            yield producer
        except (KafkaError, OSError) as error:
            raise _failed(error) from error
        finally:
            await producer.close()


class KafkaProducer:
    """An open connection to a topic."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._client: Any = None

    async def start(self) -> None:
        """Connect."""
        self._client = AIOKafkaProducer(
            **self._connection.arguments,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_request_size=_MOST_BYTES,
        )
        await self._client.start()

    async def close(self) -> None:
        """Let go."""
        if self._client is not None:
            await _close(self._client)

    async def send(self, records: Sequence[Record]) -> Sequence[Produced | NotProduced]:
        """Produce records in their order, and wait until the brokers have them all."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                sent = [await self._send(record) for record in records]
                results = await asyncio.gather(*sent, return_exceptions=True)
                await self._try_alone(records, results)
        except (KafkaError, OSError) as error:
            # Which reason it has is found out by connecting anew.
            await _reach(self._connection, self._topic)
            raise _failed(error) from error
        return [_result(result) for result in results]

    async def _try_alone(self, records: Sequence[Record], results: list[Any]) -> None:
        """Try those again one by one that were refused for their size.

        The broker refuses a batch for its largest record, and after that the numbers that make the
        client idempotent are out of order: it is begun anew each time.
        """
        for at, record in enumerate(records):
            if not isinstance(results[at], _TOO_LARGE):
                continue
            await self.close()
            await self.start()
            if len(records) > 1:
                sent = await self._send(record)
                [results[at]] = await asyncio.gather(sent, return_exceptions=True)
        if any(isinstance(result, _TOO_LARGE) for result in results):
            await self.close()
            await self.start()

    async def check(self) -> None:
        """See that the brokers answer and have the topic."""
        await _reach(self._connection, self._topic)

    async def _send(self, record: Record) -> "asyncio.Future[Any]":
        """Hand a record over; what is refused at once is a result as any other."""
        try:
            future: asyncio.Future[Any] = await self._client.send(
                self._topic,
                record.body,
                key=record.key.encode(),
                headers=[(name, value.encode()) for name, value in record.headers.items()],
            )
        except _TOO_LARGE as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        return future


async def _close(client: Any) -> None:
    """Close a producer, and do not wait for brokers that are away: its records are ours to repeat.

    What it would go on sending behind our back would come twice, and late.
    """
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await client.stop()
    except (TimeoutError, KafkaError, OSError):
        await client._sender.close()  # noqa: SLF001 - there is no public way to give up
        await client.client.close()


def _result(result: Any) -> Produced | NotProduced:
    if isinstance(result, BaseException):
        if isinstance(result, _TOO_LARGE):
            return NotProduced(message="the record is larger than the brokers take", permanent=True)
        if isinstance(result, KafkaError) and not isinstance(result, InvalidTopicError):
            raise _failed(result) from result
        raise result
    return Produced(place=f"{result.topic}/{result.partition}/{result.offset}")


async def _reach(connection: Connection, topic: str) -> None:
    try:
        await reach(connection, [topic])
    except BrokerFailed as error:
        raise _failed(error) from error


def _failed(error: BaseException) -> SinkFailed:
    trouble = trouble_of(error)
    return SinkFailed(trouble.message, reason=trouble.reason)
