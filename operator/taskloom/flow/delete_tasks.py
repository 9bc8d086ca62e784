"""Tasks and user tasks are deleted from outside."""

from collections.abc import Sequence
from uuid import UUID

from taskloom.domain.jobs import Job, JobKind, NewJob
from taskloom.domain.query_tree import Where
from taskloom.domain.tasks import Task
from taskloom.errors import NotFound
from taskloom.flow.services import Services
from taskloom.flow.update_tasks import MAX_TASKS
from taskloom.ids import derived_id
from taskloom.store.transaction import Transaction

_REASON = "The task was deleted."


async def delete_task(
    services: Services, task_id: UUID, *, cascade: bool, by: str | None = None
) -> None:
    """Delete a task; with `cascade` its user tasks and its process instance go too."""
    async with services.tasks.begin() as tx:
        task = await tx.tasks.get(task_id, lock=True)
        if task is None:
            raise NotFound(f"There is no task {task_id}.")
        await _delete(services, tx, [task], cascade=cascade, by=by)


async def delete_tasks(
    services: Services, where: Where, *, cascade: bool, by: str | None = None
) -> int:
    """Delete every task that matches; return how many."""
    async with services.tasks.begin() as tx:
        tasks = await tx.tasks.matching(where, limit=MAX_TASKS)
        if tasks:
            await _delete(services, tx, tasks, cascade=cascade, by=by)
        return len(tasks)


async def delete_user_task(
    services: Services, task_id: UUID, user_task_id: UUID, *, by: str | None = None
) -> None:
    """Delete one user task of a task."""
    async with services.tasks.begin() as tx:
        if await tx.user_tasks.remove([task_id], [user_task_id], by=by) == 0:
            raise NotFound(f"The task {task_id} has no user task {user_task_id}.")


async def delete_user_tasks(services: Services, task_id: UUID, *, by: str | None = None) -> int:
    """Delete the user tasks of a task, and of no other; return how many."""
    async with services.tasks.begin() as tx:
        if await tx.tasks.get(task_id) is None:
            raise NotFound(f"There is no task {task_id}.")
        return await tx.user_tasks.remove([task_id], by=by)


async def delete_instances(services: Services, job: Job) -> None:
    """Carry out a `DELETE_INSTANCES` job: for an engine that cannot join our transactions."""
    await services.engine.delete_instances(job.payload["instances"], _REASON)
    async with services.tasks.begin() as tx:
        await tx.jobs.finish(job.id)


async def _delete(
    services: Services, tx: Transaction, tasks: Sequence[Task], *, cascade: bool, by: str | None
) -> None:
    ids = [task.id for task in tasks]
    await tx.tasks.remove(ids, by=by)
    if not cascade:
        return
    await tx.user_tasks.remove(ids, by=by)
    instances = [task.external_id for task in tasks if task.external_id is not None]
    if not instances:
        return
    if services.engine.joins(tx):
        await services.engine.delete_instances(instances, _REASON, tx=tx)
        return
    await tx.jobs.add(
        [
            NewJob(
                id=derived_id("delete", *instances),
                kind=JobKind.DELETE_INSTANCES,
                payload={"instances": instances},
            )
        ]
    )
    tx.notify("jobs")
