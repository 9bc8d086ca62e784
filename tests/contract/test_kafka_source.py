"""Sources of kind kafka on a real broker, each with a context in memory."""

import asyncio
import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from taskloom.connectors.kafka.source import Kafka
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.errors import Invalid, Unavailable
from taskloom.ports.connector import SourceFailed
from taskloom.testing.connectors import FakeContext, source_row
from tests.real.certificates import Authority
from tests.real.kafka.broker import PASSWORD, USER, RealKafka

SECONDS = 15.0
"""How soon whoever looks at a source is told what is wrong with it."""


class WaitingContext(FakeContext):
    """Its pauses last as long as they say."""

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until it is to stop."""
        end = asyncio.get_running_loop().time() + seconds
        while not self.stopping and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        return not self.stopping


def source(
    server: str,
    *topics: str,
    secrets: dict[str, Secret] | None = None,
    most: int = 64,
    **kafka: Any,
) -> EventSource:
    """Write the row of a source."""
    part: dict[str, Any] = {"bootstrapServers": [server], "initialOffset": "Earliest"}
    if topics:
        part["topics"] = list(topics)
    return source_row(
        {"kafka": part | kafka, "maxInFlight": most},
        name=f"orders-of-{topics[0] if topics else kafka}",
        secrets=secrets,
    )


def event(number: int) -> bytes:
    """Write an event."""
    return json.dumps({"key": "order", "payload": {"number": number}}).encode()


async def until(look: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(context: FakeContext) -> AsyncIterator[asyncio.Task[None]]:
    """Run the connector, and have it stop by itself."""
    task = asyncio.create_task(Kafka().run(context))
    try:
        yield task
    finally:
        context.stop()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()  # raises what the run ended by


def keys(context: FakeContext) -> list[str | None]:
    """List what was stored."""
    return [message.idempotency_key for message in context.kept]


async def test_records_become_messages_named_by_their_place(kafka: RealKafka, topic: str) -> None:
    """With key and headers, and the fact that it is connected."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, event(1), event(2), key=b"k", headers=[("Trace-Id", b"7")])
    context = WaitingContext(source(kafka.plaintext, topic))

    async with running(context):
        await until(lambda: len(context.kept) == 2)
        await until(lambda: context.lag == 0)

    first = context.kept[0]
    assert [f"{topic}/0/0", f"{topic}/0/1"] == keys(context)
    assert event(1) == first.body
    assert ("7", "k", topic, "0", "0") == tuple(
        first.headers[name]
        for name in ("trace-id", "kafka-key", "kafka-topic", "kafka-partition", "kafka-offset")
    )
    assert ("connected", "") == context.told[0]


async def test_a_run_goes_on_where_the_former_one_ended(kafka: RealKafka, topic: str) -> None:
    """What is stored is committed, and nothing else."""
    await kafka.create_topic(topic, partitions=3)
    for number in range(9):
        await kafka.produce(topic, event(number), partition=number % 3)
    first = WaitingContext(source(kafka.plaintext, topic))
    async with running(first):
        await until(lambda: len(first.kept) == 9)
    second = WaitingContext(source(kafka.plaintext, topic))
    await kafka.produce(topic, event(9), partition=0)

    async with running(second):
        await until(lambda: len(second.kept) == 1)

    assert [f"{topic}/0/3"] == keys(second)


async def test_what_could_not_be_stored_is_read_again(kafka: RealKafka, topic: str) -> None:
    """In the same run, and told meanwhile."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, *(event(number) for number in range(5)))
    context = WaitingContext(source(kafka.plaintext, topic), failures=[Unavailable()] * 2)

    async with running(context):
        await until(lambda: len(context.kept) == 5)
        await until(lambda: context.told[-1][0] == "connected")

    assert [f"{topic}/0/{number}" for number in range(5)] == keys(context)
    assert str(Reason.DATABASE_UNAVAILABLE) in {reason for reason, _ in context.told}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_users_log_in(kafka: RealKafka, topic: str, mechanism: str) -> None:
    """By TLS with an authority of the installation's own."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, event(1))
    row = source(
        kafka.sasl_ssl,
        topic,
        sasl=sasl(mechanism),
        tls={"caRef": {"kind": "Secret", "name": "ca", "key": "ca.crt"}},
        secrets=login() | {"tls.ca": Secret(kafka.authority.certificate)},
    )
    context = WaitingContext(row)

    async with running(context):
        await until(lambda: len(context.kept) == 1)


