"""How a user task ends that its workflow takes away."""

import pytest

from taskloom.domain.commands import CommandResult
from taskloom.domain.tasks import Task, UserTask, UserTaskStatus
from taskloom.errors import Conflict
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.flow.mappings import map_event, map_task
from taskloom.ports.engine import ExternalTask
from taskloom.testing.bpmn import bpmn, external, path, timer
from taskloom.testing.plant import Plant

ASK = (
    '<startEvent id="s"/><userTask id="ask"/><userTask id="remind"/><endEvent id="e"/>',
    path("s ask e"),
    f'<boundaryEvent id="late" attachedToRef="ask">{timer("timeDuration", "PT0S")}</boundaryEvent>',
    path("late remind e"),
)


async def _asked(plant: Plant) -> tuple[Task, UserTask]:
    """Let a workflow ask somebody, who is already late."""

    async def decide(_: ExternalTask) -> CommandResult:
        return CommandResult(create_tasks=({"key": "ask"},))

    plant.scripted.execute_with = decide
    start = ('<startEvent id="s"/>', external("c", plant.scripted.topic), path("s c"))
    await plant.deploy(
        bpmn(*start, process_id="parent").decode(), bpmn(*ASK, process_id="child").decode()
    )
    await map_event(plant.services, "order.placed", "parent")
    await map_task(plant.services, "ask", "child")
    await plant.subscribe()
    await plant.trigger()
    await plant.work()
    [task] = await plant.tasks()
    [user_task] = await _user_tasks(plant, task)
    return task, user_task


async def _user_tasks(plant: Plant, task: Task) -> list[UserTask]:
    async with plant.services.tasks.begin() as tx:
        return list(await tx.user_tasks.of_tasks([task.id]))


async def test_a_user_task_that_a_timer_took_away_cannot_be_completed(plant: Plant) -> None:
    """Not even in the moment before its row says so; nobody is told that it was completed."""
    task, user_task = await _asked(plant)
    engine = plant.services.engine
    assert await engine.run_due_jobs(10)  # type: ignore[attr-defined]  # of the embedded engine

    with pytest.raises(Conflict, match=r"already cancelled\. Its workflow went another way"):
        await complete_user_task(plant.services, task.id, user_task.id, {})
    await plant.work()
    with pytest.raises(Conflict, match=r"already cancelled\. Its workflow went another way"):
        await complete_user_task(plant.services, task.id, user_task.id, {})
    await plant.work()

    assert {("ask", UserTaskStatus.CANCELLED), ("remind", UserTaskStatus.PENDING)} == {
        (each.key, each.status) for each in await _user_tasks(plant, task)
    }
    assert ["task-created"] == plant.told_keys()
