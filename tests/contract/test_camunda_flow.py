"""Our flow on real engines: what it costs in calls, and that nothing is lost or done twice."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from taskloom.domain.tasks import UserTaskStatus
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.errors import Unavailable
from taskloom.flow.adopt import follow_engine
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.flow.mappings import map_event, map_task
from taskloom.flow.repair_starts import repair_starts
from taskloom.flow.services import Services
from taskloom.flow.trace import trace_event
from taskloom.ports.engine import InstanceState, StartRequest
from taskloom.store.database import Database
from taskloom.store.engine_feed import FeedBookmark
from taskloom.testing.bpmn import bpmn, external, mapping, path
from taskloom.testing.plant import LEASE, Plant, Scripted
from taskloom.testing.sender import FakeSender
from tests.contract.real_stage import StagedEngine

TASKS = '[{"key":"k","name":"a"},{"key":"k","name":"b"},{"key":"k","name":"c"}]'
PARENT = bpmn(
    '<startEvent id="s"/>',
    external(
        "create",
        topic="create-tasks",
        inside=mapping(f'<camunda:inputParameter name="tasks">{TASKS}</camunda:inputParameter>'),
    ),
    '<endEvent id="e"/>',
    path("s create e"),
    process_id="parent",
).decode()
CHILD = bpmn(
    '<startEvent id="s"/>',
    '<userTask id="u1" camunda:candidateGroups="one,two"/><userTask id="u2"/>',
    '<endEvent id="e"/>',
    path("s u1 u2 e"),
    process_id="child",
).decode()


@pytest.fixture
async def plant(staged: StagedEngine, database: Database) -> Plant:
    """Build a plant whose engine is elsewhere, with three tasks of two user tasks each."""
    services = Services(tasks=database, workflows=database, engine=staged)
    plant = Plant(services=services, sender=FakeSender(), scripted=Scripted())
    await plant.deploy(PARENT, CHILD)
    await map_event(services, "order.placed", "parent")
    await map_task(services, "k", "child")
    await plant.subscribe()
    return plant


class Counted:
    """Counts the calls of an engine, step by step."""

    def __init__(self, engine: CamundaEngine) -> None:
        self._engine = engine
        self.steps: dict[str, int] = {}

    async def __call__(self, name: str, step: Awaitable[Any]) -> Any:
        """Wait for a step, and note what it cost."""
        before = self._engine.client.calls
        result = await step
        self.steps[name] = self.steps.get(name, 0) + self._engine.client.calls - before
        return result


async def run_jobs(plant: Plant) -> int:
    """Carry out the jobs that are due."""
    jobs = await plant.jobs.claim(10, LEASE)
    for job in jobs:
        await plant.relay.run(job)
    return len(jobs)


async def open_user_tasks(plant: Plant) -> list[tuple[Any, Any]]:
    """List the open user tasks with their tasks."""
    tasks = await plant.tasks()
    async with plant.services.tasks.begin() as tx:
        rows = await tx.user_tasks.of_tasks([task.id for task in tasks])
    return [(row.task_id, row.id) for row in rows if row.status is UserTaskStatus.PENDING]


async def test_three_tasks_of_two_user_tasks_take_nineteen_calls(
    plant: Plant, staged: StagedEngine
) -> None:
    """Each step has the calls it needs: one bulk look a step, none for what is known."""
    counted = Counted(staged)
    await plant.trigger()
    await counted("start", run_jobs(plant))
    [task] = await counted("fetch", plant.external.claim(10, LEASE))
    await counted("complete create-tasks", plant.worker.run(task))
    await counted("start children", run_jobs(plant))
    for _ in range(2):
        for task_id, user_task_id in await open_user_tasks(plant):
            done = complete_user_task(plant.services, task_id, user_task_id, {"ok": True})
            await counted("complete user tasks", done)

    print(counted.steps)  # noqa: T201 - the figures are what this test is for
    assert {
        "start": 1,
        "fetch": 1,
        "complete create-tasks": 1,
        "start children": 4,
        "complete user tasks": 12,
    } == counted.steps
    assert 19 == sum(counted.steps.values())
    assert [] == await open_user_tasks(plant)
    assert {} == await staged.running_by_workflow()


async def test_start_whose_record_was_lost_is_found_again(
    plant: Plant, staged: StagedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has started the children when we die: they are found, none is started twice."""
    event_id = await plant.trigger()
    await run_jobs(plant)
    [task] = await plant.external.claim(10, LEASE)
    await plant.worker.run(task)

    async def die(*_: Any, **__: Any) -> Any:
        raise Unavailable("killed after the engine's answer")

    with monkeypatch.context() as patch:
        patch.setattr(staged, "user_tasks", die)
        await run_jobs(plant)
    assert {"child": 3} == await staged.running_by_workflow()
    async with plant.services.tasks.begin() as tx:
        await tx.connection.exec_driver_sql("UPDATE jobs SET due_at = now()")
    before = staged.client.calls
    await run_jobs(plant)

    assert 2 == staged.client.calls - before  # one look for all, one for their user tasks
    assert {"child": 3} == await staged.running_by_workflow()
    assert 3 == len(await open_user_tasks(plant))
    trace = await trace_event(plant.services, event_id)
    assert InstanceState.COMPLETED == trace["routes"][0]["instance"]["state"]