def sasl(mechanism: str = "PLAIN") -> dict[str, Any]:
    """Write how to log in."""
    ref = {"name": "login"}
    return {"mechanism": mechanism, "usernameRef": ref, "passwordRef": ref}


def login(password: str = PASSWORD) -> dict[str, Secret]:
    """Give the secrets of a login."""
    return {"sasl.username": Secret(USER), "sasl.password": Secret(password)}


async def test_a_client_certificate_is_shown(kafka: RealKafka, topic: str) -> None:
    """And one that the brokers' authority has not issued is refused."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, event(1))

    def row(issuer: Authority) -> EventSource:
        return source(
            kafka.ssl,
            topic,
            tls={"clientCertificateRef": {"name": "pair"}, "serverName": "broker-0"},
            secrets={
                "tls.ca": Secret(kafka.authority.certificate),
                "tls.clientCertificate": Secret(issuer.issue("taskloom")),
            },
        )

    context = WaitingContext(row(kafka.authority))
    async with running(context):
        await until(lambda: len(context.kept) == 1)
    with pytest.raises(SourceFailed) as caught:
        await Kafka().run(WaitingContext(row(Authority("another"))))

    assert Reason.AUTH_FAILED is caught.value.reason


@asynccontextmanager
async def token_endpoint() -> AsyncIterator[str]:
    """Run an endpoint that gives whoever knows its secret tokens, which need not be signed."""

    async def give(request: web.Request) -> web.Response:
        form = await request.post()
        login = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        user, _, password = login.partition(":")
        if (password, form.get("scope")) != ("right", "kafka"):
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": user, "iat": now, "exp": now + 600}]
        token = ".".join(
            urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
        )
        return web.json_response({"access_token": f"{token}.", "expires_in": 600})

    application = web.Application()
    application.router.add_post("/token", give)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    finally:
        await runner.cleanup()


async def test_tokens_are_asked_for(kafka: RealKafka, topic: str) -> None:
    """By client credentials; an endpoint that refuses, or is away, is told as what it is."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, event(1))

    def row(endpoint: str, secret: str) -> EventSource:
        ref = {"name": "oauth", "key": "k"}
        oauth = {
            "tokenEndpoint": endpoint,
            "clientIdRef": ref,
            "clientSecretRef": ref,
            "scope": "kafka",
        }
        return source(
            kafka.sasl,
            topic,
            sasl={"mechanism": "OAUTHBEARER", "oauth": oauth},
            secrets={"sasl.clientId": Secret("taskloom"), "sasl.clientSecret": Secret(secret)},
        )

    async with token_endpoint() as endpoint:
        context = WaitingContext(row(endpoint, "right"))
        async with running(context):
            await until(lambda: len(context.kept) == 1)
        with pytest.raises(SourceFailed) as refused:
            await Kafka().run(WaitingContext(row(endpoint, "wrong")))
    with pytest.raises(SourceFailed) as away:
        await Kafka().run(WaitingContext(row(endpoint, "right")))

    assert (Reason.AUTH_FAILED, Reason.CONNECT_FAILED) == (
        refused.value.reason,
        away.value.reason,
    )
    assert "token endpoint" in away.value.message


Wrong = Callable[[RealKafka, str], EventSource]


