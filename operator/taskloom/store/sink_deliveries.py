"""Deliveries to sinks, claimed by the one process that holds the sink."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.deliveries import SinkDelivery
from taskloom.domain.events import TellableEvent
from taskloom.store.driver import as_parameter, run

# In the order in which the events were told: ids of outgoing events sort by their time.
_CLAIM = """
WITH due AS (
    SELECT id FROM deliveries
    WHERE sink_id = %(sink_id)s AND state = 'pending' AND due_at <= now()
    ORDER BY outgoing_event_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE deliveries AS d
    SET leased_until = now() + %(lease)s, due_at = now() + %(lease)s, attempts = d.attempts + 1
    FROM due WHERE d.id = due.id
    RETURNING d.id, d.outgoing_event_id, d.attempts
)
SELECT d.id, d.attempts, e.id AS event_id, e.key, e.payload, e.source, e.created_on
FROM claimed AS d
JOIN outgoing_events AS e ON e.id = d.outgoing_event_id
ORDER BY e.id
"""

_PUT_BACK = """
UPDATE deliveries AS d SET attempts = d.attempts - 1, due_at = d.created_on, leased_until = NULL
FROM jsonb_to_recordset(%s::jsonb) AS row (id uuid)
WHERE d.id = row.id AND d.state = 'pending'
"""

_TAKE_OVER = """
UPDATE deliveries SET attempts = attempts - 1, due_at = created_on, leased_until = NULL
WHERE sink_id = %s AND state = 'pending' AND leased_until IS NOT NULL
"""

_GIVE_UP = """
UPDATE deliveries SET state = 'dead', finished_at = now(), leased_until = NULL
WHERE sink_id = %s AND state = 'pending'
"""


class SinkDeliveries:
    """The deliveries table, as far as sinks are concerned."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, sink_id: UUID, limit: int, lease: timedelta) -> list[SinkDelivery]:
        """Take up to `limit` due deliveries of a sink, the oldest first."""
        rows = await run(
            self._connection, _CLAIM, {"sink_id": sink_id, "limit": limit, "lease": lease}
        )
        return [_row_to_delivery(row) for row in rows]

    async def put_back(self, ids: Sequence[UUID]) -> None:
        """Make claimed deliveries due again as if they had not been claimed."""
        await run(self._connection, _PUT_BACK, (as_parameter([{"id": id_} for id_ in ids]),))

    async def take_over(self, sink_id: UUID) -> None:
        """Make due what a process that is gone had in hand: for the one that holds the sink now."""
        await run(self._connection, _TAKE_OVER, (sink_id,))

    async def give_up(self, sink_id: UUID) -> None:
        """Give up what waits for a sink that is gone."""
        await run(self._connection, _GIVE_UP, (sink_id,))


def _row_to_delivery(row: Any) -> SinkDelivery:
    return SinkDelivery(
        id=row.id,
        attempt=row.attempts,
        event=TellableEvent(
            id=row.event_id,
            key=row.key,
            payload=row.payload,
            source=row.source,
            created_on=row.created_on,
        ),
    )
