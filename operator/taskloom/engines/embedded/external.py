"""The queue of external tasks: fetched with a lock, put off, freed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import storable, to_instance
from taskloom.engines.embedded.scopes import visible_variables
from taskloom.engines.embedded.statements import FETCH
from taskloom.ports.engine import ExternalTask, Outcome
from taskloom.store.driver import run


async def fetch(
    connection: AsyncConnection,
    topics: Sequence[str],
    worker_id: str,
    *,
    limit: int,
    now: datetime,
    until: datetime,
) -> list[ExternalTask]:
    """Lock up to `limit` due tasks of these topics for a worker, the oldest first."""
    wanted = sorted({storable(topic) for topic in topics})
    result = await run(connection, FETCH, (wanted, now, limit, limit, storable(worker_id), until))
    return [_row_to_task(row) for row in result]


async def put_off(
    connection: AsyncConnection,
    task_id: str,
    message: str,
    *,
    retries: int,
    due_at: datetime,
    details: str | None = None,
) -> None:
    """Free a failed task, whose row is locked, for its next try; with 0 retries there is none."""
    await run(
        connection,
        "UPDATE engine_external_tasks SET retries = %s, available_at = %s, error = %s,"
        " error_details = %s, worker_id = NULL WHERE id = %s",
        (
            retries,
            due_at,
            storable(message),
            None if details is None else storable(details),
            task_id,
        ),
    )


async def restart(
    connection: AsyncConnection, task_id: str, *, retries: int, now: datetime
) -> None:
    """Give a stopped task, whose tree is locked, more tries."""
    await run(
        connection,
        "UPDATE engine_external_tasks"
        " SET retries = %s, available_at = %s, worker_id = NULL WHERE id = %s",
        (retries, now, task_id),
    )


async def extend(
    connection: AsyncConnection, task_id: str, worker_id: str, until: datetime
) -> Outcome:
    """Hold a task longer, if this worker holds it."""
    held = await run(
        connection,
        "UPDATE engine_external_tasks SET available_at = %s WHERE id = %s AND worker_id = %s",
        (until, task_id, storable(worker_id)),
    )
    if held.rowcount:
        return Outcome.DONE
    found = await run(connection, "SELECT FROM engine_external_tasks WHERE id = %s", (task_id,))
    return Outcome.GONE if found.first() is None else Outcome.LOCK_LOST


async def free(connection: AsyncConnection, worker_id: str, now: datetime) -> int:
    """Free what a worker holds, but for what is being changed at this moment."""
    result = await run(
        connection,
        "UPDATE engine_external_tasks SET worker_id = NULL, available_at = %s WHERE seq IN ("
        " SELECT seq FROM engine_external_tasks WHERE worker_id = %s FOR UPDATE SKIP LOCKED)",
        (now, storable(worker_id)),
    )
    return result.rowcount


def _row_to_task(row: Any) -> ExternalTask:
    live, state = to_instance(row)
    return ExternalTask(
        id=row.task_id,
        topic=row.topic,
        element_id=row.element_id,
        instance_id=live.id,
        root_instance_id=live.root_id,
        workflow_key=live.workflow_key,
        business_key=live.business_key,
        variables=visible_variables(state, row.task_id),
        retries=row.retries,
    )
