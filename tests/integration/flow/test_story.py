"""One event's way through the use cases, with the engine in the same database and in another."""

import uuid
from pathlib import Path

import pytest

from taskloom.domain.tasks import TaskStatus, UserTaskStatus
from taskloom.errors import Conflict, NotFound
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.flow.delete_tasks import delete_task
from taskloom.flow.mappings import map_event, map_task
from taskloom.flow.trace import trace_event
from taskloom.ports.engine import InstanceState
from taskloom.ports.sender import Answer
from taskloom.testing.plant import HOOK, Plant

MODELS = Path(__file__).parent


async def purchase(plant: Plant) -> None:
    """Deploy and map the parent and the child, and subscribe to everything."""
    await plant.deploy(*((MODELS / f"{name}.bpmn").read_text() for name in ("parent", "child")))
    await map_event(plant.services, "order.placed", "parent")
    await map_task(plant.services, "approve", "child")
    await plant.subscribe()


async def _user_tasks(plant: Plant, task_id: uuid.UUID) -> list[tuple[str | None, UserTaskStatus]]:
    async with plant.services.tasks.begin() as tx:
        return [(task.name, task.status) for task in await tx.user_tasks.of_tasks([task_id])]


async def _complete_next(plant: Plant, task_id: uuid.UUID) -> uuid.UUID:
    async with plant.services.tasks.begin() as tx:
        found = await tx.user_tasks.of_tasks([task_id])
    waiting = next(task for task in found if task.status is UserTaskStatus.PENDING)
    await complete_user_task(plant.services, task_id, waiting.id, {}, by="ann")
    return waiting.id


async def test_an_event_becomes_tasks_and_its_end_is_told(plant: Plant) -> None:
    """Event, tasks, user tasks one after another, end-task: each told once, in order."""
    await purchase(plant)
    await plant.trigger()
    await plant.work()

    by_key = {task.key: task for task in await plant.tasks()}
    approve = by_key["approve"]
    assert {"approve", "unmapped"} == set(by_key)
    assert ("First of 2", "high") == (approve.name, approve.priority)
    assert [("Check", UserTaskStatus.PENDING)] == await _user_tasks(plant, approve.id)
    created = plant.told()[0]["payload"]["createdTasks"]
    assert {str(approve.id): approve.external_id, str(by_key["unmapped"].id): None} == {
        task["id"]: task["externalId"] for task in created
    }

    await _complete_next(plant, approve.id)
    await plant.work()
    await _complete_next(plant, approve.id)
    await plant.work()

    assert [
        "task-created",
        "user-task-completed",
        "user-task-completed",
        "task-completed",
    ] == plant.told_keys()
    assert "completed" == plant.told()[1]["payload"]["userTask"]["status"]
    assert {"taskId": str(approve.id)} == plant.told()[3]["payload"]
    async with plant.services.tasks.begin() as tx:
        finished = await tx.tasks.get(approve.id)
    assert finished is not None
    assert TaskStatus.COMPLETED is finished.status


async def test_a_user_task_is_completed_once(plant: Plant) -> None:
    """A second completion is refused and tells nobody again."""
    await purchase(plant)
    await plant.trigger()
    await plant.work()
    task = next(task for task in await plant.tasks() if task.key == "approve")
    completed = await _complete_next(plant, task.id)
    await plant.work()

    with pytest.raises(Conflict, match="already completed"):
        await complete_user_task(plant.services, task.id, completed, {})
    await plant.work()

    assert ["task-created", "user-task-completed"] == plant.told_keys()


async def test_a_user_task_is_found_on_its_own_task_only(plant: Plant) -> None:
    """Another task's path leads to no user task of this one."""
    await purchase(plant)
    await plant.trigger()
    await plant.trigger()
    await plant.work()
    first, second = [task for task in await plant.tasks() if task.key == "approve"]
    async with plant.services.tasks.begin() as tx:
        foreign = (await tx.user_tasks.of_tasks([second.id]))[0]

    with pytest.raises(NotFound):
        await complete_user_task(plant.services, first.id, foreign.id, {})

    assert [("Check", UserTaskStatus.PENDING)] == await _user_tasks(plant, second.id)


async def test_a_receiver_that_is_down_holds_up_nothing_else(plant: Plant) -> None:
    """Its webhook waits for its next try; the workflow and the other receiver go on."""
    await purchase(plant)
    await plant.subscribe(url="http://127.0.0.1:9/down")
    plant.sender.script(
        "http://127.0.0.1:9/down", Answer(status=500, headers={}, body=b"", elapsed_ms=1)
    )
    event_id = await plant.trigger()
    await plant.work()
    task = next(task for task in await plant.tasks() if task.key == "approve")
    await _complete_next(plant, task.id)
    await plant.work()

    to_hook = [r for r in plant.sender.requests if r.url == HOOK]
    assert 2 == len(to_hook)
    trace = await trace_event(plant.services, event_id)
    states = sorted(d["state"] for out in trace["outgoing"] for d in out["deliveries"])
    assert ["delivered", "delivered", "pending", "pending"] == states


async def test_deleting_a_task_with_its_process(plant: Plant) -> None:
    """With cascade the instance is terminated and the user tasks are gone."""
    await purchase(plant)
    await plant.trigger()
    await plant.work()
    task = next(task for task in await plant.tasks() if task.key == "approve")

    await delete_task(plant.services, task.id, cascade=True)
    await plant.work()

    instance = (await plant.services.engine.instances([str(task.external_id)]))[0]
    assert InstanceState.TERMINATED is instance.state
    assert [] == await _user_tasks(plant, task.id)
    assert ["unmapped"] == [task.key for task in await plant.tasks()]


async def test_the_trace_tells_the_whole_way(plant: Plant) -> None:
    """Route, start, instance, command, tasks, user tasks and deliveries hang together."""
    await purchase(plant)
    event_id = await plant.trigger()
    await plant.work()

    trace = await trace_event(plant.services, event_id)

    route = trace["routes"][0]
    assert ("parent", True, "done") == (
        route["workflowKey"],
        route["started"],
        route["start"]["state"],
    )
    instance = route["instance"]
    assert ("completed", ["create-tasks"]) == (
        instance["state"],
        [command["topic"] for command in instance["commands"]],
    )
    assert ["approve", "unmapped"] == [task["key"] for task in instance["tasks"]]
    children = {task["key"]: task["instance"] for task in instance["tasks"]}
    assert children["unmapped"] is None
    assert children["approve"]["state"] == "active"
    assert [["delivered"]] == [
        [delivery["state"] for delivery in out["deliveries"]] for out in trace["outgoing"]
    ]
