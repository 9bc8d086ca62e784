"""Sources of kind sqs on a real server that speaks SQS, each with a context in memory."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskloom.connectors.sqs.source import Sqs
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.errors import Unavailable
from taskloom.ports.connector import Fate, Incoming, Receipt, SourceFailed
from taskloom.testing.connectors import FakeContext, source_row
from tests.real.sqs.server import RealSqs

SECONDS = 15.0
"""How soon whoever looks at a source is told what is wrong with it."""
KEYS = {"accessKeyId": Secret("x"), "secretAccessKey": Secret("hunter2")}


class WaitingContext(FakeContext):
    """Its pauses last as long as they say."""

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until it is to stop."""
        end = asyncio.get_running_loop().time() + seconds
        while not self.stopping and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        return not self.stopping


class BlockingContext(WaitingContext):
    """It stops at messages that hold ``bad``, and at those after them in their lane."""

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Keep the others."""
        lanes = {message.lane for message in batch if b"bad" in (message.body or b"")}
        good = [message for message in batch if message.lane not in lanes]
        await super().ingest(good)
        return [
            Receipt(fate=Fate.BLOCKED if message.lane in lanes else Fate.STORED)
            for message in batch
        ]


class SlowContext(WaitingContext):
    """It takes its time to store, and counts how often it is asked."""

    asked = 0

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Store after longer than messages are hidden for."""
        self.asked += len(batch)
        await asyncio.sleep(4)
        return await super().ingest(batch)


def source(url: str, **sqs: Any) -> EventSource:
    """Write the row of a source."""
    return source_row({"sqs": {"queueUrl": url} | sqs}, name="orders", secrets=KEYS)


async def until(look: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.02)


async def until_empty(sqs: RealSqs, url: str) -> None:
    """Wait until all of a queue is deleted."""
    async with asyncio.timeout(SECONDS):
        while await sqs.figures(url) != {"waiting": 0, "hidden": 0}:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(context: FakeContext) -> AsyncIterator[asyncio.Task[None]]:
    """Run the connector, and have it stop by itself."""
    task = asyncio.create_task(Sqs().run(context))
    try:
        yield task
    finally:
        context.stop()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)


def bodies(context: FakeContext) -> list[str]:
    """List what was stored."""
    return [(message.body or b"").decode() for message in context.kept]


async def test_messages_are_named_by_their_ids_and_deleted(sqs: RealSqs, queue_name: str) -> None:
    """With attributes as headers, and the fact that it is connected."""
    url = await sqs.create(queue_name)
    async with sqs.client() as client:
        sent = await client.send_message(
            QueueUrl=url,
            MessageBody=json.dumps({"key": "k"}),
            MessageAttributes={"Trace-Id": {"DataType": "String", "StringValue": "7"}},
        )
    context = WaitingContext(source(url))

    async with running(context):
        await until(lambda: len(context.kept) == 1)
        await until_empty(sqs, url)
        await until(lambda: context.lag == 0)

    [message] = context.kept
    assert sent["MessageId"] == message.idempotency_key
    assert b'{"key": "k"}' == message.body
    assert ("7", "1") == (message.headers["trace-id"], message.headers["sqs-receive-count"])
    assert abs(int(message.headers["sqs-sent-timestamp"]) / 1000 - time.time()) < 60
    assert ("connected", "") == context.told[0]


async def test_what_could_not_be_stored_is_kept_and_stored_once(
    sqs: RealSqs, queue_name: str
) -> None:
    """It is told that the database is away, and again that it is not."""
    url = await sqs.create(queue_name)
    await sqs.send(url, "1", "2", "3")
    context = WaitingContext(source(url), failures=[Unavailable(), Unavailable()])

    async with running(context):
        await until(lambda: len(context.kept) == 3)
        await until_empty(sqs, url)

    assert ["1", "2", "3"] == sorted(bodies(context))
    assert Reason.DATABASE_UNAVAILABLE in [state for state, _ in context.told]
    assert ("connected", "") == context.told[-1]


