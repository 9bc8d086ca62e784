"""Sinks of kind kafka on a real broker."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from taskloom.connectors.kafka.sink import KafkaSinks
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.testing.sinks import sink_row
from tests.real.certificates import Authority
from tests.real.kafka.broker import PASSWORD, USER, RealKafka

SECONDS = 15.0
LOGIN = {"mechanism": "SCRAM-SHA-256", "usernameRef": {"name": "l"}, "passwordRef": {"name": "l"}}


def sink(
    server: str, topic: str, *, secrets: dict[str, Secret] | None = None, **kafka: Any
) -> EventSink:
    """Write the row of a sink."""
    return sink_row(
        {"kafka": {"bootstrapServers": [server], "topic": topic, **kafka}}, secrets=secrets
    )


def record(number: int, *, key: str = "k", size: int = 0) -> Record:
    """Write a record."""
    return Record(
        id=uuid.uuid4(), key=key, body=f"{number}".encode() + b"x" * size, headers={"n": "7"}
    )


async def read(kafka: RealKafka, topic: str, count: int) -> list[Any]:
    """Read so many records of a topic from its beginning."""
    found: list[Any] = []
    async with (
        AIOKafkaConsumer(
            topic, bootstrap_servers=kafka.plaintext, auto_offset_reset="earliest"
        ) as consumer,
        asyncio.timeout(SECONDS),
    ):
        while len(found) < count:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += batch
    return found


async def test_records_are_produced_in_their_order(kafka: RealKafka, topic: str) -> None:
    """With key and headers; each result says where."""
    await kafka.create_topic(topic)
    async with KafkaSinks().open(sink(kafka.plaintext, topic)) as producer:
        results = await producer.send([record(number) for number in range(500)])
        await producer.check()
    found = await read(kafka, topic, 500)

    assert [str(number).encode() for number in range(500)] == [each.value for each in found]
    assert (b"k", (("n", b"7"),)) == (found[0].key, tuple(found[0].headers))
    assert Produced(place=f"{topic}/0/0") == results[0]


async def test_one_that_is_too_large_is_refused_alone(kafka: RealKafka, topic: str) -> None:
    """For good: it will be as large at every attempt."""
    await kafka.create_topic(topic)
    async with KafkaSinks().open(sink(kafka.plaintext, topic)) as producer:
        first, large, last = await producer.send([record(1), record(2, size=11_000_000), record(3)])

    assert isinstance(first, Produced)
    assert isinstance(large, NotProduced)
    assert large.permanent
    assert isinstance(last, Produced)


async def test_one_that_the_broker_finds_too_large_is_refused_alone(
    kafka: RealKafka, topic: str
) -> None:
    """The others of its batch are produced, and so is what comes after."""
    await kafka.create_topic(topic, max_message_bytes="2000")
    async with KafkaSinks().open(sink(kafka.plaintext, topic)) as producer:
        first, large, last = await producer.send([record(1), record(2, size=3000), record(3)])
        [later] = await producer.send([record(4)])
    found = [each.value for each in await read(kafka, topic, 3)]

    assert isinstance(large, NotProduced)
    assert large.permanent
    assert [Produced] * 3 == [type(result) for result in (first, last, later)]
    assert [b"1", b"3", b"4"] == found


async def test_users_log_in_by_tls(kafka: RealKafka, topic: str) -> None:
    """As sources do."""
    await kafka.create_topic(topic)
    row = sink(
        kafka.sasl_ssl,
        topic,
        tls={},
        sasl=LOGIN,
        secrets={
            "sasl.username": Secret(USER),
            "sasl.password": Secret(PASSWORD),
            "tls.ca": Secret(kafka.authority.certificate),
        },
    )
    async with KafkaSinks().open(row) as producer:
        [result] = await producer.send([record(1)])

    assert isinstance(result, Produced)


def _wrong_password(kafka: RealKafka, topic: str) -> EventSink:
    secrets = {"sasl.username": Secret(USER), "sasl.password": Secret("wrong")}
    return sink(kafka.sasl, topic, sasl=LOGIN, secrets=secrets)


def _wrong_authority(kafka: RealKafka, topic: str) -> EventSink:
    return sink(kafka.ssl, topic, tls={}, secrets={"tls.ca": Secret(Authority().certificate)})


def _no_topic(kafka: RealKafka, topic: str) -> EventSink:
    return sink(kafka.plaintext, f"{topic}-is-not-there")


def _no_broker(_: RealKafka, topic: str) -> EventSink:
    return sink("127.0.0.1:9", topic)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (_wrong_password, Reason.AUTH_FAILED),
        (_wrong_authority, Reason.AUTH_FAILED),
        (_no_topic, Reason.TOPIC_NOT_FOUND),
        (_no_broker, Reason.CONNECT_FAILED),
    ],
)
async def test_what_is_wrong_is_told_by_its_reason(
    kafka: RealKafka, topic: str, wrong: Callable[[RealKafka, str], EventSink], reason: Reason
) -> None:
    """When it is opened, within seconds."""
    await kafka.create_topic(topic)

    async with asyncio.timeout(SECONDS):
        with pytest.raises(SinkFailed) as caught:
            async with KafkaSinks().open(wrong(kafka, topic)):
                pass

    assert reason is caught.value.reason


async def test_a_broker_that_goes_is_told_and_produced_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While records are sent, and while there are none."""
    monkeypatch.setattr("taskloom.connectors.kafka.sink._SEND_SECONDS", 3.0)
    async with RealKafka(tmp_path / "kafka") as kafka:
        await kafka.create_topic("t")
        async with KafkaSinks().open(sink(kafka.plaintext, "t")) as producer:
            await producer.send([record(1)])
            kafka.kill()
            with pytest.raises(SinkFailed):
                await producer.check()
            async with asyncio.timeout(40):
                with pytest.raises(SinkFailed) as caught:
                    await producer.send([record(2)])
        await kafka.start()
        async with KafkaSinks().open(sink(kafka.plaintext, "t")) as producer:
            await producer.send([record(3)])
        found = [each.value for each in await read(kafka, "t", 2)]

    assert Reason.CONNECT_FAILED is caught.value.reason
    assert [b"1", b"3"] == found
