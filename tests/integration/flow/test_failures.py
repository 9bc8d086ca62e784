"""What goes wrong on an event's way, and that nothing is lost or done twice by it."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskloom.domain.commands import Announcement, BpmnError, CommandResult
from taskloom.domain.jobs import JobState
from taskloom.domain.query_tree import Filter
from taskloom.domain.tasks import UserTaskStatus
from taskloom.errors import NotFound, Permanent, Unavailable
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.flow.mappings import map_event, map_task
from taskloom.flow.retry_event import Retried, retry_event
from taskloom.flow.trace import trace_event
from taskloom.flow.workflows import Draft, update_workflow
from taskloom.ports.engine import ExternalTask, InstanceState
from taskloom.testing.bpmn import bpmn, flow, path
from taskloom.testing.plant import Plant

MODELS = Path(__file__).parent
CHILD = bpmn(  # to be formatted with a condition
    '<startEvent id="s"/><exclusiveGateway id="gw" default="gw_e"/><userTask id="ask"/>',
    '<endEvent id="e"/>',
    path("s gw e"),
    flow("gw", "ask", "{condition}"),
    process_id="child",
).decode()


def model(name: str) -> str:
    """Read a model of this folder."""
    return (MODELS / f"{name}.bpmn").read_text()


async def purchase(plant: Plant) -> None:
    """Deploy and map the parent and the child, and subscribe to everything."""
    await plant.deploy(model("parent"), model("child"))
    await map_event(plant.services, "order.placed", "parent")
    await map_task(plant.services, "approve", "child")
    await plant.subscribe()


async def _custom(plant: Plant) -> uuid.UUID:
    await plant.deploy(model("custom"))
    await map_event(plant.services, "order.placed", "custom")
    await plant.subscribe()
    return await plant.trigger()


async def _instance_state(plant: Plant, event_id: uuid.UUID) -> str:
    trace = await trace_event(plant.services, event_id)
    state: str = trace["routes"][0]["instance"]["state"]
    return state


async def test_what_a_command_decides_is_done_once_though_it_runs_twice(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies before it could complete leaves its task to another: one effect."""

    async def decide(_: ExternalTask) -> CommandResult:
        return CommandResult(
            create_tasks=({"key": "x", "name": "once"},),
            announce=(Announcement(key="decided", payload={"n": 1}),),
        )

    plant.scripted.execute_with = decide
    event_id = await _custom(plant)

    async def die(*_: Any, **__: Any) -> Any:
        raise Unavailable("killed before the completion")

    with monkeypatch.context() as patch:
        patch.setattr(plant.services.engine, "complete", die)
        await plant.step()
    await plant.services.engine.unlock_all("worker")
    async with plant.services.workflows.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE engine_external_tasks SET available_at = now()")
    await plant.work()

    assert ["once"] == [task.name for task in await plant.tasks()]
    assert ["decided", "task-created"] == sorted(plant.told_keys())
    assert 2 == len(plant.scripted.calls)
    assert InstanceState.COMPLETED == await _instance_state(plant, event_id)


async def test_a_failing_command_is_tried_again_before_it_is_an_incident(plant: Plant) -> None:
    """The first error leaves four tries and no incident."""

    async def fail(_: ExternalTask) -> CommandResult:
        raise RuntimeError("not yet")

    plant.scripted.execute_with = fail
    event_id = await _custom(plant)
    await plant.work()

    trace = await trace_event(plant.services, event_id)
    assert [] == trace["routes"][0]["instance"]["incidents"]
    command = trace["routes"][0]["instance"]["commands"][0]
    assert ("failed", "RuntimeError: not yet") == (command["state"], command["error"])

    async with plant.services.workflows.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE engine_external_tasks SET available_at = now()")
    plant.scripted.execute_with = None
    await plant.work()

    assert [None, 4] == [call.retries for call in plant.scripted.calls]
    assert InstanceState.COMPLETED == await _instance_state(plant, event_id)


async def test_what_can_never_work_is_an_incident_that_can_be_retried(plant: Plant) -> None:
    """It says why, waits for a person, and goes on when it is given another try."""

    async def refuse(_: ExternalTask) -> CommandResult:
        raise Permanent("there is no such supplier")

    plant.scripted.execute_with = refuse
    event_id = await _custom(plant)
    await plant.work()
    trace = await trace_event(plant.services, event_id)
    incident = trace["routes"][0]["instance"]["incidents"][0]
    assert "there is no such supplier" in incident["message"]

    plant.scripted.execute_with = None
    await plant.services.engine.retry_incident(incident["id"])
    await plant.work()

    assert InstanceState.COMPLETED == await _instance_state(plant, event_id)