async def test_one_that_stops_while_the_database_is_away_gives_them_back_at_once(
    sqs: RealSqs, queue_name: str
) -> None:
    """Whoever reads next need not wait until they are visible again."""
    url = await sqs.create(queue_name, VisibilityTimeout="600")
    await sqs.send(url, "1")
    away = WaitingContext(source(url), failures=[Unavailable() for _ in range(100)])
    async with running(away):
        await until(lambda: len(away.told) > 1)
    context = WaitingContext(source(url))

    async with running(context):
        await until(lambda: len(context.kept) == 1)

    assert [] == away.kept


async def test_the_order_of_a_group_is_kept(sqs: RealSqs, queue_name: str) -> None:
    """Though several receives are under way, and the database fails between."""
    url = await sqs.create(f"{queue_name}.fifo")
    numbers = [f"{number:02}" for number in range(25)]
    for group in ("a", "b"):
        await sqs.send(url, *numbers, group=group)
    context = WaitingContext(source(url), failures=[Unavailable() for _ in range(3)])

    async with running(context):
        await until(lambda: len(context.kept) == 50)
        await until_empty(sqs, url)

    for group in ("a", "b"):
        of_group = [message.body for message in context.kept if message.lane == group]
        assert [number.encode() for number in numbers] == of_group


async def test_a_message_in_hand_stays_hidden(sqs: RealSqs, queue_name: str) -> None:
    """However long it takes to store it."""
    url = await sqs.create(queue_name)
    await sqs.send(url, "1")
    context = SlowContext(source(url, visibilityTimeoutSeconds=2))

    async with running(context):
        await until(lambda: len(context.kept) == 1)
        await until_empty(sqs, url)

    assert 1 == context.asked


async def test_a_source_that_stops_at_a_message_stops_its_group_only(
    sqs: RealSqs, queue_name: str
) -> None:
    """The message stays in the queue, and those after it in its group."""
    url = await sqs.create(f"{queue_name}.fifo")
    await sqs.send(url, "bad", "later", group="a")
    await sqs.send(url, "good", group="b")
    context = BlockingContext(source(url))

    async with running(context):
        await until(lambda: len(context.kept) == 1)
        await until(lambda: Reason.MESSAGE_INVALID in [state for state, _ in context.told])

    assert ["good"] == bodies(context)
    figures = await sqs.figures(url)
    assert 2 == figures["waiting"] + figures["hidden"]


async def test_it_stops_within_seconds_while_it_waits(sqs: RealSqs, queue_name: str) -> None:
    """A poll of 20 seconds is given up."""
    context = WaitingContext(source(await sqs.create(queue_name), waitTimeSeconds=20))
    task = asyncio.create_task(Sqs().run(context))
    await until(lambda: context.told != [])
    await asyncio.sleep(0.5)

    context.stop()

    async with asyncio.timeout(3):
        await task


@pytest.mark.parametrize("where", ["no queue", "nobody there", "no name"])
async def test_what_is_wrong_is_told(sqs: RealSqs, where: str) -> None:
    """Within 15 seconds, by its reason, without a secret."""
    url, reason = {
        "no queue": (sqs.url("missing"), Reason.TOPIC_NOT_FOUND),
        "nobody there": ("http://127.0.0.1:9/000000000000/q", Reason.CONNECT_FAILED),
        "no name": ("http://queue.invalid/000000000000/q", Reason.CONNECT_FAILED),
    }[where]

    async with asyncio.timeout(SECONDS):
        with pytest.raises(SourceFailed) as raised:
            await Sqs().run(WaitingContext(source(url)))

    assert reason == raised.value.reason
    assert "hunter2" not in raised.value.message


async def test_a_server_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    """What is sent after it is back comes by the next run."""
    async with RealSqs(tmp_path) as server:
        url = await server.create("orders", VisibilityTimeout="2")
        await server.send(url, "1")
        context = WaitingContext(source(url))
        async with running(context) as task:
            await until(lambda: len(context.kept) == 1)
            server.kill()
            async with asyncio.timeout(SECONDS):
                with pytest.raises(SourceFailed) as raised:
                    await task
        await server.start()
        await server.create("orders", VisibilityTimeout="2")  # a killed ElasticMQ forgets queues
        await server.send(url, "2", "3")
        again = WaitingContext(context.source, kept=context.kept)
        async with running(again):
            await until(lambda: len(again.kept) == 3)
            await until_empty(server, url)

    assert Reason.CONNECT_FAILED == raised.value.reason
    assert ["1", "2", "3"] == sorted(bodies(again))
