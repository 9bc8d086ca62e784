"""From the embedded engine to one elsewhere: what runs finishes, what starts starts there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskloom.testing.bpmn import bpmn, path
from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.engines.engine import RealEngine

ALONE = bpmn(
    '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>', path("s u e"), process_id="alone"
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[RealEngine]:
    """Run Operaton."""
    async with RealEngine("operaton", tmp_path / "engine") as engine:
        yield engine


async def _post(client: httpx.AsyncClient, number: int) -> str:
    event = {"key": "crash.test", "payload": {"number": number}, "source": "test"}
    answer = await client.post("/events/trigger", json=event)
    assert 204 == answer.status_code
    return answer.headers["taskloom-event-id"]


async def _pending(client: httpx.AsyncClient, count: int) -> list[tuple[str, str]]:
    """Wait until so many user tasks are pending; give each with its task."""
    async with asyncio.timeout(60):
        while True:
            found = []
            for task in (await client.get("/tasks")).json():
                listed = (await client.get(f"/tasks/{task['id']}/user-tasks")).json()
                found += [(task["id"], each["id"]) for each in listed if _waits(each)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)


def _waits(user_task: dict[str, Any]) -> bool:
    return bool(user_task["status"] == "pending")


@pytest.mark.slow
async def test_workflows_move_and_instances_finish_where_they_began(
    tmp_path: Path, files: Path, engine: RealEngine
) -> None:
    """User tasks of both engines are completed by the same call, and both events are traced."""
    data_dir = tmp_path / "data"
    elsewhere = {"TASKLOOM_ENGINE": "camunda", "TASKLOOM_ENGINE_URL": engine.url}
    events = []
    for number, settings in enumerate(({}, elsewhere)):
        server = ServedTaskloom(
            files=files, data_dir=data_dir, port=free_port(), settings=dict(settings)
        )
        await server.start()
        try:
            async with httpx.AsyncClient(
                base_url=server.url, headers=server.authorization, timeout=30
            ) as client:
                await server.wait_until_ready(client)
                if number == 0:
                    made = {"name": "Alone", "bpmnFile": ALONE.decode()}
                    workflow = (await client.post("/workflows", json=made)).json()
                events.append(await _post(client, number))
                pending = await _pending(client, 2 * (number + 1))
                if number == 0:
                    continue
                for task, user_task in pending:
                    answer = await client.patch(f"/tasks/{task}/user-tasks/{user_task}/complete")
                    assert 204 == answer.status_code, answer.text
                traces = [(await client.get(f"/events/{each}/trace")).json() for each in events]
                run = await client.post(f"/workflows/{workflow['id']}/execute", json={"input": {}})
                assert 200 == run.status_code, run.text
                began = await client.get(f"{engine.url}/history/process-instance")
        finally:
            await server.stop()

    keys = sorted(each["processDefinitionKey"] for each in began.json())
    assert ["alone", "crash-child", "crash-child", "crash-parent"] == keys
    ended = {each["state"] for each in began.json() if each["processDefinitionKey"] != "alone"}
    assert {"COMPLETED"} == ended
    assert ["completed", "completed"] == [_state(trace) for trace in traces]


def _state(trace: dict[str, Any]) -> str:
    """Read how the instance that an event started stands."""
    state: str = trace["routes"][0]["instance"]["state"]
    return state
