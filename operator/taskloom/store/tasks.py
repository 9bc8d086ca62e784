"""Tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.query_tree import Filter, Where
from taskloom.domain.tasks import Priority, Task, TaskStatus
from taskloom.store.driver import as_parameter, run
from taskloom.store.filters import Columns, page, query_bounds, where_clause
from taskloom.store.tables import tasks

COLUMNS: Columns = {
    "id": tasks.c.id,
    "key": tasks.c.key,
    "name": tasks.c.name,
    "description": tasks.c.description,
    "status": tasks.c.status,
    "priority": tasks.c.priority,
    "severity": tasks.c.severity,
    "type": tasks.c.type,
    "startDate": tasks.c.start_date,
    "dueDate": tasks.c.due_date,
    "endDate": tasks.c.end_date,
    "assigneeId": tasks.c.assignee_id,
    "metadata": tasks.c.metadata,
    "externalId": tasks.c.external_id,
    "notes": tasks.c.notes,
    "createdOn": tasks.c.created_on,
    "modifiedOn": tasks.c.modified_on,
    "createdBy": tasks.c.created_by,
    "modifiedBy": tasks.c.modified_by,
}

_NAMES = tuple(field.name for field in fields(Task))


_INSERTED = (
    ("id", "uuid"),
    ("key", "text"),
    ("name", "text"),
    ("description", "text"),
    ("status", "text"),
    ("priority", "text"),
    ("severity", "text"),
    ("type", "text"),
    ("start_date", "timestamptz"),
    ("due_date", "timestamptz"),
    ("end_date", "timestamptz"),
    ("assignee_id", "text"),
    ("metadata", "text"),
    ("external_id", "text"),
    ("notes", "text"),
    ("event_id", "uuid"),
    ("origin_instance_id", "text"),
    ("external_task_id", "text"),
    ("created_on", "timestamptz"),
)
_INSERT = f"""
INSERT INTO tasks ({", ".join(name for name, _ in _INSERTED)})
SELECT {", ".join("metadata::json" if name == "metadata" else name for name, _ in _INSERTED)}
FROM jsonb_to_recordset(%s::jsonb) AS row (
    {", ".join(f"{name} {kind}" for name, kind in _INSERTED)})
ON CONFLICT DO NOTHING RETURNING *
"""  # noqa: S608 - only names of this file are put in


class Tasks:
    """The tasks table; deleted rows are left out everywhere."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> list[Task]:
        """Insert tasks (column values); those whose id is there already are left out."""
        if not rows:
            return []
        inserted = await run(self._connection, _INSERT, (as_parameter(rows),))
        by_id = {row.id: _row_to_task(row) for row in inserted}
        return [by_id[row["id"]] for row in rows if row["id"] in by_id]

    async def get(self, task_id: UUID, *, lock: bool = False) -> Task | None:
        """Look one up, and hold it against changes with `lock`."""
        query = select(tasks).where(tasks.c.id == task_id, ~tasks.c.deleted)
        result = await self._connection.execute(query.with_for_update() if lock else query)
        row = result.first()
        return None if row is None else _row_to_task(row)

    async def list(self, query: Filter) -> list[Task]:
        """List by a query, in its order."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                page(select(tasks).where(~tasks.c.deleted), query, COLUMNS, tasks.c.id)
            )
            return [_row_to_task(row) for row in result]

    async def matching(self, where: Where, *, limit: int) -> Sequence[Task]:
        """Lock the tasks a query names, oldest first."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(tasks)
                .where(~tasks.c.deleted, where_clause(where, COLUMNS))
                .order_by(tasks.c.id)
                .limit(limit)
                .with_for_update()
            )
            return [_row_to_task(row) for row in result]

    async def count(self, where: Where) -> int:
        """Count by a query."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(func.count())
                .select_from(tasks)
                .where(~tasks.c.deleted, where_clause(where, COLUMNS))
            )
            return result.scalar_one()

    async def update(
        self, ids: Sequence[UUID], values: Mapping[str, Any], *, by: str | None = None
    ) -> None:
        """Change columns of these tasks."""
        await self._connection.execute(
            update(tasks)
            .where(tasks.c.id.in_(ids))
            .values(**values, modified_on=func.now(), modified_by=by)
        )

    async def by_ids(self, ids: Sequence[UUID]) -> Sequence[Task]:
        """Look some up, in the order asked."""
        result = await self._connection.execute(select(tasks).where(tasks.c.id.in_(ids)))
        by_id = {row.id: _row_to_task(row) for row in result}
        return [by_id[id_] for id_ in ids if id_ in by_id]

    async def set_external_ids(self, instances: Mapping[UUID, str]) -> None:
        """Note the process instance of each task."""
        parameter = [{"id": id_, "external_id": value} for id_, value in instances.items()]
        await run(
            self._connection,
            "UPDATE tasks AS t SET external_id = i.external_id"
            " FROM jsonb_to_recordset(%s::jsonb) AS i (id uuid, external_id text)"
            " WHERE t.id = i.id",
            (as_parameter(parameter),),
        )

    async def complete(self, task_id: UUID) -> bool:
        """Mark a task completed; False if it was already, or is not there."""
        result = await self._connection.execute(
            update(tasks)
            .where(tasks.c.id == task_id, ~tasks.c.deleted, tasks.c.status != TaskStatus.COMPLETED)
            .values(
                status=TaskStatus.COMPLETED,
                end_date=func.coalesce(tasks.c.end_date, func.now()),
                modified_on=func.now(),
            )
        )
        return result.rowcount > 0

    async def by_instance(self, instance_id: str) -> Task | None:
        """Find the task that a process instance sees to."""
        result = await self._connection.execute(
            select(tasks).where(tasks.c.external_id == instance_id, ~tasks.c.deleted)
        )
        row = result.first()
        return None if row is None else _row_to_task(row)

    async def of_event(self, event_id: UUID) -> Sequence[Task]:
        """List what an event led to, oldest first."""
        result = await self._connection.execute(
            select(tasks)
            .where(tasks.c.event_id == event_id)
            .order_by(tasks.c.created_on, tasks.c.id)
        )
        return [_row_to_task(row) for row in result]

    async def remove(self, ids: Sequence[UUID], *, by: str | None = None) -> None:
        """Mark tasks deleted; from then on they are not seen."""
        await self._connection.execute(
            update(tasks)
            .where(tasks.c.id.in_(ids))
            .values(deleted=True, deleted_on=func.now(), deleted_by=by)
        )


def _row_to_task(row: Any) -> Task:
    values = {name: getattr(row, name) for name in _NAMES}
    values["status"] = TaskStatus(row.status)
    values["priority"] = Priority(row.priority)
    return Task(**values)
