"""Sources and sinks of kind nats, on a real server: the public suites."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskloom.connectors.nats.credentials import read_credentials
from taskloom.connectors.nats.sink import NatsSinks
from taskloom.connectors.nats.source import Nats
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink, EventSource
from taskloom.errors import Invalid, Unavailable
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.testing.connectors import FakeContext, source_row
from taskloom.testing.sink_suite import Arrived, SinkConnectorSuite, SinkStage
from taskloom.testing.sinks import sink_row
from taskloom.testing.source_suite import SystemSourceSuite, SystemStage, running
from tests.real.certificates import Authority
from tests.real.nats.keys import Operator
from tests.real.nats.server import RealNats

STREAM, SUBJECT = "ORDERS", "orders.placed"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealNats]:
    """Run a server with a stream."""
    async with RealNats(tmp_path) as running:
        await running.add_stream(STREAM, "orders.>")
        yield running


class StreamStage(SystemStage):
    """A stream, read from its beginning."""

    connector = Nats()

    def __init__(self, server: RealNats) -> None:
        self.server = server
        self.source = source_row(
            {
                "nats": {
                    "servers": [server.url],
                    "stream": STREAM,
                    "initialPosition": "All",
                    "ackWaitSeconds": 2,
                }
            }
        )

    async def produce(self, *bodies: bytes) -> None:
        """Publish."""
        await self.server.publish(SUBJECT, *bodies, headers={"X-Kind": "order"})

    async def go_away(self) -> None:
        """Kill the server."""
        self.server.kill()

    async def come_back(self) -> None:
        """Start it again."""
        await self.server.start()


class TestSource(SystemSourceSuite):
    """The public suite."""

    @pytest.fixture
    def stage(self, server: RealNats) -> SystemStage:
        """Set the stage."""
        return StreamStage(server)


class SubjectStage(SinkStage):
    """A subject that a stream takes."""

    connector = NatsSinks()

    def __init__(self, server: RealNats) -> None:
        self.server = server
        self.sink = sink_row({"nats": {"servers": [server.url], "subject": SUBJECT}})

    async def arrived(self, count: int) -> Sequence[Arrived]:
        """Read the stream."""
        async with asyncio.timeout(10):
            while True:
                found = await self.server.messages(STREAM)
                if len(found) >= count:
                    return [Arrived(body=each.data, headers=each.headers or {}) for each in found]
                await asyncio.sleep(0.1)

    async def go_away(self) -> None:
        """Kill the server."""
        self.server.kill()

    async def come_back(self) -> None:
        """Start it again."""
        await self.server.start()


class TestSink(SinkConnectorSuite):
    """The public suite."""

    @pytest.fixture
    def stage(self, server: RealNats) -> SinkStage:
        """Set the stage."""
        return SubjectStage(server)


@asynccontextmanager
async def reading(source: EventSource) -> AsyncIterator[FakeContext]:
    """Run a source on a context."""
    context = FakeContext(source, wall_clock=True)
    async with running(Nats(), context):
        yield context


def orders(server: RealNats, secrets: Mapping[str, str] | None = None, **nats: Any) -> EventSource:
    """Declare a source of the stream."""
    spec = {"servers": [server.url], "stream": STREAM, "initialPosition": "All", **nats}
    found = {name: Secret(text) for name, text in (secrets or {}).items()}
    return source_row({"nats": spec}, secrets=found)


def out(server: RealNats, secrets: Mapping[str, str] | None = None, **nats: Any) -> EventSink:
    """Declare a sink of the subject."""
    spec = {"servers": [server.url], "subject": SUBJECT, **nats}
    found = {name: Secret(text) for name, text in (secrets or {}).items()}
    return sink_row({"nats": spec}, secrets=found)


def record(body: bytes = b"{}") -> Record:
    """Write a record."""
    return Record(id=uuid.uuid4(), key="k", body=body)


USER = {"userRef": {"name": "s", "key": "u"}, "passwordRef": {"name": "s", "key": "p"}}
TOKEN = {"tokenRef": {"name": "s", "key": "t"}}
CREDENTIALS = {"credentialsRef": {"name": "s", "key": "c"}}
LOGINS: list[tuple[dict[str, Any], dict[str, Any], dict[str, str], dict[str, str]]] = [
    (
        {"user": "alice", "password": "correct horse"},
        USER,
        {"user": "alice", "password": "correct horse"},
        {"user": "alice", "password": "wrong battery"},
    ),
    ({"token": "s3cr3t-t0ken"}, TOKEN, {"token": "s3cr3t-t0ken"}, {"token": "another-one"}),
]


@pytest.mark.parametrize(("authorization", "auth", "right", "wrong"), LOGINS)
async def test_who_may_not_connect_is_told_so(
    tmp_path: Path,
    authorization: dict[str, Any],
    auth: dict[str, Any],
    right: dict[str, str],
    wrong: dict[str, str],
) -> None:
    """By AuthFailed, without the secret; with the right one both ways work."""
    async with RealNats(tmp_path, authorization=authorization, own=authorization) as server:
        await server.add_stream(STREAM, "orders.>")
        async with reading(orders(server, wrong, auth=auth)) as context:
            await context.wait_for_told(Reason.AUTH_FAILED)
        with pytest.raises(SinkFailed) as failed:
            async with NatsSinks().open(out(server, wrong, auth=auth)):
                pass
        async with NatsSinks().open(out(server, right, auth=auth)) as producer:
            await producer.send([record()])
        async with reading(orders(server, right, auth=auth)) as reads:
            await reads.wait_for_kept(1)

    told = " ".join(message for _, message in context.told) + failed.value.message
    assert Reason.AUTH_FAILED == failed.value.reason
    assert not [secret for secret in wrong.values() if secret in told]


async def test_tls_takes_the_right_authority_only(tmp_path: Path) -> None:
    """Another's is AuthFailed; so is to show no certificate where one is asked for."""
    async with RealNats(tmp_path, tls=True, verify=True) as server:
        authority = {"caRef": {"kind": "Secret", "name": "s", "key": "ca.crt"}}
        client = authority | {"clientCertificateRef": {"name": "c"}}
        pair = server.authority.issue("client")
        right = {"tls.ca": server.authority.certificate, "tls.clientCertificate": pair}
        wrong = right | {"tls.ca": Authority().certificate}
        server.trust_with(pair)
        await server.add_stream(STREAM, "orders.>")
        await server.publish(SUBJECT, b"{}")
        async with reading(orders(server, wrong, tls=client)) as context:
            await context.wait_for_told(Reason.AUTH_FAILED)
        async with reading(orders(server, {"tls.ca": right["tls.ca"]}, tls=authority)) as context:
            await context.wait_for_told(Reason.AUTH_FAILED)

        async with reading(orders(server, right, tls=client)) as context:
            await context.wait_for_kept(1)


