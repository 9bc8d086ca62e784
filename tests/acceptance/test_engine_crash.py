"""On a real engine: workers killed, the engine's database stopped, the engine restarted."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography.fernet import Fernet

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.engines.database import EngineDatabase
from tests.real.engines.engine import RealEngine

PARENTS, TASKS_EACH, KILLS = 200, 3, 10
TASKS = PARENTS * TASKS_EACH
OUTAGE_SECONDS = 5.0
RESOURCES = Path(__file__).parent / "engines" / "resources.yaml"


class Elsewhere(NamedTuple):
    """An engine, and the database that it alone uses."""

    engine: RealEngine
    database: EngineDatabase


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Elsewhere]:
    """Run an engine on a database that may be stopped."""
    database = EngineDatabase(tmp_path / "engine-postgres")
    await database.start()
    async with RealEngine("operaton", tmp_path / "engine", database=database.url) as engine:
        yield Elsewhere(engine, database)
    await database.stop()


async def _post_all(client: httpx.AsyncClient) -> None:
    for number in range(PARENTS):
        event = {"key": "crash.test", "payload": {"number": number}, "source": "test"}
        answer = await client.post("/events/trigger", json=event)
        assert answer.status_code == 204, answer.text


async def _kill_at_random(workers: Sequence[ServedTaskloom]) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.3, 1.5))
        victim = random.choice(workers)
        await victim.kill()
        await victim.start()


async def _harm(elsewhere: Elsewhere, workers: Sequence[ServedTaskloom]) -> None:
    engine, database = elsewhere
    killing = asyncio.create_task(_kill_at_random(workers))
    await asyncio.sleep(2)
    await database.stop()
    await asyncio.sleep(OUTAGE_SECONDS)
    await database.start()
    await asyncio.sleep(2)
    engine.kill()
    await engine.start()
    await killing


async def _instances(engine: RealEngine, key: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=engine.url, trust_env=False, timeout=60) as client:
        answer = await client.get(
            "/history/process-instance",
            params={"processDefinitionKey": key, "maxResults": 10 * TASKS},
        )
        found: list[dict[str, Any]] = answer.json()
        return found


def _told(receiver: Receiver, key: str) -> list[dict[str, Any]]:
    return [body["payload"] for body in receiver.webhooks.values() if body["key"] == key]


@pytest.mark.slow
async def test_kills_and_outages_lose_nothing_and_repeat_nothing(
    tmp_path: Path, database_url: str, elsewhere: Elsewhere, receiver: Receiver
) -> None:
    """200 events of three tasks each: 600 tasks with 600 instances, none twice, all completed."""
    files = tmp_path / "files"
    files.mkdir()
    text = RESOURCES.read_text().replace("PORT", str(receiver.port))
    (files / "resources.yaml").write_text(text)
    shared = {
        "TASKLOOM_DATABASE_URL": database_url,
        "TASKLOOM_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "TASKLOOM_JWT_SECRET": secrets.token_hex(32),
        "TASKLOOM_ENGINE": "camunda",
        "TASKLOOM_ENGINE_URL": elsewhere.engine.url,
    }

    def served(name: str, roles: str) -> ServedTaskloom:
        return ServedTaskloom(
            files=files,
            data_dir=tmp_path / name,
            port=free_port(),
            settings={**shared, "TASKLOOM_ROLES": roles},
        )

    front = served("front", "api,controller,dispatcher")
    workers = [served(f"worker-{number}", "worker,relay") for number in range(2)]
    await front.start()
    try:
        async with httpx.AsyncClient(
            base_url=front.url, headers=front.authorization, timeout=30
        ) as client:
            await front.wait_until_ready(client)
            for worker in workers:
                await worker.start()
            harm = asyncio.create_task(_harm(elsewhere, workers))
            await _post_all(client)
            await harm
            async with asyncio.timeout(240):
                while len(_told(receiver, "task-completed")) < TASKS:
                    await asyncio.sleep(0.5)
            await asyncio.sleep(1)  # would there be more than there should be?
            tasks = (await client.get("/tasks", params={"filter": '{"limit": 5000}'})).json()
    finally:
        for server in (*workers, front):
            await server.stop()
    parents = await _instances(elsewhere.engine, "crash-parent")
    children = await _instances(elsewhere.engine, "crash-child")

    assert TASKS == len(tasks)
    assert {"completed"} == {task["status"] for task in tasks}
    assert {child["id"] for child in children} == {task["externalId"] for task in tasks}
    assert (PARENTS, TASKS) == (len(parents), len(children))
    assert {"COMPLETED"} == {each["state"] for each in (*parents, *children)}
    assert TASKS == len({each["taskId"] for each in _told(receiver, "task-completed")})
    created = [
        task["id"]
        for payload in _told(receiver, "task-created")
        for task in payload["createdTasks"]
    ]
    assert {task["id"] for task in tasks} == set(created)
    assert TASKS == len(created)
