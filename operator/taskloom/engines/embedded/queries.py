"""What can be asked of the engine, and its feed."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded import tables
from taskloom.engines.embedded.records import to_user_task
from taskloom.ports.engine import (
    ActivityRecord,
    ChangeKind,
    EngineChange,
    EngineUserTask,
    Incident,
    Instance,
    InstanceState,
)


async def known_definitions(
    connection: AsyncConnection, definition_ids: Sequence[str]
) -> frozenset[str]:
    """Tell which of these are deployed."""
    column = tables.definitions.c.id
    return frozenset(await connection.scalars(select(column).where(column.in_(definition_ids))))


async def has_definitions(connection: AsyncConnection) -> bool:
    """Tell whether anything is deployed."""
    found = await connection.execute(select(tables.definitions.c.id).limit(1))
    return found.first() is not None


async def list_user_tasks(
    connection: AsyncConnection, root_ids: Sequence[str]
) -> list[EngineUserTask]:
    """List the open user tasks below these roots, oldest first."""
    rows = await connection.execute(
        select(tables.user_tasks)
        .where(tables.user_tasks.c.root_id.in_(root_ids))
        .order_by(tables.user_tasks.c.seq)
    )
    return [
        to_user_task(json.loads(row.details), row.instance_id, row.root_id, row.created_at)
        for row in rows
    ]


async def list_instances(connection: AsyncConnection, ids: Sequence[str]) -> list[Instance]:
    """List these instances and those below them, oldest first."""
    table = tables.instances
    query = _instances().where(or_(table.c.id.in_(ids), table.c.root_id.in_(ids)))
    rows = await connection.execute(query.order_by(table.c.started_at, table.c.id))
    return [_row_to_instance(row) for row in rows]


async def list_roots(connection: AsyncConnection, ids: Sequence[str]) -> list[tuple[str, str]]:
    """List those of these instances that are active, with their roots, in the order of locking."""
    table = tables.instances
    rows = await connection.execute(
        select(table.c.id, table.c.root_id)
        .where(table.c.id.in_(ids), table.c.state == InstanceState.ACTIVE)
        .order_by(table.c.root_id, table.c.id)
    )
    return [(row.id, row.root_id) for row in rows]


async def find_started(
    connection: AsyncConnection, workflow_key: str, start_id: str
) -> Instance | None:
    """Find the instance that a start id has led to."""
    table = tables.instances
    query = _instances().where(table.c.workflow_key == workflow_key, table.c.start_id == start_id)
    row = (await connection.execute(query)).first()
    return None if row is None else _row_to_instance(row)


async def count_running(connection: AsyncConnection, workflow_key: str) -> int:
    """Count the active instances of a workflow."""
    table = tables.instances
    query = select(func.count()).where(
        table.c.workflow_key == workflow_key, table.c.state == InstanceState.ACTIVE
    )
    return int((await connection.execute(query)).scalar_one())


async def count_running_by_workflow(connection: AsyncConnection) -> dict[str, int]:
    """Count the active instances by workflow."""
    table = tables.instances
    rows = await connection.execute(
        select(table.c.workflow_key, func.count())
        .where(table.c.state == InstanceState.ACTIVE)
        .group_by(table.c.workflow_key)
    )
    return {key: int(count) for key, count in rows}


async def list_history(
    connection: AsyncConnection, root_ids: Sequence[str]
) -> list[ActivityRecord]:
    """List what happened below these roots, oldest first."""
    table = tables.activities
    rows = await connection.execute(
        select(table).where(table.c.root_id.in_(root_ids)).order_by(table.c.seq)
    )
    return [
        ActivityRecord(
            instance_id=row.instance_id,
            element_id=row.element_id,
            element_type=row.element_type,
            name=row.name,
            started_at=row.started_at,
            ended_at=row.ended_at,
            state=row.state,
        )
        for row in rows
    ]


async def list_incidents(
    connection: AsyncConnection, root_ids: Sequence[str] | None
) -> list[Incident]:
    """List open incidents, of all instances for None, oldest first."""
    table = tables.incidents
    query = select(table).order_by(table.c.seq)
    if root_ids is not None:
        query = query.where(table.c.root_id.in_(root_ids))
    return [
        Incident(
            id=row.id,
            instance_id=row.instance_id,
            root_instance_id=row.root_id,
            element_id=row.element_id,
            message=row.message,
            created_at=row.created_at,
        )
        for row in await connection.execute(query)
    ]


async def list_changes(connection: AsyncConnection, limit: int) -> list[EngineChange]:
    """Read the oldest entries of the feed."""
    table = tables.changes
    rows = await connection.execute(select(table).order_by(table.c.seq).limit(limit))
    return [_row_to_change(row) for row in rows]


async def drop_changes(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Drop entries of the feed; those that are gone are no error."""
    table = tables.changes
    chosen = (
        select(table.c.seq)
        .where(table.c.seq.in_([int(id_) for id_ in ids]))
        .with_for_update(skip_locked=True)
    )
    await connection.execute(delete(table).where(table.c.seq.in_(chosen)))


def _instances() -> Select[Any]:
    table = tables.instances
    return select(
        table.c.id,
        table.c.root_id,
        table.c.workflow_key,
        table.c.version,
        table.c.business_key,
        table.c.state,
        table.c.started_at,
        table.c.ended_at,
    )


def _row_to_instance(row: Any) -> Instance:
    return Instance(
        id=row.id,
        root_id=row.root_id,
        workflow_key=row.workflow_key,
        version=row.version,
        business_key=row.business_key,
        state=InstanceState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _row_to_change(row: Any) -> EngineChange:
    details = json.loads(row.details)
    task = details.get("user_task")
    return EngineChange(
        id=str(row.seq),
        kind=ChangeKind(row.kind),
        root_instance_id=row.root_id,
        instance_id=row.instance_id,
        user_task=None
        if task is None
        else to_user_task(
            task, row.instance_id, row.root_id, datetime.fromisoformat(details["at"])
        ),
        user_task_id=details.get("user_task_id"),
        completed=details.get("completed", False),
        message=details.get("message"),
    )
