"""From SQS to rows: by a process that runs sources, on a real database and a real server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from taskloom.connectors.host import Host, Pool, Rhythm
from taskloom.connectors.registry import Connectors
from taskloom.connectors.sqs import source as source_module
from taskloom.connectors.sqs.source import Sqs
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.store.database import Database
from taskloom.testing.connectors import source_row
from tests.real.sqs.server import RealSqs

RHYTHM = Rhythm(lease=1.5, turn=0.1, read=0.5, figures=0.2)
KEYS = {"accessKeyId": Secret("x"), "secretAccessKey": Secret("x")}


@pytest.fixture
async def host(database: Database) -> AsyncIterator[Host]:
    """Run a process."""
    services = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
    ran = Host(
        services,
        Connectors([Sqs()]),
        Ingest(services),
        holder="one",
        pool=Pool(),
        rhythm=RHYTHM,
    )
    tasks = [asyncio.create_task(ran.run()), asyncio.create_task(database.listen())]
    yield ran
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def put(database: Database, source: EventSource) -> None:
    """Write a source as the controller does."""
    async with database.begin() as tx:
        await tx.sources.put(source)
        tx.notify("sources")


async def numbers(database: Database) -> list[int]:
    """Give the numbers of what is stored."""
    async with database.begin() as tx:
        result = await tx.connection.exec_driver_sql("SELECT payload FROM events")
        return sorted(json.loads(row.payload)["number"] for row in result)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


def event(number: int) -> str:
    """Write an event."""
    return json.dumps({"key": "order", "payload": {"number": number}})


async def test_cut_between_storing_and_deleting_it_is_stored_once(
    sqs: RealSqs,
    queue_name: str,
    database: Database,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was not deleted is given again, found stored, and deleted."""
    url = await sqs.create(queue_name, VisibilityTimeout="1")
    cut: list[int] = []
    delete = source_module._Reading._delete

    async def cut_once(reading: Any, messages: Any) -> None:
        if not cut:
            cut.append(len(messages))
            raise OSError
        await delete(reading, messages)

    monkeypatch.setattr(source_module._Reading, "_delete", cut_once)
    await sqs.send(url, *(event(number) for number in range(5)))
    await put(database, source_row({"sqs": {"queueUrl": url}}, secrets=KEYS))

    async def is_empty() -> bool:
        return await sqs.figures(url) == {"waiting": 0, "hidden": 0}

    await until(is_empty)
    assert list(range(5)) == await numbers(database)
    assert cut[0] > 0
    assert len(host.running) == 1


async def test_a_source_is_turned_to_another_queue_and_key_while_it_runs(
    sqs: RealSqs, queue_name: str, database: Database, host: Host
) -> None:
    """And suspended, and resumed: nothing is lost and nothing comes twice."""
    urls = [
        await sqs.create(f"{queue_name}-{number}", VisibilityTimeout="2") for number in range(2)
    ]
    source = source_row({"sqs": {"queueUrl": urls[0]}}, secrets=KEYS)
    await put(database, source)
    await sqs.send(urls[0], event(0))
    await until(lambda: _are(database, [0]))

    other = source_row({"sqs": {"queueUrl": urls[1]}}).spec
    changed = replace(source, spec=other, secrets=KEYS | {"secretAccessKey": Secret("new")})
    await put(database, changed)
    await sqs.send(urls[1], event(1))
    await until(lambda: _are(database, [0, 1]))
    await put(database, replace(changed, suspended=True))

    async def runs_none() -> bool:
        return not host.running

    await until(runs_none)
    await sqs.send(urls[1], event(2))
    await put(database, changed)

    await until(lambda: _are(database, [0, 1, 2]))


async def _are(database: Database, expected: list[int]) -> bool:
    return await numbers(database) == expected