def _wrong_password(kafka: RealKafka, topic: str) -> EventSource:
    return source(kafka.sasl, topic, sasl=sasl("SCRAM-SHA-512"), secrets=login("wrong"))


def _wrong_plain_password(kafka: RealKafka, topic: str) -> EventSource:
    return source(kafka.sasl, topic, sasl=sasl(), secrets=login("wrong"))


def _wrong_authority(kafka: RealKafka, topic: str) -> EventSource:
    secrets = {"tls.ca": Secret(Authority().certificate)}
    return source(kafka.ssl, topic, tls={}, secrets=secrets)


def _wrong_name(kafka: RealKafka, topic: str) -> EventSource:
    secrets = {"tls.ca": Secret(kafka.authority.certificate)}
    return source(kafka.ssl, topic, tls={"serverName": "kafka.example.com"}, secrets=secrets)


def _no_topic(kafka: RealKafka, topic: str) -> EventSource:
    return source(kafka.plaintext, topic, "no-such-topic")


def _no_broker(_: RealKafka, topic: str) -> EventSource:
    return source("127.0.0.1:9", topic)


def _no_host(_: RealKafka, topic: str) -> EventSource:
    return source("no-such-host.invalid:9092", topic)


def _clear_to_tls(kafka: RealKafka, topic: str) -> EventSource:
    return source(kafka.ssl, topic)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (_wrong_password, Reason.AUTH_FAILED),
        (_wrong_plain_password, Reason.AUTH_FAILED),
        (_wrong_authority, Reason.AUTH_FAILED),
        (_wrong_name, Reason.AUTH_FAILED),
        (_no_topic, Reason.TOPIC_NOT_FOUND),
        (_no_broker, Reason.CONNECT_FAILED),
        (_no_host, Reason.CONNECT_FAILED),
        (_clear_to_tls, Reason.CONNECT_FAILED),
    ],
)
async def test_what_is_wrong_is_told_by_its_reason(
    kafka: RealKafka, topic: str, wrong: Wrong, reason: Reason
) -> None:
    """Within seconds, and without the password."""
    await kafka.create_topic(topic)

    async with asyncio.timeout(SECONDS):
        with pytest.raises(SourceFailed) as caught:
            await Kafka().run(WaitingContext(wrong(kafka, topic)))

    assert reason is caught.value.reason
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"sasl": {"mechanism": "AWS_MSK_IAM", "awsRegion": "eu-west-1"}}, "AWS_MSK_IAM"),
        ({"properties": {"no.such.setting": "1"}}, "no.such.setting is not known"),
        ({"tls": {"caRef": {"kind": "Secret", "name": "ca", "key": "k"}}}, "caRef does not hold"),
        ({"tls": {"clientCertificateRef": {"name": "pair"}}}, "clientCertificateRef does not hold"),
    ],
)
async def test_what_cannot_be_used_is_refused(part: dict[str, Any], words: str) -> None:
    """It must be mended in the spec."""
    secrets = {"tls.ca": Secret("none"), "tls.clientCertificate": Secret("none")}
    if "caRef" not in part.get("tls", {}):
        secrets.pop("tls.ca")
    row = source("127.0.0.1:9", "t", secrets=secrets, **part)

    with pytest.raises(Invalid, match=words):
        await Kafka().run(FakeContext(row))


async def test_topics_of_a_pattern_are_read_as_they_come(kafka: RealKafka, topic: str) -> None:
    """None at first, which is told."""
    context = WaitingContext(source(kafka.plaintext, topicPattern=rf"{topic}\..*"))
    async with running(context):
        await until(lambda: (str(Reason.TOPIC_NOT_FOUND)) in {told for told, _ in context.told})
        await kafka.create_topic(f"{topic}.orders")
        await kafka.create_topic(f"{topic}x")
        await kafka.produce(f"{topic}.orders", event(1))
        await kafka.produce(f"{topic}x", event(2))
        await until(lambda: len(context.kept) == 1, 30)
        await until(lambda: context.told[-1][0] == "connected")

    assert [f"{topic}.orders/0/0"] == keys(context)


