"""Jobs left for the relay, claimed with a lease."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.jobs import (
    Job,
    JobKind,
    JobState,
    NewJob,
    StartOrder,
    StartRecord,
    retry_delay,
)
from taskloom.store.driver import as_parameter, run
from taskloom.store.tables import jobs

_INSERT = """
INSERT INTO jobs (id, kind, payload, event_id, task_id, due_at)
SELECT id, kind, payload::json, event_id, task_id, now() + after * interval '1 second'
FROM jsonb_to_recordset(%s::jsonb) AS row (
    id uuid, kind text, payload text, event_id uuid, task_id uuid, after float8)
ON CONFLICT DO NOTHING
"""

_CLAIM = """
UPDATE jobs SET leased_until = now() + %s, due_at = now() + %s, attempts = attempts + 1
WHERE id IN (
    SELECT id FROM jobs WHERE state = 'ready' AND due_at <= now()
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, kind, state, payload, event_id, task_id, instance_id, attempts, error,
    created_on, finished_at
"""


_TAKE_START = """
SELECT j.*, e.key AS event_key, e.payload AS event_payload, e.source AS event_source,
    m.variables, m.business_key
FROM jobs AS j
LEFT JOIN events AS e ON e.id = j.event_id
LEFT JOIN event_workflows AS m ON m.id = (j.payload ->> 'mapping_id')::uuid
WHERE j.id = %s AND j.state = 'ready' FOR UPDATE OF j SKIP LOCKED
"""

_FINISH = """
UPDATE jobs SET state = 'done', finished_at = now(), instance_id = %s, leased_until = NULL,
    error = NULL
WHERE id = %s
"""


class Jobs:
    """The jobs table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, new: Sequence[NewJob]) -> None:
        """Leave jobs; one that is there already (by id) stays as it is."""
        if not new:
            return
        parameter = as_parameter(
            [
                {
                    "id": job.id,
                    "kind": job.kind,
                    "payload": json.dumps(job.payload),
                    "event_id": job.event_id,
                    "task_id": job.task_id,
                    "after": job.after.total_seconds(),
                }
                for job in new
            ]
        )
        await run(self._connection, _INSERT, (parameter,))

    async def claim(self, limit: int, lease: timedelta) -> list[Job]:
        """Take up to `limit` due jobs, oldest first; unfinished ones fall due after `lease`."""
        result = await run(self._connection, _CLAIM, (lease, lease, limit))
        return sorted((_row_to_job(row) for row in result), key=lambda job: job.created_on)

    async def take(self, job_id: UUID) -> Job | None:
        """Lock one job for this transaction, or None if it is done or another holds it."""
        result = await self._connection.execute(
            select(jobs)
            .where(jobs.c.id == job_id, jobs.c.state == JobState.READY)
            .with_for_update(skip_locked=True)
        )
        row = result.first()
        return None if row is None else _row_to_job(row)

    async def take_start(self, job_id: UUID) -> StartOrder | None:
        """Lock a start job as `take` does, and read all that the start depends on."""
        row = (await run(self._connection, _TAKE_START, (job_id,))).first()
        if row is None:
            return None
        return StartOrder(
            job=_row_to_job(row),
            event_key=row.event_key,
            event_payload=row.event_payload,
            event_source=row.event_source,
            variables=row.variables,
            business_key=row.business_key,
        )

    async def renew(self, ids: Sequence[UUID], lease: timedelta) -> None:
        """Hold claimed jobs longer, counted from now."""
        await self._connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids), jobs.c.state == JobState.READY)
            .values(leased_until=func.now() + lease, due_at=func.now() + lease)
        )

    async def release(self) -> int:
        """Make every leased job due now: for a process that knows it is alone."""
        result = await self._connection.execute(
            update(jobs)
            .where(jobs.c.state == JobState.READY, jobs.c.leased_until.is_not(None))
            .values(due_at=func.now(), leased_until=None)
        )
        return result.rowcount

    async def finish(self, job_id: UUID, *, instance_id: str | None = None) -> None:
        """Mark a job done."""
        await run(self._connection, _FINISH, (instance_id, job_id))

    async def retry(self, job: Job, error: str, *, delay: timedelta | None = None) -> JobState:
        """Let a failed job fall due again, or give it up; return its new state."""
        wait = retry_delay(job.attempts)
        if wait is None:
            return await self.bury(job, error)
        await self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.state == JobState.READY)
            .values(
                due_at=func.now() + max(wait, delay or wait), leased_until=None, error=error[:2000]
            )
        )
        return JobState.READY

    async def bury(self, job: Job, error: str) -> JobState:
        """Give a job up, and keep why."""
        await self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.state == JobState.READY)
            .values(
                state=JobState.DEAD, finished_at=func.now(), leased_until=None, error=error[:2000]
            )
        )
        return JobState.DEAD

    async def retry_starts(self, workflow_key: str) -> int:
        """Make the starts of a workflow that have failed so far due now, given up or not."""
        result = await run(
            self._connection,
            "UPDATE jobs SET state = 'ready', due_at = now(), attempts = 0, finished_at = NULL"
            " WHERE state IN ('ready', 'dead') AND error IS NOT NULL"
            " AND kind = %s AND payload ->> 'workflow_key' = %s",
            (JobKind.START_PROCESS.value, workflow_key),
        )
        return result.rowcount

    async def retry_of_event(self, event_id: UUID) -> int:
        """Make what has failed so far for an event due now, given up or not."""
        result = await run(
            self._connection,
            "UPDATE jobs SET state = 'ready', due_at = now(), attempts = 0, finished_at = NULL"
            " WHERE event_id = %s AND state IN ('ready', 'dead') AND error IS NOT NULL",
            (event_id,),
        )
        return result.rowcount

    async def of_event(self, event_id: UUID) -> list[Job]:
        """List what an event led to, oldest first."""
        result = await self._connection.execute(
            select(jobs).where(jobs.c.event_id == event_id).order_by(jobs.c.created_on, jobs.c.id)
        )
        return [_row_to_job(row) for row in result]

    async def event_of_instance(self, instance_id: str) -> UUID | None:
        """Find the event that a root instance descends from, by its job or by its task."""
        result = await run(
            self._connection,
            "SELECT event_id FROM jobs WHERE instance_id = %(id)s"
            " UNION ALL SELECT event_id FROM tasks WHERE external_id = %(id)s LIMIT 1",
            {"id": instance_id},
        )
        event_id: UUID | None = result.scalar()
        return event_id

    async def event_of_start(self, start_id: str) -> UUID | None:
        """Find the event of a start, recorded or not, by its id: a job's or a task's."""
        id_ = _as_uuid(start_id)
        if id_ is None:
            return None
        result = await run(
            self._connection,
            "SELECT event_id FROM jobs WHERE id = %(id)s"
            " UNION ALL SELECT event_id FROM tasks WHERE id = %(id)s LIMIT 1",
            {"id": id_},
        )
        event_id: UUID | None = result.scalar()
        return event_id

    async def instance_of_start(self, start_id: str) -> StartRecord:
        """Tell what is recorded of a start, by its id: a job's or a task's."""
        id_ = _as_uuid(start_id)
        if id_ is None:
            return StartRecord(is_known=False)
        result = await run(
            self._connection,
            "SELECT instance_id FROM jobs WHERE id = %(id)s AND kind = %(kind)s"
            " UNION ALL SELECT external_id FROM tasks WHERE id = %(id)s",
            {"id": id_, "kind": JobKind.START_PROCESS.value},
        )
        found = [row.instance_id for row in result]
        known = next((instance for instance in found if instance is not None), None)
        return StartRecord(is_known=bool(found), instance_id=known)

    async def count_by_state(self) -> dict[tuple[str, str], int]:
        """Count jobs by kind and state, finished ones left out."""
        result = await self._connection.execute(
            select(jobs.c.kind, jobs.c.state, func.count())
            .where(jobs.c.state != JobState.DONE)
            .group_by(jobs.c.kind, jobs.c.state)
        )
        return {(kind, state): count for kind, state, count in result}


def _as_uuid(start_id: str) -> UUID | None:
    """Read a start id that may be ours; a user's own is any text."""
    try:
        return UUID(start_id)
    except ValueError:
        return None


def _row_to_job(row: Any) -> Job:
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        state=JobState(row.state),
        payload=json.loads(row.payload),
        event_id=row.event_id,
        task_id=row.task_id,
        instance_id=row.instance_id,
        attempts=row.attempts,
        error=row.error,
        created_on=row.created_on,
        finished_at=row.finished_at,
    )