async def test_a_bpmn_error_takes_the_boundary_event(plant: Plant) -> None:
    """The model catches what the command raises."""

    async def refuse(_: ExternalTask) -> CommandResult:
        raise BpmnError("NO_BUDGET", "none left")

    plant.scripted.execute_with = refuse
    event_id = await _custom(plant)
    await plant.work()

    trace = await trace_event(plant.services, event_id)
    instance = trace["routes"][0]["instance"]
    assert "refused" in [activity["element"] for activity in instance["activities"]]
    assert "completed" == instance["state"]


async def test_an_event_of_an_unknown_workflow_waits_for_it(plant: Plant) -> None:
    """Its start is kept with the reason, and made good when the workflow is deployed."""
    await plant.deploy(model("custom"))
    await map_event(plant.services, "order.placed", "custom")
    async with plant.services.tasks.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE event_workflows SET workflow_key = 'child'")
    event_id = await plant.trigger()
    await plant.work()
    async with plant.services.tasks.begin() as tx:
        job = (await tx.jobs.of_event(event_id))[0]
    assert JobState.READY is job.state
    assert "child" in str(job.error)

    await plant.deploy(model("child"))
    await plant.work()

    assert InstanceState.ACTIVE == await _instance_state(plant, event_id)


async def test_a_child_that_cannot_start_holds_up_no_other(plant: Plant) -> None:
    """The tasks are made and told of; the child is started when its workflow is there."""
    await purchase(plant)
    async with plant.services.tasks.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE task_workflows SET workflow_key = 'custom'")
    await plant.trigger()
    await plant.work()
    assert 2 == len(await plant.tasks())
    assert ["task-created"] == plant.told_keys()

    await plant.deploy(model("custom"))
    await plant.work()

    assert 1 == len(plant.scripted.calls)
    with_process = [task for task in await plant.tasks() if task.external_id is not None]
    assert ["approve"] == [task.key for task in with_process]


