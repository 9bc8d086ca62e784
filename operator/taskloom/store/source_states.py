"""Who runs which source, by leases, and what the connectors tell of them.

A source has one slot for each process that may run it at once; a process holds one slot of it.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.sources import ConnectionState, SourceState, Standing
from taskloom.store.driver import as_parameter, run

Slot = tuple[UUID, int]
NOTHING_TOLD = ""
"""The fingerprint of no states."""

_CLAIM = """
WITH wanted AS (
    SELECT e.id AS source_id, w.slots
    FROM jsonb_to_recordset(%(wanted)s::jsonb) AS w (source_id uuid, slots int)
    JOIN event_sources AS e ON e.id = w.source_id
    ORDER BY e.id FOR KEY SHARE OF e)
INSERT INTO source_states (source_id, slot, holder, leased_until, state)
SELECT DISTINCT ON (wanted.source_id)
    wanted.source_id, s.slot, %(holder)s, now() + %(lease)s, 'starting'
FROM wanted
CROSS JOIN LATERAL generate_series(0, wanted.slots - 1) AS s (slot)
LEFT JOIN source_states AS t ON t.source_id = wanted.source_id AND t.slot = s.slot
WHERE t.holder IS NULL OR t.leased_until < now()
ORDER BY wanted.source_id, s.slot
ON CONFLICT (source_id, slot) DO UPDATE SET
    holder = excluded.holder, leased_until = excluded.leased_until, state = excluded.state,
    since = now(), reason = NULL, message = '', partitions = NULL, lag = NULL,
    reported_on = now()
WHERE source_states.holder IS NULL OR source_states.leased_until < now()
RETURNING source_id, slot
"""

_RENEW = """
UPDATE source_states AS t SET leased_until = now() + %(lease)s
FROM jsonb_to_recordset(%(held)s::jsonb) AS held (source_id uuid, slot int)
WHERE t.source_id = held.source_id AND t.slot = held.slot AND t.holder = %(holder)s
RETURNING t.source_id, t.slot
"""

_RELEASE = """
UPDATE source_states AS t SET holder = NULL, leased_until = NULL, state = 'idle', since = now(),
    reason = NULL, message = '', partitions = NULL, lag = NULL, reported_on = now()
FROM jsonb_to_recordset(%(held)s::jsonb) AS held (source_id uuid, slot int)
WHERE t.source_id = held.source_id AND t.slot = held.slot AND t.holder = %(holder)s
"""

_RELEASE_ALL = """
UPDATE source_states SET holder = NULL, leased_until = NULL, state = 'idle', reported_on = now()
WHERE holder IS NOT NULL
"""

_TELL = """
UPDATE source_states AS t SET
    state = told.state, since = told.since, reason = told.reason, message = told.message,
    last_event_on = coalesce(told.last_event_on, t.last_event_on),
    partitions = told.partitions, lag = told.lag, reported_on = now()
FROM jsonb_to_recordset(%(told)s::jsonb) AS told (
    source_id uuid, slot int, state text, since timestamptz, reason text, message text,
    last_event_on timestamptz, partitions int, lag bigint)
WHERE t.source_id = told.source_id AND t.slot = told.slot AND t.holder = %(holder)s
"""

_ALL = """
SELECT source_id, slot, state, since, reason, message, last_event_on, partitions, lag, reported_on,
    CASE WHEN leased_until > now() THEN holder END AS holder
FROM source_states ORDER BY source_id, slot
"""

_FINGERPRINT = """
SELECT coalesce(md5(string_agg(
    concat_ws('|', source_id, slot, holder, leased_until > now(), reported_on),
    ',' ORDER BY source_id, slot)), '')
FROM source_states
"""

_MOVE = """
UPDATE source_states SET position = %(position)s
WHERE source_id = %(source_id)s AND slot = 0 AND EXISTS (
    SELECT 1 FROM source_states WHERE source_id = %(source_id)s AND holder = %(holder)s)
"""


class SourceStates:
    """The source_states table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(
        self, holder: str, slots: Mapping[UUID, int], lease: timedelta
    ) -> dict[UUID, int]:
        """Take a free slot of each of these sources, which have so many; give those taken.

        A slot is free if nobody holds it, or its holder has not renewed it in time.
        """
        wanted = [{"source_id": source_id, "slots": count} for source_id, count in slots.items()]
        rows = await run(
            self._connection,
            _CLAIM,
            {"holder": holder, "lease": lease, "wanted": as_parameter(wanted)},
        )
        return {row.source_id: row.slot for row in rows}

    async def renew(self, holder: str, held: Iterable[Slot], lease: timedelta) -> set[Slot]:
        """Hold these longer, counted from now; give those that are still held."""
        rows = await run(
            self._connection, _RENEW, {"holder": holder, "lease": lease, "held": _slots(held)}
        )
        return {(row.source_id, row.slot) for row in rows}

    async def release(self, holder: str, held: Iterable[Slot]) -> None:
        """Let go of these."""
        await run(self._connection, _RELEASE, {"holder": holder, "held": _slots(held)})

    async def release_all(self) -> None:
        """Let go of every source: for a process that knows it is alone."""
        await run(self._connection, _RELEASE_ALL)

    async def tell(self, holder: str, told: Mapping[Slot, Standing]) -> None:
        """Write what is known of the sources that are held."""
        rows = [
            {
                "source_id": source_id,
                "slot": slot,
                "state": standing.state,
                "since": standing.since,
                "reason": standing.reason,
                "message": standing.message.replace("\x00", "\ufffd"),
                "last_event_on": standing.last_event_on,
                "partitions": standing.partitions,
                "lag": standing.lag,
            }
            for (source_id, slot), standing in told.items()
        ]
        await run(self._connection, _TELL, {"holder": holder, "told": as_parameter(rows)})

    async def all(self) -> list[SourceState]:
        """List them; one whose holder is gone has none."""
        return [_row_to_state(row) for row in await run(self._connection, _ALL)]

    async def fingerprint(self) -> str:
        """Give a text that is another once anything is told, or a holder comes or goes."""
        return str((await run(self._connection, _FINGERPRINT)).scalar())

    async def position(self, source_id: UUID) -> str | None:
        """Read how far a source was read."""
        statement = "SELECT position FROM source_states WHERE source_id = %s AND slot = 0"
        found: str | None = (await run(self._connection, statement, (source_id,))).scalar()
        return found

    async def move(self, holder: str, source_id: UUID, position: str) -> None:
        """Keep how far a source was read, if the holder still runs it."""
        await run(
            self._connection,
            _MOVE,
            {"holder": holder, "source_id": source_id, "position": position},
        )


def _slots(held: Iterable[Slot]) -> str:
    return as_parameter([{"source_id": source_id, "slot": slot} for source_id, slot in held])


def _row_to_state(row: Any) -> SourceState:
    idle = row.holder is None
    return SourceState(
        source_id=row.source_id,
        slot=row.slot,
        holder=row.holder,
        standing=Standing(
            state=ConnectionState.IDLE if idle else ConnectionState(row.state),
            since=row.since,
            reason=row.reason,
            message=row.message,
            last_event_on=row.last_event_on,
            partitions=row.partitions,
            lag=row.lag,
        ),
        reported_on=row.reported_on,
    )
