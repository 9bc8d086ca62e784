"""A user task is completed: in the engine, in our row, and the next ones are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from taskloom.domain.jobs import Job, JobKind, NewJob
from taskloom.domain.tasks import UserTask, UserTaskStatus
from taskloom.errors import Conflict, NotFound, Permanent
from taskloom.flow.adopt import adopt_user_tasks, announce_completed, catch_up
from taskloom.flow.services import Services
from taskloom.ids import derived_id
from taskloom.ports.engine import EngineUserTask, Outcome
from taskloom.store.transaction import Transaction

_REQUESTS_TURN = timedelta(seconds=10)  # before the relay takes it for lost
_FINAL = (UserTaskStatus.COMPLETED, UserTaskStatus.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Complete `user_task`, giving `variables` to its process; `job` remembers it meanwhile."""

    user_task: UserTask
    root_instance_id: str
    variables: Mapping[str, Any]
    by: str | None
    job_id: UUID


async def complete_user_task(
    services: Services,
    task_id: UUID,
    user_task_id: UUID,
    variables: Mapping[str, Any],
    *,
    by: str | None = None,
) -> None:
    """Complete a user task on its own task's path; `Conflict` if it was completed before.

    With an engine elsewhere a job is committed first, so that a crash after the engine's answer
    is made good by the relay.
    """
    async with services.tasks.begin() as tx:
        user_task = await tx.user_tasks.get(task_id, user_task_id, lock=True)
        task = await tx.tasks.get(task_id)
        if task is None:
            raise NotFound(f"There is no task {task_id}.")
        if user_task is None:
            raise NotFound(f"The task {task_id} has no user task {user_task_id}.")
        if user_task.status in _FINAL:
            raise _over(user_task)
        completion = Completion(
            user_task=user_task,
            root_instance_id=str(task.external_id),
            variables=variables,
            by=by,
            job_id=derived_id("complete", user_task.id),
        )
        if services.engine.joins(tx):
            outcome = await services.engine.complete_user_task(
                user_task.external_id, variables, tx=tx
            )
            if outcome is not Outcome.DONE:  # of which the feed is yet to tell
                raise _over(user_task)
            following = await services.engine.user_tasks([completion.root_instance_id], tx=tx)
            await _record(services, tx, completion, following)
            return
        await tx.jobs.add([_job(completion)])
    if not await _complete_elsewhere(services, completion):
        raise _over(user_task)


async def resume_completion(services: Services, job: Job) -> None:
    """Carry out a `COMPLETE_USER_TASK` job that its request could not finish."""
    task_id, user_task_id = UUID(job.payload["task_id"]), UUID(job.payload["user_task_id"])
    async with services.tasks.begin() as tx:
        user_task = await tx.user_tasks.get(task_id, user_task_id)
        if user_task is None:
            raise Permanent(f"The user task {user_task_id} is gone.")
    await _complete_elsewhere(
        services,
        Completion(
            user_task=user_task,
            root_instance_id=job.payload["root_instance_id"],
            variables=job.payload["variables"],
            by=job.payload["by"],
            job_id=job.id,
        ),
    )


async def _complete_elsewhere(services: Services, completion: Completion) -> bool:
    """Complete it in an engine that cannot join our transactions; tell whether it is completed.

    One that is gone was cancelled if the feed says so, else completed by an earlier try of ours.
    """
    engine, user_task = services.engine, completion.user_task
    outcome = await engine.complete_user_task(user_task.external_id, completion.variables)
    if outcome is Outcome.GONE:
        await catch_up(services)
    following = await engine.user_tasks([completion.root_instance_id])
    async with services.tasks.begin() as tx:
        await _record(services, tx, completion, following)
        await tx.jobs.finish(completion.job_id)
        now = await tx.user_tasks.get(user_task.task_id, user_task.id)
    return now is None or now.status is not UserTaskStatus.CANCELLED


def _over(user_task: UserTask) -> Conflict:
    how = user_task.status if user_task.status in _FINAL else UserTaskStatus.CANCELLED
    return Conflict(
        f"The user task {user_task.id} is already {how}."
        + (" Its workflow went another way." if how is UserTaskStatus.CANCELLED else "")
    )


async def _record(
    services: Services,
    tx: Transaction,
    completion: Completion,
    following: Sequence[EngineUserTask],
) -> None:
    ended = await tx.user_tasks.end(
        completion.user_task.external_id, UserTaskStatus.COMPLETED, by=completion.by
    )
    await adopt_user_tasks(tx, [(completion.user_task.task_id, task) for task in following])
    if ended is not None:
        await announce_completed(services, tx, ended)


def _job(completion: Completion) -> NewJob:
    return NewJob(
        id=completion.job_id,
        kind=JobKind.COMPLETE_USER_TASK,
        payload={
            "task_id": str(completion.user_task.task_id),
            "user_task_id": str(completion.user_task.id),
            "root_instance_id": completion.root_instance_id,
            "variables": dict(completion.variables),
            "by": completion.by,
        },
        after=_REQUESTS_TURN,
    )
