"""What the engine does, copied into our rows: user tasks as they open and close."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from taskloom.domain.tasks import Priority, UserTask, UserTaskStatus
from taskloom.flow.publish import publish
from taskloom.flow.render import task_to_json, user_task_to_json
from taskloom.flow.services import Services
from taskloom.ids import derived_id
from taskloom.ports.engine import ChangeKind, EngineChange, EngineUserTask
from taskloom.store.transaction import Transaction

log = structlog.get_logger()

_BATCH = 200
_RECORDED_AFTER = timedelta(seconds=5)
_CAMUNDA_HIGH = 75
_CAMUNDA_LOW = 25


async def adopt_user_tasks(
    tx: Transaction, found: Iterable[tuple[UUID, EngineUserTask]]
) -> Sequence[UserTask]:
    """Store open user tasks, each with its task's id; those stored before stay as they are."""
    return await tx.user_tasks.add([_row(task_id, task) for task_id, task in found])


async def follow_engine(services: Services) -> int:
    """Apply what the engine reports of its own accord; return how many changes there were.

    Applying one twice does no harm, so a crash between the two databases repeats and loses nothing.
    """
    changes = await services.engine.changes(_BATCH)
    if not changes:
        return 0
    applied = []
    async with services.tasks.begin() as tx:
        joined = services.engine.joins(tx)
        for change in changes:
            is_ours = await _apply(services, tx, change)
            if is_ours or joined or not _is_early(change, services):
                applied.append(change.id)
        if joined:
            await services.engine.confirm_changes(applied, tx=tx)
    if not joined:
        await services.engine.confirm_changes(applied)
    return len(applied)


def _is_early(change: EngineChange, services: Services) -> bool:
    """Tell whether a change of an instance that is not ours may be of one yet to be recorded.

    An engine elsewhere tells of what it does before the start that led to it is a row here.
    """
    task = change.user_task
    return task is not None and services.now() - task.created_at < _RECORDED_AFTER


async def catch_up(services: Services) -> None:
    """Apply all that the engine has reported until now."""
    while await follow_engine(services) == _BATCH:
        pass


async def _apply(services: Services, tx: Transaction, change: EngineChange) -> bool:
    """Carry a change over; tell whether it was of something of ours."""
    if change.kind is ChangeKind.INCIDENT_CREATED:
        log.warning("incident.created", instance=change.instance_id, error=change.message)
        return True
    if change.kind is ChangeKind.USER_TASK_CREATED and change.user_task is not None:
        task = await tx.tasks.by_instance(change.root_instance_id)
        if task is None:
            return False
        await adopt_user_tasks(tx, [(task.id, change.user_task)])
    if change.kind is ChangeKind.USER_TASK_ENDED and change.user_task_id is not None:
        status = UserTaskStatus.COMPLETED if change.completed else UserTaskStatus.CANCELLED
        ended = await tx.user_tasks.end(change.user_task_id, status)
        if ended is not None and change.completed:  # by someone who did not come through us
            await announce_completed(services, tx, ended)
    return True


async def announce_completed(services: Services, tx: Transaction, user_task: UserTask) -> None:
    """Tell subscribers that a user task is completed."""
    task = await tx.tasks.get(user_task.task_id)
    if task is None:
        return
    await publish(
        services,
        tx,
        "user-task-completed",
        {"task": task_to_json(task), "userTask": user_task_to_json(user_task)},
        event_id=task.event_id,
        task_id=task.id,
        root_instance_id=task.external_id,
    )


def _row(task_id: UUID, task: EngineUserTask) -> dict[str, Any]:
    return {
        "id": derived_id("user-task", task.id),
        "task_id": task_id,
        "external_id": task.id,
        "key": task.element_id,
        "name": task.name,
        "description": task.description,
        "status": UserTaskStatus.PENDING,
        "priority": _priority(task.priority),
        "due_date": _due(task.due_date),
        "assignee_id": task.assignee,
        "candidates": json.dumps(
            {"groups": list(task.candidate_groups), "users": list(task.candidate_users)}
        ),
        "form_key": task.form_key,
        "created_on": task.created_at,
    }


def _priority(number: int) -> Priority:
    """Map the engine's 0-100, whose middle is 50."""
    if number >= _CAMUNDA_HIGH:
        return Priority.HIGH
    return Priority.LOW if number <= _CAMUNDA_LOW else Priority.MEDIUM


def _due(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None  # a model's free text; the engine does not insist on a date either
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
