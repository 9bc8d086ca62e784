"""Tasks are changed from outside."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from taskloom.domain.query_tree import Where
from taskloom.domain.tasks import Task, TaskStatus, UserTaskStatus, check_task_fields
from taskloom.errors import Invalid, NotFound
from taskloom.flow.services import Services
from taskloom.store.transaction import Transaction

MAX_TASKS = 10_000


async def update_task(
    services: Services, task_id: UUID, given: Mapping[str, Any], *, by: str | None = None
) -> None:
    """Change fields of one task; its status is copied to its open user tasks."""
    values = _values(given)
    async with services.tasks.begin() as tx:
        task = await tx.tasks.get(task_id, lock=True)
        if task is None:
            raise NotFound(f"There is no task {task_id}.")
        await _change(tx, [task], values, by)


async def update_tasks(
    services: Services, where: Where, given: Mapping[str, Any], *, by: str | None = None
) -> int:
    """Change fields of every task that matches; return how many.  One refused changes none."""
    values = _values(given)
    async with services.tasks.begin() as tx:
        tasks = await tx.tasks.matching(where, limit=MAX_TASKS)
        await _change(tx, tasks, values, by)
        return len(tasks)


async def _change(
    tx: Transaction, tasks: Sequence[Task], values: dict[str, Any], by: str | None
) -> None:
    completed = [task for task in tasks if task.status is TaskStatus.COMPLETED]
    if completed:
        raise Invalid(
            f"The task {completed[0].id} is completed and cannot be changed: "
            "leave completed tasks out."
        )
    if not tasks:
        return
    ids = [task.id for task in tasks]
    await tx.tasks.update(ids, values, by=by)
    if "status" in values:
        await tx.user_tasks.set_status(ids, UserTaskStatus(values["status"]), by=by)


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    if not given:
        raise Invalid("Nothing is to be changed: send the fields and their new values.")
    values = check_task_fields(given)
    if values.get("metadata") is not None:
        values["metadata"] = json.dumps(values["metadata"])
    return values
