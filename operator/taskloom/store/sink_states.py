"""Who produces to which sink, by leases, and what is told of the sinks."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.sources import ConnectionState, SinkState, Standing
from taskloom.store.driver import as_parameter, run

_HOLD = """
WITH wanted AS (
    SELECT s.id FROM jsonb_to_recordset(%(wanted)s::jsonb) AS w (sink_id uuid)
    JOIN event_sinks AS s ON s.id = w.sink_id ORDER BY s.id FOR KEY SHARE OF s)
INSERT INTO sink_states AS t (sink_id, holder, leased_until, state)
SELECT id, %(holder)s, now() + %(lease)s, 'starting' FROM wanted ORDER BY id
ON CONFLICT (sink_id) DO UPDATE SET
    leased_until = excluded.leased_until, holder = excluded.holder,
    state = CASE WHEN t.holder = excluded.holder THEN t.state ELSE 'starting' END
WHERE t.holder IS NULL OR t.holder = excluded.holder OR t.leased_until < now()
RETURNING sink_id
"""

_RELEASE = """
UPDATE sink_states AS t SET holder = NULL, leased_until = NULL, state = 'idle', since = now(),
    reason = NULL, message = '', reported_on = now()
FROM jsonb_to_recordset(%(held)s::jsonb) AS held (sink_id uuid)
WHERE t.sink_id = held.sink_id AND t.holder = %(holder)s
"""

_RELEASE_ALL = """
UPDATE sink_states SET holder = NULL, leased_until = NULL, state = 'idle', reported_on = now()
WHERE holder IS NOT NULL
"""

_TELL = """
UPDATE sink_states AS t SET state = told.state, since = told.since, reason = told.reason,
    message = told.message, reported_on = now()
FROM jsonb_to_recordset(%(told)s::jsonb) AS told (
    sink_id uuid, state text, since timestamptz, reason text, message text)
WHERE t.sink_id = told.sink_id AND t.holder = %(holder)s
"""

_ALL = """
SELECT sink_id, state, since, reason, message,
    CASE WHEN leased_until > now() THEN holder END AS holder
FROM sink_states ORDER BY sink_id
"""

_FINGERPRINT = """
SELECT coalesce(md5(string_agg(
    concat_ws('|', sink_id, holder, leased_until > now(), reported_on), ',' ORDER BY sink_id)), '')
FROM sink_states
"""


class SinkStates:
    """The sink_states table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def hold(self, holder: str, sinks: Collection[UUID], lease: timedelta) -> set[UUID]:
        """Take or keep these sinks, counted from now; give those that are held.

        One is free if nobody holds it, or its holder has not renewed it in time.
        """
        rows = await run(
            self._connection,
            _HOLD,
            {"holder": holder, "lease": lease, "wanted": _ids(sinks)},
        )
        return {row.sink_id for row in rows}

    async def release(self, holder: str, sinks: Collection[UUID]) -> None:
        """Let go of these."""
        await run(self._connection, _RELEASE, {"holder": holder, "held": _ids(sinks)})

    async def release_all(self) -> None:
        """Let go of every sink: for a process that knows it is alone."""
        await run(self._connection, _RELEASE_ALL)

    async def tell(self, holder: str, told: Mapping[UUID, Standing]) -> None:
        """Write how sinks that are held stand."""
        rows = [
            {
                "sink_id": sink_id,
                "state": standing.state,
                "since": standing.since,
                "reason": standing.reason,
                "message": standing.message.replace("\x00", "\ufffd"),
            }
            for sink_id, standing in told.items()
        ]
        await run(self._connection, _TELL, {"holder": holder, "told": as_parameter(rows)})

    async def all(self) -> dict[UUID, SinkState]:
        """Give them by sink; one whose holder is gone has none."""
        return {row.sink_id: _row_to_state(row) for row in await run(self._connection, _ALL)}

    async def fingerprint(self) -> str:
        """Give a text that is another once anything is told, or a holder comes or goes."""
        return str((await run(self._connection, _FINGERPRINT)).scalar())


def _ids(sinks: Collection[UUID]) -> str:
    return as_parameter([{"sink_id": sink_id} for sink_id in sinks])


def _row_to_state(row: Any) -> SinkState:
    return SinkState(
        holder=row.holder,
        standing=Standing(
            state=ConnectionState.IDLE if row.holder is None else ConnectionState(row.state),
            since=row.since,
            reason=row.reason,
            message=row.message,
        ),
    )
