"""The example of an http source, run as its page says."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskloom.testing.server import ServedTaskloom, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "http-source"
SECONDS = 60


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the example's resources."""
    server = ServedTaskloom(
        files=EXAMPLE / "resources", data_dir=tmp_path / "data", port=free_port()
    )
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=30
        ) as client:
            await server.wait_until_ready(client)
            yield client
    finally:
        await server.stop()


async def _send(client: httpx.AsyncClient, action: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE / "send.py"),
        action,
        f"{client.base_url}/sources/issues",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def _tasks(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    async with asyncio.timeout(SECONDS):
        while True:
            tasks: list[dict[str, Any]] = (await client.get("/tasks")).json()
            if tasks:
                return tasks
            await asyncio.sleep(0.1)


async def test_an_issue_becomes_a_task_once(client: httpx.AsyncClient) -> None:
    """Opened twice is one task, closed is none, and another secret is refused."""
    answers = [
        await _send(client, "opened", ISSUES_SECRET="wrong"),
        await _send(client, "closed"),
        await _send(client, "opened"),
        await _send(client, "opened"),
    ]
    tasks = await _tasks(client)
    events = (await client.get("/events")).json()

    assert ["401", "204", "204", "204"] == answers
    assert ["Look at issue 7 of acme/furniture"] == [task["name"] for task in tasks]
    assert ["issue.opened"] == [event["key"] for event in events]
