"""The tasks of one ``create-tasks`` get their processes, and are then told of together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from taskloom.domain.jobs import Job, JobKind, NewJob
from taskloom.domain.tasks import Task
from taskloom.errors import TaskloomError, Temporary
from taskloom.flow.adopt import adopt_user_tasks
from taskloom.flow.publish import publish
from taskloom.flow.render import task_to_json
from taskloom.flow.services import Services
from taskloom.ids import derived_id
from taskloom.ports.engine import EngineUserTask, StartRequest
from taskloom.store.transaction import Transaction

log = structlog.get_logger()


async def start_children_within(
    services: Services, tx: Transaction, tasks: Sequence[Task], children: Mapping[UUID, str]
) -> None:
    """Start each task's workflow (`children`, by task id) and tell subscribers, all in `tx`.

    A child that cannot be started is left to the relay and holds up no other.
    """
    instances: dict[UUID, str] = {}
    for task_id, workflow_key in children.items():
        try:
            async with tx.savepoint():
                started = await services.engine.start(child_start(task_id, workflow_key), tx=tx)
        except Temporary:
            raise
        except TaskloomError as exc:
            log.warning("child.not-started", task=str(task_id), error=exc.message)
        else:
            instances[task_id] = started.id
    open_tasks = await services.engine.user_tasks(list(instances.values()), tx=tx)
    await _record(services, tx, tasks, children, instances=instances, open_tasks=open_tasks)


async def start_children(services: Services, job: Job) -> None:
    """Do the same for an engine that cannot join our transactions: a `START_CHILDREN` job."""
    children = {UUID(id_): key for id_, key in job.payload["children"].items()}
    starts = [child_start(id_, key, fresh=job.is_first_try) for id_, key in children.items()]
    instances: dict[UUID, str] = {}
    for task_id, started in zip(children, await services.engine.start_many(starts), strict=True):
        if isinstance(started, TaskloomError):
            log.warning("child.not-started", task=str(task_id), error=started.message)
        else:
            instances[task_id] = started.id
    open_tasks = await services.engine.user_tasks(list(instances.values()))
    async with services.tasks.begin() as tx:
        if await tx.jobs.take(job.id) is None:
            return
        tasks = await tx.tasks.by_ids([UUID(id_) for id_ in job.payload["tasks"]])
        await _record(services, tx, tasks, children, instances=instances, open_tasks=open_tasks)
        await tx.jobs.finish(job.id)


def child_start(task_id: UUID, workflow_key: str, *, fresh: bool = False) -> StartRequest:
    """Start a task's workflow: the start id is the task's, so that it starts once."""
    return StartRequest(
        workflow_key=workflow_key,
        start_id=str(task_id),
        variables={"taskId": str(task_id)},
        fresh=fresh,
    )


async def _record(
    services: Services,
    tx: Transaction,
    tasks: Sequence[Task],
    children: Mapping[UUID, str],
    *,
    instances: Mapping[UUID, str],
    open_tasks: Sequence[EngineUserTask],
) -> None:
    if instances:
        await tx.tasks.set_external_ids(instances)
        task_of = {instance: task_id for task_id, instance in instances.items()}
        await adopt_user_tasks(tx, [(task_of[t.root_instance_id], t) for t in open_tasks])
    known = [replace(task, external_id=instances.get(task.id)) for task in tasks]
    left = [
        NewJob(
            id=derived_id("start", task.id),
            kind=JobKind.START_PROCESS,
            payload={"workflow_key": children[task.id]},
            event_id=task.event_id,
            task_id=task.id,
        )
        for task in known
        if task.id in children and task.external_id is None
    ]
    if left:
        await tx.jobs.add(left)
        tx.notify("jobs")
    await publish(
        services,
        tx,
        "task-created",
        {"createdTasks": [task_to_json(task) for task in known]},
        event_id=tasks[0].event_id,
        root_instance_id=tasks[0].origin_instance_id,
    )
