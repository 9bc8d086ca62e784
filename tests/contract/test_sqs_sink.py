"""Sinks of kind sqs on a real server that speaks SQS."""

import asyncio
import uuid
from typing import Any

import pytest

from taskloom.connectors.sqs.sink import SqsSinks
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.testing.sinks import sink_row
from tests.real.sqs.server import RealSqs

KEYS = {"accessKeyId": Secret("x"), "secretAccessKey": Secret("x")}


def sink(url: str) -> EventSink:
    """Write the row of a sink."""
    spec = {"sqs": {"queueUrl": url}, "eventKeys": ["*"]}
    return sink_row(spec, secrets=KEYS)


def record(body: bytes, key: str = "k", **headers: str) -> Record:
    """Write a record."""
    return Record(id=uuid.uuid4(), key=key, body=body, headers=headers)


async def received(sqs: RealSqs, url: str, count: int) -> list[dict[str, Any]]:
    """Receive and delete so many."""
    found: list[dict[str, Any]] = []
    async with sqs.client() as client, asyncio.timeout(15):
        while len(found) < count:
            answer = await client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            for message in answer.get("Messages", ()):
                found.append(message)
                await client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


async def test_records_are_sent_with_their_headers(sqs: RealSqs, queue_name: str) -> None:
    """More than one request holds."""
    url = await sqs.create(queue_name)
    records = [record(f"{number}".encode(), traceid="7") for number in range(25)]

    async with SqsSinks().open(sink(url)) as producer:
        results = await producer.send(records)

    found = await received(sqs, url, 25)
    assert {f"{number}" for number in range(25)} == {message["Body"] for message in found}
    assert "7" == found[0]["MessageAttributes"]["traceid"]["StringValue"]
    assert {Produced(place=message["MessageId"]) for message in found} == set(results)


async def test_a_fifo_queue_keeps_the_order_and_drops_what_comes_twice(
    sqs: RealSqs, queue_name: str
) -> None:
    """By key and id of the record."""
    url = await sqs.create(f"{queue_name}.fifo")
    records = [record(f"{number}".encode(), key="a key with spaces") for number in range(12)]

    async with SqsSinks().open(sink(url)) as producer:
        await producer.send(records)
        await producer.send(records)

    found = await received(sqs, url, 12)
    assert [f"{number}" for number in range(12)] == [message["Body"] for message in found]
    assert {"waiting": 0, "hidden": 0} == await sqs.figures(url)


async def test_what_sqs_would_not_take_is_refused_for_good(sqs: RealSqs, queue_name: str) -> None:
    """The others are sent."""
    url = await sqs.create(queue_name)
    records = [record(b"x" * 1_048_577), record(b"\x00"), record(b"\xff"), record(b"good")]

    async with SqsSinks().open(sink(url)) as producer:
        *refused, good = await producer.send(records)

    assert [True, True, True] == [isinstance(r, NotProduced) and r.permanent for r in refused]
    assert isinstance(good, Produced)
    assert ["good"] == [message["Body"] for message in await received(sqs, url, 1)]


async def test_a_missing_queue_is_told(sqs: RealSqs) -> None:
    """When it is opened."""
    with pytest.raises(SinkFailed) as raised:
        async with SqsSinks().open(sink(sqs.url("missing"))):
            pass

    assert Reason.TOPIC_NOT_FOUND == raised.value.reason
