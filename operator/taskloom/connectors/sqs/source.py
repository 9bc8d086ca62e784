"""EventSources of kind sqs: receive, store, then delete.

Several receives are under way at once.  What is received stays hidden from others until it is
stored and deleted; whatever is given again, after a crash or a late deletion, is stored once.
In a FIFO queue SQS gives no later message of a group while an earlier one is in hand, and those of
one answer are stored in their order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskloom.connectors.sqs.connection import FAILURES, Queue, open_queue, trouble_of
from taskloom.connectors.sqs.messages import MOST_ENTRIES, incoming
from taskloom.domain.conditions import Reason
from taskloom.errors import Temporary
from taskloom.ports.connector import ConnectorContext, Fate, Receipt, SourceFailed
from taskloom.resources.source_types import SqsSource

_MOST_POLLS = 8
"""How many receives are under way at once at most."""
_NOTICE_SECONDS = 0.2
"""How soon a receive that waits for messages notices that it is to stop."""
_LOOK_SECONDS = 5.0
"""Between two looks at how the queue is, and how much waits there."""
_BLOCKED_SECONDS = 15
"""After how long a message that is no event is given again, where the source stops at it."""
_DEFAULT_VISIBILITY = 30


class Sqs:
    """Reads queues, each by several receives at once."""

    kind = "sqs"
    exclusive = False

    async def run(self, context: ConnectorContext) -> None:
        """Read until the context says to stop."""
        spec = SqsSource.model_validate(context.source.spec["sqs"])
        try:
            async with open_queue(
                spec, context.source.secrets, wait=spec.wait_time_seconds
            ) as queue:
                attributes = await queue.attributes()
                await _Reading(context, queue, spec, _visibility(spec, attributes)).run()
        except FAILURES as error:
            trouble = trouble_of(error)
            raise SourceFailed(trouble.message, reason=trouble.reason) from error


@dataclass(slots=True)
class _Reading:
    """A queue while it is read."""

    context: ConnectorContext
    queue: Queue
    spec: SqsSource
    visibility: int
    """Seconds that a message stays hidden, unless it is hidden for longer."""
    storing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while messages can be stored; nothing is received otherwise."""
    blocked_until: float = 0.0

    async def run(self) -> None:
        """Receive, store, delete."""
        self.storing.set()
        self.context.connected()
        most = self.context.source.spec["maxInFlight"]
        polls = max(1, min(_MOST_POLLS, most // MOST_ENTRIES))
        looking = asyncio.create_task(self._keep_looking())
        reading = [
            asyncio.create_task(self._keep_reading(min(most, MOST_ENTRIES))) for _ in range(polls)
        ]
        tasks = [looking, *reading]
        try:
            pending = set(tasks)
            while pending != {looking} and pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_reading(self, most: int) -> None:
        while not self.context.stopping:
            if not self.storing.is_set():
                await self.context.pause(_NOTICE_SECONDS)
                continue
            messages = await self._receive(most)
            if messages:
                await self._take(messages)

    async def _receive(self, most: int) -> Sequence[Mapping[str, Any]]:
        """Wait for messages; none if it is to stop meanwhile.

        What SQS sends to a poll that was given up is given again after its visibility timeout.
        """
        options: dict[str, Any] = {}
        if self.spec.visibility_timeout_seconds:
            options["VisibilityTimeout"] = self.spec.visibility_timeout_seconds
        receive = asyncio.ensure_future(
            self.queue.client.receive_message(
                QueueUrl=self.queue.url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=self.spec.wait_time_seconds,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
                **options,
            )
        )
        try:
            while not receive.done():
                await asyncio.wait([receive], timeout=_NOTICE_SECONDS)
                if self.context.stopping and not receive.done():
                    return ()
            messages: Sequence[Mapping[str, Any]] = receive.result().get("Messages", ())
            return messages
        finally:
            if not receive.done():
                receive.cancel()
                await asyncio.gather(receive, return_exceptions=True)

    async def _take(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Store messages, and delete those that are confirmed."""
        hiding = asyncio.create_task(self._keep_hidden(messages))
        try:
            receipts = await self._store(messages)
        finally:
            hiding.cancel()
            await asyncio.gather(hiding, return_exceptions=True)
        if receipts is None:
            await self._hide(messages, 0)  # whoever reads next has them at once
            return
        fates = list(zip(messages, receipts, strict=True))
        await self._delete([message for message, told in fates if told.fate is not Fate.BLOCKED])
        blocked = [(message, told) for message, told in fates if told.fate is Fate.BLOCKED]
        if blocked:
            self.blocked_until = _now() + _BLOCKED_SECONDS * 2
            message, told = blocked[0]
            self.context.failing(
                Reason.MESSAGE_INVALID,
                f"the message {message['MessageId']} is no event, and stays: {told.reason}",
            )
            await self._hide([message for message, _ in blocked], _BLOCKED_SECONDS)

    async def _store(self, messages: Sequence[Mapping[str, Any]]) -> Sequence[Receipt] | None:
        """Store messages, however long that takes; None if it is to stop before they are."""
        batch = [incoming(message) for message in messages]
        while True:
            try:
                receipts = await self.context.ingest(batch)
            except SourceFailed:
                raise
            except Temporary as error:
                self.storing.clear()
                self.context.failing(Reason.DATABASE_UNAVAILABLE, error.message)
                if not await self.context.pause(error.delay):
                    return None
                continue
            if not self.storing.is_set():
                self.storing.set()
                self.context.connected()
            return receipts

    async def _keep_hidden(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Have nobody else given them while they are in hand."""
        while True:
            await asyncio.sleep(self.visibility / 3)
            try:
                await self._hide(messages, self.visibility)
            except FAILURES:
                continue  # the next time; whoever looks tells why

    async def _hide(self, messages: Sequence[Mapping[str, Any]], seconds: int) -> None:
        """Let messages be given again after so long."""
        await self.queue.client.change_message_visibility_batch(
            QueueUrl=self.queue.url,
            Entries=[
                {
                    "Id": str(at),
                    "ReceiptHandle": each["ReceiptHandle"],
                    "VisibilityTimeout": seconds,
                }
                for at, each in enumerate(messages)
            ],
        )

    async def _delete(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Delete messages; one that cannot be, tried twice, is given again and stored once."""
        for _ in range(2):
            if not messages:
                return
            answer = await self.queue.client.delete_message_batch(
                QueueUrl=self.queue.url,
                Entries=[
                    {"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]}
                    for at, each in enumerate(messages)
                ],
            )
            failed = [one for one in answer.get("Failed", ()) if not one.get("SenderFault")]
            messages = [messages[int(one["Id"])] for one in failed]

    async def _keep_looking(self) -> None:
        """Tell how the queue stands, again and again; a queue that does not answer ends the run."""
        while True:
            attributes = await self.queue.attributes()
            if self.storing.is_set() and self.blocked_until <= _now():
                self.context.connected()
            self.context.lagging(int(attributes.get("ApproximateNumberOfMessages", 0)))
            await asyncio.sleep(_LOOK_SECONDS)


def _visibility(spec: SqsSource, attributes: Mapping[str, str]) -> int:
    """Give the seconds that a message stays hidden; with none it would be given again at once."""
    own = spec.visibility_timeout_seconds
    return own or int(attributes.get("VisibilityTimeout", 0)) or _DEFAULT_VISIBILITY


def _now() -> float:
    return asyncio.get_running_loop().time()
