"""A NATS source in a process that runs sources, on a real server and database, while it changes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from taskloom.connectors.host import Host, Pool, Rhythm
from taskloom.connectors.nats.source import Nats
from taskloom.connectors.registry import Connectors
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.store.database import Database
from taskloom.testing.connectors import source_row
from tests.real.nats.server import RealNats

RHYTHM = Rhythm(lease=1.5, turn=0.1, read=0.5, figures=0.2)
FORMER, NEW = {"user": "former", "password": "one"}, {"user": "new", "password": "two"}
AUTH = {"userRef": {"name": "s", "key": "u"}, "passwordRef": {"name": "s", "key": "p"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealNats]:
    """Run a server that lets two users in, with a stream."""
    users = {"users": [FORMER, NEW]}
    async with RealNats(tmp_path, authorization=users, own=NEW) as running:
        await running.add_stream("ORDERS", "orders.>")
        yield running


@pytest.fixture
async def hosted(database: Database) -> AsyncIterator[Database]:
    """Run two processes."""
    services = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
    tasks = [asyncio.create_task(database.listen())]
    for holder in ("one", "two"):
        host = Host(
            services,
            Connectors([Nats()]),
            Ingest(services),
            holder=holder,
            pool=Pool(),
            rhythm=RHYTHM,
        )
        tasks.append(asyncio.create_task(host.run()))
    yield database
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def declared(server: RealNats, login: dict[str, str], *subjects: str) -> EventSource:
    """Declare the source, read by both processes."""
    return source_row(
        {
            "nats": {
                "servers": [server.url],
                "stream": "ORDERS",
                "subjects": list(subjects),
                "initialPosition": "All",
                "ackWaitSeconds": 2,
                "auth": AUTH,
            },
            "placement": {"replicas": 2},
        },
        secrets={name: Secret(text) for name, text in login.items()},
    )


async def put(database: Database, source: EventSource) -> None:
    """Write it as the controller does."""
    async with database.begin() as tx:
        await tx.sources.put(source)
        tx.notify("sources")


async def numbers(database: Database) -> Sequence[int]:
    """Read what came of the messages, in no order."""
    async with database.begin() as tx:
        result = await tx.connection.exec_driver_sql("SELECT payload FROM events")
        found = [row[0] for row in result]
    return sorted((json.loads(each) if isinstance(each, str) else each)["n"] for each in found)


async def is_read(server: RealNats, *subjects: str) -> None:
    """Wait until the consumer is given these."""
    async with asyncio.timeout(10):
        while True:
            consumer = await server.consumer("ORDERS", "taskloom-default-source")
            if list(subjects) == consumer.config.filter_subjects:
                return
            await asyncio.sleep(0.05)


async def come(database: Database, count: int) -> None:
    """Wait for so many."""
    async with asyncio.timeout(25):
        while len(await numbers(database)) < count:
            await asyncio.sleep(0.1)


def orders(*counted: int) -> list[bytes]:
    """Write messages."""
    return [json.dumps({"key": "order", "payload": {"n": each}}).encode() for each in counted]


async def test_a_changed_source_loses_and_repeats_nothing(
    server: RealNats, hosted: Database
) -> None:
    """A subject is added, the login changed, it is suspended and resumed, the server killed."""
    await put(hosted, declared(server, FORMER, "orders.a"))
    await server.publish("orders.a", *orders(*range(100)))
    await put(hosted, declared(server, FORMER, "orders.a", "orders.b"))
    await server.publish("orders.a", *orders(*range(100, 150)))
    await is_read(server, "orders.a", "orders.b")
    await server.publish("orders.b", *orders(*range(150, 200)))
    await put(hosted, rotated := declared(server, NEW, "orders.a", "orders.b"))
    await server.publish("orders.b", *orders(*range(200, 250)))
    await put(hosted, replace(rotated, suspended=True))
    await server.publish("orders.a", *orders(*range(250, 300)))
    await put(hosted, rotated)
    server.kill()
    await server.start()
    await server.publish("orders.b", *orders(*range(300, 350)))
    await come(hosted, 350)
    await asyncio.sleep(2.5)  # what was not acknowledged would be given again by now

    assert list(range(350)) == await numbers(hosted)