async def test_tls_is_not_talked_out_of(server: RealNats) -> None:
    """A server that speaks none gets no password, whatever it says."""
    spec = {"tls": {"insecureSkipVerify": True}, "auth": USER}
    async with reading(orders(server, LOGINS[0][2], **spec)) as context:
        await context.wait_for_told(Reason.CONNECT_FAILED)


async def test_a_stream_that_is_missing_is_told_and_read_once_it_is_there(
    server: RealNats,
) -> None:
    """TopicNotFound, both ways; and no restart."""
    await server.delete_stream(STREAM)
    with pytest.raises(SinkFailed) as failed:
        async with NatsSinks().open(out(server)):
            pass
    async with reading(orders(server)) as context:
        await context.wait_for_told(Reason.TOPIC_NOT_FOUND)
        await server.add_stream(STREAM, "orders.>")
        await server.publish(SUBJECT, b"{}")
        await context.wait_for_kept(1)

    assert Reason.TOPIC_NOT_FOUND == failed.value.reason


async def test_a_stream_that_is_made_anew_is_read_anew(server: RealNats) -> None:
    """Its messages count from 1 again, and are others all the same."""
    async with reading(orders(server)) as context:
        await server.publish(SUBJECT, b'{"number": 1}')
        await context.wait_for_kept(1)
        await server.delete_stream(STREAM)
        await context.wait_for_told(Reason.TOPIC_NOT_FOUND)
        await server.add_stream(STREAM, "orders.>")
        await server.publish(SUBJECT, b'{"number": 2}')
        await context.wait_for_kept(2)


async def test_a_consumer_that_is_deleted_is_made_again(server: RealNats) -> None:
    """Nothing that came meanwhile is missed."""
    async with reading(orders(server)) as context:
        await server.publish(SUBJECT, b'{"number": 1}')
        await context.wait_for_kept(1)
        await server.delete_consumer(STREAM, "taskloom-default-source")
        await server.publish(SUBJECT, b'{"number": 2}')
        await context.wait_for_kept(2)


async def test_a_new_source_begins_with_what_comes_from_then_on(server: RealNats) -> None:
    """Since it was declared, not since it was first read."""
    await server.publish(SUBJECT, b'{"number": 1}')
    await asyncio.sleep(0.1)
    declared = replace(orders(server, initialPosition="New"), created_on=datetime.now(UTC))
    await server.publish(SUBJECT, b'{"number": 2}')

    async with reading(declared) as context:
        await context.wait_for_kept(1)

    assert [b'{"number": 2}'] == [message.body for message in context.given]


