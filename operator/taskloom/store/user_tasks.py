"""User tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.query_tree import Filter, Where
from taskloom.domain.tasks import Priority, UserTask, UserTaskStatus
from taskloom.store.filters import Columns, page, query_bounds, where_clause
from taskloom.store.tables import user_tasks

COLUMNS: Columns = {
    "id": user_tasks.c.id,
    "taskId": user_tasks.c.task_id,
    "externalId": user_tasks.c.external_id,
    "key": user_tasks.c.key,
    "name": user_tasks.c.name,
    "description": user_tasks.c.description,
    "status": user_tasks.c.status,
    "priority": user_tasks.c.priority,
    "severity": user_tasks.c.severity,
    "type": user_tasks.c.type,
    "startDate": user_tasks.c.start_date,
    "dueDate": user_tasks.c.due_date,
    "endDate": user_tasks.c.end_date,
    "assigneeId": user_tasks.c.assignee_id,
    "candidates": user_tasks.c.candidates,
    "formKey": user_tasks.c.form_key,
    "metadata": user_tasks.c.metadata,
    "createdOn": user_tasks.c.created_on,
    "modifiedOn": user_tasks.c.modified_on,
    "createdBy": user_tasks.c.created_by,
    "modifiedBy": user_tasks.c.modified_by,
}

_NAMES = tuple(field.name for field in fields(UserTask))
_OPEN = (UserTaskStatus.PENDING, UserTaskStatus.IN_PROGRESS)


class UserTasks:
    """The user_tasks table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> list[UserTask]:
        """Insert user tasks (column values); those that are there already are left out."""
        if not rows:
            return []
        result = await self._connection.execute(
            insert(user_tasks).values(list(rows)).on_conflict_do_nothing().returning(user_tasks)
        )
        return [_row_to_user_task(row) for row in result]

    async def get(
        self, task_id: UUID, user_task_id: UUID, *, lock: bool = False
    ) -> UserTask | None:
        """Look one up on its own task's path only."""
        query = select(user_tasks).where(
            user_tasks.c.id == user_task_id, user_tasks.c.task_id == task_id, ~user_tasks.c.deleted
        )
        result = await self._connection.execute(query.with_for_update() if lock else query)
        row = result.first()
        return None if row is None else _row_to_user_task(row)

    async def list(self, task_id: UUID, query: Filter) -> list[UserTask]:
        """List a task's user tasks by a query, in its order."""
        mine = select(user_tasks).where(user_tasks.c.task_id == task_id, ~user_tasks.c.deleted)
        async with query_bounds(self._connection):
            result = await self._connection.execute(page(mine, query, COLUMNS, user_tasks.c.id))
            return [_row_to_user_task(row) for row in result]

    async def count(self, task_id: UUID, where: Where) -> int:
        """Count a task's user tasks by a query."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(func.count())
                .select_from(user_tasks)
                .where(
                    user_tasks.c.task_id == task_id,
                    ~user_tasks.c.deleted,
                    where_clause(where, COLUMNS),
                )
            )
            return result.scalar_one()

    async def of_tasks(self, task_ids: Sequence[UUID]) -> Sequence[UserTask]:
        """List the user tasks of some tasks, oldest first."""
        result = await self._connection.execute(
            select(user_tasks)
            .where(user_tasks.c.task_id.in_(task_ids), ~user_tasks.c.deleted)
            .order_by(user_tasks.c.created_on, user_tasks.c.id)
        )
        return [_row_to_user_task(row) for row in result]

    async def set_status(
        self, task_ids: Sequence[UUID], status: UserTaskStatus, *, by: str | None = None
    ) -> None:
        """Give the open user tasks of some tasks a status."""
        await self._connection.execute(
            update(user_tasks)
            .where(user_tasks.c.task_id.in_(task_ids), user_tasks.c.status.in_(_OPEN))
            .values(status=status, modified_on=func.now(), modified_by=by)
        )

    async def end(
        self, external_id: str, status: UserTaskStatus, *, by: str | None = None
    ) -> UserTask | None:
        """Complete or cancel an open user task by the engine's id; None if it was not open."""
        result = await self._connection.execute(
            update(user_tasks)
            .where(user_tasks.c.external_id == external_id, user_tasks.c.status.in_(_OPEN))
            .values(
                status=status,
                end_date=func.coalesce(user_tasks.c.end_date, func.now()),
                modified_on=func.now(),
                modified_by=by,
            )
            .returning(user_tasks)
        )
        row = result.first()
        return None if row is None else _row_to_user_task(row)

    async def remove(
        self, task_ids: Sequence[UUID], ids: Sequence[UUID] | None = None, *, by: str | None = None
    ) -> int:
        """Mark user tasks of these tasks deleted: the given ones, or all; return how many."""
        query = update(user_tasks).where(user_tasks.c.task_id.in_(task_ids), ~user_tasks.c.deleted)
        if ids is not None:
            query = query.where(user_tasks.c.id.in_(ids))
        result = await self._connection.execute(
            query.values(deleted=True, deleted_on=func.now(), deleted_by=by)
        )
        return result.rowcount


def _row_to_user_task(row: Any) -> UserTask:
    values = {name: getattr(row, name) for name in _NAMES}
    values["status"] = UserTaskStatus(row.status)
    values["priority"] = Priority(row.priority)
    return UserTask(**values)