async def test_latest_begins_with_what_comes_from_now_on(kafka: RealKafka, topic: str) -> None:
    """Also what came between two runs, of which the first read nothing."""
    await kafka.create_topic(topic)
    await kafka.produce(topic, event(1))
    row = source(kafka.plaintext, topic, initialOffset="Latest")
    first = WaitingContext(row)
    async with running(first):
        await until(lambda: first.lag == 0)
    await kafka.produce(topic, event(2))
    second = WaitingContext(row)

    async with running(second):
        await until(lambda: len(second.kept) == 1)

    assert ([], [f"{topic}/0/1"]) == (keys(first), keys(second))


async def test_records_of_every_size_and_codec_are_read(kafka: RealKafka, topic: str) -> None:
    """Null ones, 5 MB, and compressed ones; what they are is not the connector's business."""
    await kafka.create_topic(topic)
    large = b"x" * 5_000_000
    await kafka.produce(topic, large, b"", None, key=b"k")
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        await kafka.produce(topic, event(7), compression=codec)
    context = WaitingContext(source(kafka.plaintext, topic))

    async with running(context):
        await until(lambda: len(context.kept) == 7)

    assert [large, b"", None, *[event(7)] * 4] == [message.body for message in context.kept]


async def test_two_processes_share_the_partitions(kafka: RealKafka, topic: str) -> None:
    """And when one goes the other reads all, without a gap."""
    await kafka.create_topic(topic, partitions=4)
    row = source(kafka.plaintext, topic)
    one, other = WaitingContext(row), WaitingContext(row)
    async with running(one):
        await until(lambda: one.lag == 0)
        async with running(other):
            await until(lambda: other.lag == 0)
            for number in range(40):
                await kafka.produce(topic, event(number), partition=number % 4)
            await until(lambda: len(one.kept) + len(other.kept) == 40)
            assert len(one.kept) == len(other.kept)
        for number in range(40):
            await kafka.produce(topic, event(number), partition=number % 4)
        await until(lambda: len(one.kept) == 60, 30)

    assert 80 == len({*keys(one), *keys(other)})


async def test_a_broker_that_goes_and_comes_is_told_and_read_on(tmp_path: Path) -> None:
    """Whatever is produced afterwards comes, without another run."""
    async with RealKafka(tmp_path / "kafka") as kafka:
        await kafka.create_topic("t")
        await kafka.produce("t", event(1))
        context = WaitingContext(source(kafka.plaintext, "t"))
        async with running(context) as task:
            await until(lambda: len(context.kept) == 1 and context.lag == 0)
            kafka.kill()
            await until(lambda: context.told[-1][0] == str(Reason.CONNECT_FAILED))
            await kafka.start()
            await until(lambda: context.told[-1][0] == "connected", 30)
            await kafka.produce("t", event(2))
            await until(lambda: len(context.kept) == 2, 30)
            kafka.freeze()
            await until(lambda: context.told[-1][0] == str(Reason.CONNECT_FAILED))
            kafka.thaw()
            await until(lambda: context.told[-1][0] == "connected", 30)
            assert not task.done()


async def test_a_leader_that_moves_is_followed(tmp_path: Path) -> None:
    """A topic with two copies is read on when the broker that led it is killed."""
    async with RealKafka(tmp_path / "kafka", brokers=2) as kafka:
        await kafka.create_topic("t", partitions=4, copies=2)
        context = WaitingContext(source(kafka.plaintext, "t"))
        async with running(context):
            for number in range(8):
                await kafka.produce("t", event(number), partition=number % 4)
            await until(lambda: len(context.kept) == 8)
            kafka.kill(1)
            await asyncio.sleep(7)
            for number in range(8):
                await kafka.produce("t", event(number), partition=number % 4)
            await until(lambda: len(context.kept) == 16, 40)
