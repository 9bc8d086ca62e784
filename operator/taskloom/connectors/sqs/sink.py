"""EventSinks of kind sqs: messages are sent in batches."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from taskloom.connectors.sqs.connection import FAILURES, Queue, open_queue, trouble_of
from taskloom.connectors.sqs.messages import batches, entry_of
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.resources.broker import SqsQueue


class SqsSinks:
    """Opens a client for each sink."""

    kind = "sqs"

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator["SqsProducer"]:
        """Connect, and see that the queue is there."""
        spec = SqsQueue.model_validate(sink.spec["sqs"])
        try:
            async with open_queue(spec, sink.secrets) as queue:
                producer = SqsProducer(queue)
                await producer.check()
                yield producer
        except FAILURES as error:
            raise _failed(error) from error


class SqsProducer:
    """An open connection to a queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, records: Sequence[Record]) -> Sequence[Produced | NotProduced]:
        """Send records in their order; tell of each what became of it.

        In a FIFO queue nothing is sent after a request of which some was not: it would overtake.
        """
        results: dict[int, Produced | NotProduced] = {}
        entries = []
        for at, record in enumerate(records):
            try:
                entries.append(entry_of(record, at, fifo=self._queue.fifo))
            except ValueError as error:
                results[at] = NotProduced(message=_words(error), permanent=True)
        broken = False
        for batch in batches(entries):
            if broken:
                later = NotProduced(message="one before it was not taken")
                results |= {int(entry["Id"]): later for entry in batch}
                continue
            told = await self._send(batch)
            results |= told
            lost = any(isinstance(one, NotProduced) and not one.permanent for one in told.values())
            broken = self._queue.fifo and lost
        return [results[at] for at in range(len(records))]

    async def check(self) -> None:
        """See that the queue answers."""
        try:
            await self._queue.attributes()
        except FAILURES as error:
            raise _failed(error) from error

    async def _send(self, batch: list[dict[str, Any]]) -> dict[int, Produced | NotProduced]:
        try:
            answer = await self._queue.client.send_message_batch(
                QueueUrl=self._queue.url, Entries=batch
            )
        except FAILURES as error:
            raise _failed(error) from error
        results: dict[int, Produced | NotProduced] = {
            int(one["Id"]): Produced(place=one["MessageId"]) for one in answer.get("Successful", ())
        }
        for one in answer.get("Failed", ()):
            results[int(one["Id"])] = NotProduced(
                message=f"SQS does not take it ({one['Code']})",
                permanent=bool(one.get("SenderFault", False)),
            )
        unsaid = NotProduced(message="SQS did not say what became of it")
        return {int(entry["Id"]): results.get(int(entry["Id"]), unsaid) for entry in batch}


def _words(error: ValueError) -> str:
    text = "the record is no text in UTF-8, which SQS asks for"
    return text if isinstance(error, UnicodeDecodeError) else str(error)


def _failed(error: BaseException) -> SinkFailed:
    trouble = trouble_of(error)
    return SinkFailed(trouble.message, reason=trouble.reason)