async def test_a_completion_cut_off_halfway_is_made_good(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has it, our row does not yet: the relay carries it through, told once."""
    await purchase(plant)
    await plant.trigger()
    await plant.work()
    task = next(task for task in await plant.tasks() if task.key == "approve")
    async with plant.services.tasks.begin() as tx:
        waiting = (await tx.user_tasks.of_tasks([task.id]))[0]

    async def die(*_: Any, **__: Any) -> Any:
        raise Unavailable("killed after the engine's answer")

    with monkeypatch.context() as patch:
        patch.setattr(plant.services.engine, "user_tasks", die)
        with pytest.raises(Unavailable):
            await complete_user_task(plant.services, task.id, waiting.id, {}, by="ann")
    async with plant.services.tasks.begin() as tx:
        joined = plant.services.engine.joins(tx)
    assert [] == list(await plant.jobs.claim(10, timedelta(seconds=1)))  # the request's turn first
    async with plant.services.tasks.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE jobs SET due_at = now()")
    await plant.work()

    if joined:  # nothing had happened: it is completed anew
        await complete_user_task(plant.services, task.id, waiting.id, {}, by="ann")
        await plant.work()
    assert ["task-created", "user-task-completed"] == plant.told_keys()
    async with plant.services.tasks.begin() as tx:
        rows = await tx.user_tasks.of_tasks([task.id])
    assert [("Check", UserTaskStatus.COMPLETED), ("Sign", UserTaskStatus.PENDING)] == [
        (row.name, row.status) for row in rows
    ]


async def test_a_task_whose_workflow_cannot_start_is_made_all_the_same(plant: Plant) -> None:
    """Its trace says why it has no process; retrying the event starts it once that is mended."""
    await plant.deploy(model("parent"), CHILD.format(condition="${unknown &gt; 1}"))
    await map_event(plant.services, "order.placed", "parent")
    await map_task(plant.services, "approve", "child")
    event_id = await plant.trigger()
    await plant.work()

    trace = await trace_event(plant.services, event_id)
    [task] = [t for t in trace["routes"][0]["instance"]["tasks"] if t["key"] == "approve"]
    start = task["start"]
    assert (None, "dead", "child") == (task["instance"], start["state"], start["workflowKey"])
    assert "gw: ${unknown > 1}: there is no variable 'unknown'." == start["error"]

    async with plant.services.workflows.begin() as tx:
        [workflow] = [w for w in await tx.workflows.list(Filter()) if w.key == "child"]
    mended = Draft(bpmn=CHILD.format(condition="${taskId != null}"))
    await update_workflow(plant.services, workflow.id, mended)
    await retry_event(plant.services, event_id)
    await plant.work()

    trace = await trace_event(plant.services, event_id)
    [task] = [t for t in trace["routes"][0]["instance"]["tasks"] if t["key"] == "approve"]
    assert ["ask"] == [user_task["key"] for user_task in task["userTasks"]]


async def test_the_trace_follows_call_activities(plant: Plant) -> None:
    """The steps of a called workflow are told, and the tasks that it makes."""
    call = (
        '<startEvent id="s"/><callActivity id="call" calledElement="parent"><extensionElements>'
        '<camunda:in variables="all"/></extensionElements></callActivity>'
    )
    await plant.deploy(model("parent"), bpmn(call, path("s call"), process_id="outer").decode())
    await map_event(plant.services, "order.placed", "outer")
    event_id = await plant.trigger()
    await plant.work()

    instance = (await trace_event(plant.services, event_id))["routes"][0]["instance"]
    assert ["s", "call"] == [activity["element"] for activity in instance["activities"]]
    [called] = instance["called"]
    assert ("parent", "completed") == (called["workflowKey"], called["state"])
    assert "create" in [activity["element"] for activity in called["activities"]]
    assert 2 == len(instance["tasks"])


async def test_an_engine_that_is_away_is_waited_for(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are taken in meanwhile; their starts are tried again."""
    await plant.deploy(model("child"))
    await map_event(plant.services, "order.placed", "child")

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("the engine does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(plant.services.engine, "start", away)
        event_id = await plant.trigger()
        await plant.step()
    async with plant.services.tasks.begin() as tx:
        waiting = (await tx.jobs.of_event(event_id))[0]
        assert (JobState.READY, "the engine does not answer") == (waiting.state, waiting.error)
        assert not await tx.jobs.claim(1, timedelta(seconds=1))
        await tx.connection.exec_driver_sql("UPDATE jobs SET due_at = now()")
    await plant.work()

    assert InstanceState.ACTIVE == await _instance_state(plant, event_id)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('{"name": "no key"}', "has no key"),
        ('{"key": "k", "status": "banana"}', "status must be one of"),
        ('{"key": "k", "color": "red"}', "color is not a field"),
        ('{"key": "k", "dueDate": "tomorrow"}', "dueDate must be a date-time"),
        ('{"key": 7}', "key must be a non-empty string"),
    ],
)
async def test_tasks_that_cannot_be_made_are_an_incident(
    plant: Plant, fields: str, said: str
) -> None:
    """The incident names the field; no task is made, nothing is told."""
    bpmn = model("parent").replace("First of ${items}", "First")
    start = bpmn.index("[{")
    end = bpmn.index("</camunda:inputParameter>")
    await plant.deploy(bpmn[:start] + f"[{fields}]" + bpmn[end:])
    await map_event(plant.services, "order.placed", "parent")
    await plant.subscribe()
    event_id = await plant.trigger()
    await plant.work()

    trace = await trace_event(plant.services, event_id)
    assert said in trace["routes"][0]["instance"]["incidents"][0]["message"]
    assert [] == await plant.tasks()
    assert [] == plant.told_keys()


async def test_what_stopped_is_tried_again_when_asked(plant: Plant) -> None:
    """Starts that were given up and incidents go on; what is done is not done again."""

    async def refuse(_: ExternalTask) -> CommandResult:
        raise Permanent("not before the budget is there")

    plant.scripted.execute_with = refuse
    event_id = await _custom(plant)
    await plant.work()
    assert Retried(starts=0, incidents=1) == await retry_event(plant.services, event_id)

    plant.scripted.execute_with = None
    await plant.work()

    assert InstanceState.COMPLETED == await _instance_state(plant, event_id)
    assert Retried(starts=0, incidents=0) == await retry_event(plant.services, event_id)


async def test_a_start_that_was_given_up_is_tried_again_when_asked(plant: Plant) -> None:
    """A first step that failed for good starts when the event is retried."""
    await purchase(plant)
    event_id = await plant.trigger(payload="{}")  # the model needs items
    await plant.work()
    async with plant.services.tasks.begin() as tx:
        assert JobState.DEAD is (await tx.jobs.of_event(event_id))[0].state
        await tx.connection.exec_driver_sql("UPDATE events SET payload = '{\"items\": 1}'")

    assert Retried(starts=1, incidents=0) == await retry_event(plant.services, event_id)
    await plant.work()

    assert 2 == len(await plant.tasks())


async def test_an_unknown_event_cannot_be_retried(plant: Plant) -> None:
    """It is not there, and that is said."""
    with pytest.raises(NotFound):
        await retry_event(plant.services, uuid.uuid4())