async def test_messages_say_where_they_come_from(server: RealNats) -> None:
    """Of the subjects asked for; what waits is counted."""
    await server.publish("orders.gone", b"{}")
    await server.publish(SUBJECT, b"{}", headers={"X-Kind": "order"})
    async with reading(orders(server, subjects=[SUBJECT])) as context:
        await context.wait_for_kept(1)

    [message] = context.kept
    assert ["order", SUBJECT, STREAM, "2"] == [
        message.headers[name] for name in ("x-kind", "nats-subject", "nats-stream", "nats-sequence")
    ]
    assert context.lag is not None


async def test_other_subjects_are_taken_over_by_its_own_consumer(server: RealNats) -> None:
    """A changed source goes on where it was."""
    async with reading(orders(server, subjects=["orders.a"])) as context:
        await server.publish("orders.a", b"1")
        await context.wait_for_kept(1)
    await server.publish("orders.b", b"2")
    await server.publish("orders.a", b"3")
    async with reading(orders(server, subjects=["orders.a", "orders.b"])) as context:
        await context.wait_for_kept(2)

    assert [b"2", b"3"] == [message.body for message in context.given]


async def test_a_message_is_held_while_it_cannot_be_stored(server: RealNats) -> None:
    """Longer than its acknowledgement is waited for; it is given once."""
    await server.publish(SUBJECT, b"{}")
    source = orders(server, ackWaitSeconds=1)
    async with reading(source) as context:
        context.failures += [Unavailable(delay=0.5)] * 6
        await context.wait_for_kept(1)
        await asyncio.sleep(1.5)
        left = await server.consumer(STREAM, "taskloom-default-source")

    assert (0, 0) == (left.num_ack_pending, left.num_redelivered)
    assert (Reason.DATABASE_UNAVAILABLE) in [state for state, _ in context.told]


async def test_records_are_taken_once(server: RealNats) -> None:
    """One that is produced again is dropped; that of another sink is not."""
    one = record()
    async with NatsSinks().open(out(server)) as producer:
        [first] = await producer.send([one])
        [again] = await producer.send([one])
    other = replace(out(server), id=uuid.uuid4())
    async with NatsSinks().open(other) as producer:
        await producer.send([one])

    assert first == again
    assert 2 == len(await server.messages(STREAM))


async def test_what_is_too_large_is_not_tried_again(tmp_path: Path) -> None:
    """For the server, and for the stream; what is beside it is produced."""
    async with RealNats(tmp_path, settings={"max_payload": 4096}) as server:
        await server.add_stream(STREAM, "orders.>", max_msg_size=2048)
        async with NatsSinks().open(out(server)) as producer:
            results = await producer.send([record(b"x" * 5000), record(b"x" * 3000), record()])

    assert [NotProduced, NotProduced, Produced] == [type(result) for result in results]
    assert [True, True] == [getattr(result, "permanent", None) for result in results[:2]]


async def test_a_stream_that_is_full_is_the_sinks_failure(server: RealNats) -> None:
    """No delivery is to blame."""
    await server.delete_stream(STREAM)
    await server.add_stream(STREAM, "orders.>", max_msgs=1, discard="new")
    async with NatsSinks().open(out(server)) as producer:
        await producer.send([record()])
        with pytest.raises(SinkFailed, match="maximum messages exceeded"):
            await producer.send([record()])


async def test_a_server_that_says_nothing_is_told(server: RealNats) -> None:
    """A connection that is open, and over which nothing comes any more."""
    async with reading(orders(server)) as context:
        await context.wait_for_told("connected")
        server.freeze()
        try:
            await context.wait_for_told(Reason.CONNECT_FAILED)
        finally:
            server.thaw()
        await context.wait_for_told("connected")


async def test_a_credentials_file_logs_in(tmp_path: Path) -> None:
    """That of another operator's user is AuthFailed; text that is none is the spec's fault."""
    operator = Operator()
    own = read_credentials(operator.credentials())
    login = {"user_jwt_cb": own.jwt.encode, "signature_cb": own.sign}
    async with RealNats(tmp_path, settings=operator.settings, own=login) as server:
        await server.add_stream(STREAM, "orders.>")
        await server.publish(SUBJECT, b"{}")
        strange = {"credentials": Operator().credentials()}
        async with reading(orders(server, strange, auth=CREDENTIALS)) as context:
            await context.wait_for_told(Reason.AUTH_FAILED)
        right = {"credentials": operator.credentials()}
        async with reading(orders(server, right, auth=CREDENTIALS)) as context:
            await context.wait_for_kept(1)

    with pytest.raises(Invalid, match="does not hold a credentials file"):
        read_credentials("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n")
