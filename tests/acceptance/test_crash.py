"""kill -9 at random moments: nothing is lost, nothing is done twice."""

import asyncio
import contextlib
import os
import random
from pathlib import Path

import httpx
import pytest

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port

EVENTS = 500
ROUNDS = int(os.environ.get("TASKLOOM_CRASH_ROUNDS", "5"))


async def _post_until_taken(client: httpx.AsyncClient, number: int) -> None:
    event = {"key": "crash.test", "payload": {"number": number}, "source": "test"}
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.post(
                "/events/trigger", json=event, headers={"idempotency-key": f"event-{number}"}
            )
            if answer.status_code == 204:
                return
            assert answer.status_code in (500, 503), answer.text
        await asyncio.sleep(0.1)


async def _count(client: httpx.AsyncClient, path: str) -> int:
    with contextlib.suppress(httpx.TransportError):
        answer = await client.get(path)
        if answer.status_code == 200:
            count: int = answer.json()["count"]
            return count
    return -1


def _created(receiver: Receiver) -> list[str]:
    """List the tasks that were told of, by webhooks that differ by their id."""
    return [
        task["id"]
        for body in receiver.webhooks.values()
        for task in body["payload"]["createdTasks"]
    ]


@pytest.mark.slow
async def test_a_killed_process_loses_nothing_and_repeats_nothing(
    tmp_path: Path, files: Path, receiver: Receiver
) -> None:
    """500 events of two tasks each pass while the process is killed again and again."""
    server = ServedTaskloom(files=files, data_dir=tmp_path / "data", port=free_port())
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=10
        ) as client:
            await server.wait_until_ready(client)
            places = asyncio.Semaphore(20)

            async def post(number: int) -> None:
                async with places:
                    await asyncio.sleep(random.uniform(0, 0.2))
                    await _post_until_taken(client, number)

            posting = asyncio.gather(*(post(number) for number in range(EVENTS)))
            for _ in range(ROUNDS):
                await asyncio.sleep(random.uniform(0.3, 2.0))
                await server.kill()
                await server.start()
            await posting
            async with asyncio.timeout(180):
                while len(_created(receiver)) < 2 * EVENTS:
                    await asyncio.sleep(0.2)
            await asyncio.sleep(1)  # would there be more than there should be?

            assert EVENTS == await _count(client, "/events/count")
            assert 2 * EVENTS == await _count(client, "/tasks/count")
            tasks = (await client.get("/tasks", params={"filter": '{"limit": 2000}'})).json()
            assert EVENTS * 2 == len({task["externalId"] for task in tasks})
            assert {task["id"] for task in tasks} == set(_created(receiver))
            assert 2 * EVENTS == len(_created(receiver))
            assert len(receiver.webhooks) == EVENTS
    finally:
        await server.stop()