async def test_task_handed_out_before_its_start_is_recorded_knows_its_event(plant: Plant) -> None:
    """The worker may be faster than the relay: the event is found by the start id."""
    event_id = await plant.trigger()
    [job] = await plant.jobs.claim(1, LEASE)
    async with plant.services.tasks.begin() as tx:
        order = await tx.jobs.take_start(job.id)
    assert order is not None
    await plant.services.engine.start(
        StartRequest(workflow_key="parent", start_id=str(job.id), variables={})
    )
    [task] = await plant.external.claim(10, LEASE)
    await plant.worker.run(task)

    assert [event_id] * 3 == [task.event_id for task in await plant.tasks()]


async def test_instance_that_a_crash_doubled_is_ended(plant: Plant, staged: StagedEngine) -> None:
    """Of two instances with one start id the recorded one goes on; a user's own keys may repeat."""
    await plant.trigger()
    await run_jobs(plant)
    [task] = await plant.external.claim(10, LEASE)
    await plant.worker.run(task)
    await run_jobs(plant)
    recorded = {task.id: task.external_id for task in await plant.tasks()}
    doubled = next(iter(recorded))
    for start_id in (str(doubled), str(doubled), "a user's own", "a user's own"):
        await staged.start(
            StartRequest(workflow_key="child", start_id=start_id, variables={}, fresh=True)
        )

    assert {"child": 7} == await staged.running_by_workflow()
    assert 2 == await repair_starts(plant.services)
    assert {"child": 5} == await staged.running_by_workflow()
    ids = [id_ for id_ in recorded.values() if id_ is not None]
    states = {instance.id: instance.state for instance in await staged.instances(ids)}
    assert dict.fromkeys(ids, InstanceState.ACTIVE) == states
    assert 0 == await repair_starts(plant.services)


async def test_start_id_beside_a_business_key_is_kept_too(staged: StagedEngine) -> None:
    """It is found again by a variable that nobody else sees, and doubled starts by it."""
    await staged.deploy("parent", PARENT.encode())
    request = StartRequest(
        workflow_key="parent", start_id="1", business_key="order 7", variables={"n": 1}
    )
    first = await staged.start(request)
    again = await staged.start(request)
    other = await staged.start(
        StartRequest(workflow_key="parent", start_id="2", business_key="order 7", variables={})
    )
    twice = await staged.start(
        StartRequest(
            workflow_key="parent", start_id="2", business_key="order 7", variables={}, fresh=True
        )
    )
    [task, *_] = await staged.fetch_and_lock(["create-tasks"], "w", max_tasks=5, lock=LEASE)

    assert first.id == again.id
    assert ("order 7", "1", {"n": 1}) == (
        task.business_key,
        task.start_id,
        {name: value for name, value in task.variables.items() if name != "tasks"},
    )
    repeated = await staged.repeated_starts(timedelta(hours=1))
    assert {"2": [other.id, twice.id]} == {
        id_: [instance.id for instance in found] for id_, found in repeated.items()
    }


async def test_feed_tells_what_was_done_without_us(plant: Plant, staged: StagedEngine) -> None:
    """A user task that somebody completes or cancels in the engine is so here, and is told of."""
    await plant.trigger()
    await plant.work()
    plant.sender.requests.clear()
    (first, _), (second, _), _ = await open_user_tasks(plant)
    async with plant.services.tasks.begin() as tx:
        rows = {row.task_id: row for row in await tx.user_tasks.of_tasks([first, second])}
    await staged.complete_user_task(rows[first].external_id, {})
    tasks = {task.id: task for task in await plant.tasks()}
    await staged.delete_instances([str(tasks[second].external_id)], "by hand")
    while await follow_engine(plant.services):
        pass

    async with plant.services.tasks.begin() as tx:
        now = await tx.user_tasks.of_tasks([first, second])
    assert [
        (first, "u1", UserTaskStatus.COMPLETED),
        (first, "u2", UserTaskStatus.PENDING),
        (second, "u1", UserTaskStatus.CANCELLED),
    ] == [
        (row.task_id, row.key, row.status)
        for row in sorted(now, key=lambda row: (row.task_id != first, row.created_on))
    ]
    await plant.work()
    assert ["user-task-completed"] == plant.told_keys()


async def test_feed_goes_on_where_it_was_read_to(staged: StagedEngine, database: Database) -> None:
    """What happens while no relay runs is told to the one that starts."""
    connection = staged.connection
    await staged.deploy("child", CHILD.encode())
    request = StartRequest(workflow_key="child", start_id="1", variables={})
    async with CamundaEngine(connection, FeedBookmark(database, "here")) as first:
        assert [] == list(await first.changes(10))
        one = await first.start(request)
        [created] = await first.changes(10)
        await first.confirm_changes([created.id])
    two = await staged.start(StartRequest(workflow_key="child", start_id="2", variables={}))
    async with CamundaEngine(connection, FeedBookmark(database, "here")) as second:
        told = {change.instance_id for change in await second.changes(10)}
    async with CamundaEngine(connection, FeedBookmark(database, "elsewhere")) as fresh:
        fresh_told = {change.instance_id for change in await fresh.changes(10)}

    assert two.id in told
    assert told <= {one.id, two.id}  # what was read last may be told again
    assert fresh_told <= {one.id, two.id}
