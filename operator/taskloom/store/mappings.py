"""Event and task mappings."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.events import EVERY_KEY
from taskloom.domain.workflows import EventMapping, TaskMapping
from taskloom.store.driver import run
from taskloom.store.tables import event_workflows, task_workflows


class Mappings:
    """The event_workflows and task_workflows tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def event_mappings(self) -> list[EventMapping]:
        """List every event mapping, oldest first."""
        result = await self._connection.execute(
            select(event_workflows).order_by(event_workflows.c.created_on, event_workflows.c.id)
        )
        return [_row_to_event_mapping(row) for row in result]

    async def event_mappings_for(self, keys: set[str]) -> list[EventMapping]:
        """List the mappings of these event keys and of every key, oldest first."""
        rows = await run(
            self._connection,
            "SELECT * FROM event_workflows WHERE event_key = ANY(%s) ORDER BY created_on, id",
            ([*keys, EVERY_KEY],),
        )
        return [_row_to_event_mapping(row) for row in rows]

    async def put_event_mapping(self, mapping: EventMapping) -> None:
        """Insert a mapping, or replace the one with its id."""
        values = {
            "event_key": mapping.event_key,
            "workflow_key": mapping.workflow_key,
            "filter": mapping.filter,
            "variables": mapping.variables,
            "business_key": mapping.business_key,
            "suspended": mapping.suspended,
            "managed_by": mapping.managed_by,
        }
        await self._connection.execute(
            insert(event_workflows)
            .values(id=mapping.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def remove_event_mapping(self, mapping_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(
            delete(event_workflows).where(event_workflows.c.id == mapping_id)
        )

    async def task_mappings(self) -> list[TaskMapping]:
        """List every task mapping, oldest first."""
        result = await self._connection.execute(
            select(task_workflows).order_by(task_workflows.c.created_on, task_workflows.c.id)
        )
        return [_row_to_task_mapping(row) for row in result]

    async def task_mappings_for(self, keys: set[str]) -> dict[str, TaskMapping]:
        """Find the mapping of each task key that has one in force."""
        rows = await run(
            self._connection,
            "SELECT * FROM task_workflows WHERE task_key = ANY(%s) AND NOT suspended",
            (list(keys),),
        )
        return {row.task_key: _row_to_task_mapping(row) for row in rows}

    async def put_task_mapping(self, mapping: TaskMapping) -> None:
        """Insert a mapping, or replace the one with its id."""
        values = {
            "task_key": mapping.task_key,
            "workflow_key": mapping.workflow_key,
            "suspended": mapping.suspended,
            "managed_by": mapping.managed_by,
        }
        await self._connection.execute(
            insert(task_workflows)
            .values(id=mapping.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def remove_task_mapping(self, mapping_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(
            delete(task_workflows).where(task_workflows.c.id == mapping_id)
        )

    async def used_by(self, workflow_key: str) -> int:
        """Count the mappings that name a workflow."""
        total = 0
        for table in (event_workflows, task_workflows):
            result = await self._connection.execute(
                select(func.count()).select_from(table).where(table.c.workflow_key == workflow_key)
            )
            total += result.scalar_one()
        return total


def _row_to_event_mapping(row: Any) -> EventMapping:
    return EventMapping(
        id=row.id,
        event_key=row.event_key,
        workflow_key=row.workflow_key,
        filter=row.filter,
        variables=row.variables,
        business_key=row.business_key,
        suspended=row.suspended,
        managed_by=row.managed_by,
        created_on=row.created_on,
    )


def _row_to_task_mapping(row: Any) -> TaskMapping:
    return TaskMapping(
        id=row.id,
        task_key=row.task_key,
        workflow_key=row.workflow_key,
        suspended=row.suspended,
        managed_by=row.managed_by,
        created_on=row.created_on,
    )
