"""The queue of external tasks for foreign workers, who ask for each topic in its own way."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import storable, to_instance
from taskloom.engines.embedded.scopes import visible_variables
from taskloom.engines.embedded.state import State, dump_variables
from taskloom.engines.embedded.statements import INSTANCE
from taskloom.ports.engine import Outcome
from taskloom.ports.hosted_engine import Place, TopicRequest, WorkItem
from taskloom.store.driver import run

# As FETCH, but each topic with conditions and a lock of its own.  Variables are compared as the
# text that `dump_variables` writes, so that 1 and 1.0 differ as they do where they have types.
_FETCH = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS row (request int, topic text, until timestamptz,
        business_key text, definition_ids jsonb, workflow_keys jsonb, variables jsonb)),
due AS (
    SELECT DISTINCT ON (found.seq) found.seq, wanted.request, wanted.until
    FROM wanted CROSS JOIN LATERAL (
        SELECT e.seq FROM engine_external_tasks AS e
        JOIN engine_instances AS i ON i.id = e.instance_id
        WHERE e.topic = wanted.topic AND e.available_at <= %s
            AND (e.retries IS NULL OR e.retries > 0)
            AND (wanted.business_key IS NULL OR i.business_key = wanted.business_key)
            AND (wanted.definition_ids IS NULL OR wanted.definition_ids ? i.definition_id)
            AND (wanted.workflow_keys IS NULL OR wanted.workflow_keys ? i.workflow_key)
            AND NOT EXISTS (
                SELECT FROM jsonb_each_text(wanted.variables) AS given
                WHERE (i.variables -> given.key)::text IS DISTINCT FROM given.value)
        ORDER BY e.seq {order} LIMIT %s FOR UPDATE OF e SKIP LOCKED) AS found
    ORDER BY found.seq),
chosen AS (SELECT * FROM due ORDER BY seq {order} LIMIT %s),
taken AS (
    UPDATE engine_external_tasks AS t SET worker_id = %s, available_at = chosen.until
    FROM chosen WHERE t.seq = chosen.seq
    RETURNING t.*, chosen.request)
SELECT {instance}, t.id AS task_id, t.element_id, t.topic, t.retries, t.error, t.error_details,
    t.worker_id, t.available_at, t.request, coalesce(a.started_at, i.started_at) AS created_at
FROM taken AS t JOIN engine_instances AS i ON i.id = t.instance_id
LEFT JOIN engine_activities AS a ON a.activity_id = t.id
ORDER BY t.seq {order}
"""
_OLDEST, _NEWEST = (_FETCH.format(instance=INSTANCE, order=order) for order in ("ASC", "DESC"))

# What is due is found by the index at once; only where nothing is are the waiting ones looked at
_DUE = """
SELECT wanted.topic, CASE WHEN EXISTS (
        SELECT FROM engine_external_tasks AS e
        WHERE e.topic = wanted.topic AND e.available_at <= %s
            AND (e.retries IS NULL OR e.retries > 0))
    THEN %s ELSE (
        SELECT min(available_at) FROM engine_external_tasks AS e
        WHERE e.topic = wanted.topic AND (e.retries IS NULL OR e.retries > 0)) END AS due_at
FROM unnest(%s::text[]) AS wanted (topic)
"""


async def fetch(
    connection: AsyncConnection,
    requests: Sequence[TopicRequest],
    worker_id: str,
    *,
    limit: int,
    newest: bool,
    now: datetime,
) -> list[WorkItem]:
    """Lock up to `limit` due tasks for a worker."""
    wanted = json.dumps([_request(i, each, now) for i, each in enumerate(requests)])
    result = await run(
        connection,
        _NEWEST if newest else _OLDEST,
        (wanted, now, limit, limit, storable(worker_id)),
    )
    return [_row_to_item(row) for row in result]


async def due(
    connection: AsyncConnection, topics: Sequence[str], now: datetime
) -> dict[str, datetime]:
    """Tell when the next task of each topic is due."""
    wanted = sorted({storable(topic) for topic in topics})
    result = await run(connection, _DUE, (now, now, wanted))
    return {row.topic: row.due_at for row in result if row.due_at is not None}


async def lock(
    connection: AsyncConnection, task_id: str, worker_id: str, now: datetime, lock: timedelta
) -> Outcome:
    """Hold a task for a worker, unless another one does."""
    held = await run(
        connection,
        "UPDATE engine_external_tasks SET worker_id = %s, available_at = %s WHERE id = %s"
        " AND (worker_id IS NULL OR worker_id = %s OR available_at <= %s)",
        (storable(worker_id), now + lock, task_id, storable(worker_id), now),
    )
    return Outcome.DONE if held.rowcount else await _why_not(connection, task_id)


async def unlock(connection: AsyncConnection, task_id: str, now: datetime) -> Outcome:
    """Free a task; one that was put off stays so."""
    freed = await run(
        connection,
        "UPDATE engine_external_tasks SET worker_id = NULL,"
        " available_at = CASE WHEN worker_id IS NULL THEN available_at ELSE %s END WHERE id = %s",
        (now, task_id),
    )
    return Outcome.DONE if freed.rowcount else Outcome.GONE


async def _why_not(connection: AsyncConnection, task_id: str) -> Outcome:
    found = await run(connection, "SELECT FROM engine_external_tasks WHERE id = %s", (task_id,))
    return Outcome.GONE if found.first() is None else Outcome.LOCK_LOST


def _request(number: int, request: TopicRequest, now: datetime) -> Mapping[str, Any]:
    return {
        "request": number,
        "topic": storable(request.topic),
        "until": (now + request.lock).isoformat(),
        "business_key": None if request.business_key is None else storable(request.business_key),
        "definition_ids": _texts(request.definition_ids),
        "workflow_keys": _texts(request.workflow_keys),
        "variables": {
            storable(name): dump_variables(value) for name, value in request.variables.items()
        },
    }


def _texts(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else [storable(value) for value in values]


def _row_to_item(row: Any) -> WorkItem:
    live, state = to_instance(row)
    return WorkItem(
        id=row.task_id,
        place=Place(
            instance_id=live.id,
            root_id=live.root_id,
            definition_id=live.definition_id,
            workflow_key=live.workflow_key,
            business_key=live.business_key,
        ),
        topic=row.topic,
        element_id=row.element_id,
        worker_id=row.worker_id,
        available_at=row.available_at,
        created_at=row.created_at,
        retries=row.retries,
        error=row.error,
        error_details=row.error_details,
        variables=visible_variables(state, row.task_id),
        local=_own_variables(state, row.task_id),
        request=row.request,
    )


def _own_variables(state: State, activity_id: str) -> Mapping[str, Any]:
    return next((a.variables or {} for a in state.activities if a.id == activity_id), {})
