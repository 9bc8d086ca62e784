"""The ledger: which external tasks have had their effect, so that each has it once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.store.driver import run
from taskloom.store.tables import external_task_ledger as ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What became of an external task: ``done``, ``failed`` (so far) or ``error`` (BPMN)."""

    external_task_id: str
    topic: str
    root_instance_id: str
    state: str
    variables: Mapping[str, Any]
    error: str | None
    attempts: int
    started_at: datetime
    finished_at: datetime


_PUT = """
INSERT INTO external_task_ledger AS l (external_task_id, topic, root_instance_id, state,
    variables, error, started_at, finished_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (external_task_id) DO UPDATE SET state = excluded.state,
    variables = excluded.variables, error = excluded.error, attempts = l.attempts + 1,
    started_at = excluded.started_at, finished_at = excluded.finished_at
WHERE l.state <> 'done'
"""


class Ledger:
    """The external_task_ledger table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def put(self, entry: LedgerEntry) -> bool:
        """Record what became of an external task; False if it was done before, and stays done.

        Of two workers that finish one task at once, the second waits here for the first.
        """
        recorded = await run(
            self._connection,
            _PUT,
            (
                entry.external_task_id,
                entry.topic,
                entry.root_instance_id,
                entry.state,
                json.dumps(dict(entry.variables)),
                entry.error,
                entry.started_at,
                entry.finished_at,
            ),
        )
        return recorded.rowcount > 0

    async def variables_of(self, external_task_id: str) -> Mapping[str, Any]:
        """Give the variables that an external task was done with."""
        rows = await run(
            self._connection,
            "SELECT variables FROM external_task_ledger WHERE external_task_id = %s",
            (external_task_id,),
        )
        variables: Mapping[str, Any] = json.loads(rows.scalar() or "{}")
        return variables

    async def of_instances(self, root_instance_ids: Sequence[str]) -> list[LedgerEntry]:
        """List what was done for some instances, oldest first."""
        result = await self._connection.execute(
            select(ledger)
            .where(ledger.c.root_instance_id.in_(root_instance_ids))
            .order_by(ledger.c.started_at)
        )
        return [_row_to_entry(row) for row in result]


def _row_to_entry(row: Any) -> LedgerEntry:
    return LedgerEntry(
        external_task_id=row.external_task_id,
        topic=row.topic,
        root_instance_id=row.root_instance_id,
        state=row.state,
        variables=json.loads(row.variables),
        error=row.error,
        attempts=row.attempts,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
