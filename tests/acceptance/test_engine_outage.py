"""The engine goes away and comes back: events are taken in meanwhile, and nothing is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.engines.database import engine_database
from tests.real.engines.engine import RealEngine

EVENTS = 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RealEngine]:
    """Run Operaton on a database that outlives it."""
    with engine_database(tmp_path / "postgres") as database:
        engine = RealEngine("operaton", tmp_path / "engine", database=database)
        asyncio.run(engine.start())
        yield engine
        engine.stop()


async def _post(client: httpx.AsyncClient, number: int) -> None:
    event = {"key": "crash.test", "payload": {"number": number}, "source": "test"}
    key = {"idempotency-key": f"event-{number}"}
    answer = await client.post("/events/trigger", json=event, headers=key)
    assert 204 == answer.status_code


async def _told(receiver: Receiver, count: int) -> list[str]:
    """Wait until so many tasks have been told of; give them all."""
    async with asyncio.timeout(120):
        while True:
            tasks = [
                task["id"]
                for body in receiver.webhooks.values()
                for task in body["payload"]["createdTasks"]
            ]
            if len(tasks) >= count:
                return tasks
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_engine_that_was_away_is_given_what_came_meanwhile(
    tmp_path: Path, files: Path, receiver: Receiver, engine: RealEngine
) -> None:
    """It is killed amid the work; each event has its two tasks in the end, once."""
    server = ServedTaskloom(
        files=files,
        data_dir=tmp_path / "data",
        port=free_port(),
        settings={"TASKLOOM_ENGINE": "camunda", "TASKLOOM_ENGINE_URL": engine.url},
    )
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=30
        ) as client:
            await server.wait_until_ready(client)
            for number in range(EVENTS // 2):
                await _post(client, number)
            await _told(receiver, 2)
            engine.kill()
            for number in range(EVENTS // 2, EVENTS):
                await _post(client, number)
            await server.wait_until_ready(client)  # it is, without the engine
            await engine.start()
            told = await _told(receiver, 2 * EVENTS)
            tasks = (await client.get("/tasks", params={"filter": '{"limit": 2000}'})).json()

            assert 2 * EVENTS == len(told) == len(set(told))
            assert {task["id"] for task in tasks} == set(told)
            assert 2 * EVENTS == len({task["externalId"] for task in tasks})
            started = await client.get(f"{engine.url}/history/process-instance/count")
            assert {"count": 3 * EVENTS} == started.json()  # one for an event, one for a task
    finally:
        await server.stop()
