"""Deliveries and their attempts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.deliveries import Attempt, Delivery, DeliveryState
from taskloom.store.tables import attempts, deliveries

# Each subscription gets its own few places, so a slow one holds up no other.
_CLAIM = """
UPDATE deliveries AS d
SET leased_until = now() + %(lease)s, due_at = now() + %(lease)s, attempts = d.attempts + 1
FROM (
    SELECT due.id
    FROM jsonb_to_recordset(%(places)s::jsonb) AS place (subscription uuid, places int)
    CROSS JOIN LATERAL (
        SELECT id FROM deliveries
        WHERE subscription_id = place.subscription AND state = 'pending' AND due_at <= now()
        ORDER BY due_at LIMIT place.places FOR UPDATE SKIP LOCKED
    ) AS due
) AS claimed
WHERE d.id = claimed.id
RETURNING d.id, d.outgoing_event_id, d.subscription_id, d.state, d.attempts, d.due_at,
    d.created_on, d.finished_at
"""

_SETTLE = """
UPDATE deliveries AS d
SET state = s.state, due_at = coalesce(s.due_at, d.due_at), leased_until = NULL,
    finished_at = CASE WHEN s.state = 'pending' THEN NULL ELSE now() END
FROM jsonb_to_recordset(%s::jsonb) AS s (id uuid, state text, due_at timestamptz)
WHERE d.id = s.id AND d.state = 'pending'
"""


class Deliveries:
    """The deliveries and attempts tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[tuple[UUID, UUID, UUID]]) -> None:
        """Insert pending deliveries (id, outgoing event, subscription); those there stay."""
        if not rows:
            return
        await self._connection.execute(
            insert(deliveries)
            .values(
                [
                    {"id": id_, "outgoing_event_id": event, "subscription_id": subscription}
                    for id_, event, subscription in rows
                ]
            )
            .on_conflict_do_nothing()
        )

    async def claim(self, places: Mapping[UUID, int], lease: timedelta) -> list[Delivery]:
        """Take due deliveries, for each subscription at most as many as it has places."""
        rows = [{"subscription": id_, "places": count} for id_, count in places.items()]
        result = await self._connection.exec_driver_sql(
            _CLAIM, {"lease": lease, "places": msgspec.json.encode(rows).decode()}
        )
        return [_row_to_delivery(row) for row in result]

    async def renew(self, ids: Sequence[UUID], lease: timedelta) -> None:
        """Hold claimed deliveries longer, counted from now."""
        await self._connection.execute(
            deliveries.update()
            .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.PENDING)
            .values(leased_until=func.now() + lease, due_at=func.now() + lease)
        )

    async def release(self) -> int:
        """Make every leased delivery due now: for a process that knows it is alone."""
        result = await self._connection.execute(
            deliveries.update()
            .where(
                deliveries.c.state == DeliveryState.PENDING,
                deliveries.c.leased_until.is_not(None),
            )
            .values(due_at=func.now(), leased_until=None)
        )
        return result.rowcount

    async def settle(self, rows: Sequence[tuple[Attempt, DeliveryState, datetime | None]]) -> None:
        """Record attempts and what follows from each, together."""
        await self._connection.execute(
            insert(attempts).on_conflict_do_nothing(),
            [
                {
                    "delivery_id": attempt.delivery_id,
                    "number": attempt.number,
                    "started_at": attempt.started_at,
                    "milliseconds": attempt.milliseconds,
                    "status": attempt.status,
                    "error": attempt.error,
                    "response_headers": attempt.response_headers,
                    "response_body": attempt.response_body,
                }
                for attempt, _, _ in rows
            ],
        )
        states = [
            {"id": attempt.delivery_id, "state": state, "due_at": due_at}
            for attempt, state, due_at in rows
        ]
        await self._connection.exec_driver_sql(_SETTLE, (msgspec.json.encode(states).decode(),))

    async def bury_pending(self, subscription_id: UUID) -> int:
        """Give up what is pending for a subscription; return how many."""
        result = await self._connection.execute(
            deliveries.update()
            .where(
                deliveries.c.subscription_id == subscription_id,
                deliveries.c.state == DeliveryState.PENDING,
            )
            .values(state=DeliveryState.DEAD, finished_at=func.now(), leased_until=None)
        )
        return result.rowcount

    async def next_due(self, subscription_ids: Sequence[UUID]) -> datetime | None:
        """Tell when the next pending delivery of these falls due."""
        result = await self._connection.execute(
            select(func.min(deliveries.c.due_at)).where(
                deliveries.c.subscription_id.in_(subscription_ids),
                deliveries.c.state == DeliveryState.PENDING,
            )
        )
        due: datetime | None = result.scalar_one_or_none()
        return due

    async def of_outgoing(self, event_ids: Sequence[UUID]) -> list[Delivery]:
        """List the deliveries of some outgoing events."""
        result = await self._connection.execute(
            select(deliveries)
            .where(deliveries.c.outgoing_event_id.in_(event_ids))
            .order_by(deliveries.c.created_on, deliveries.c.id)
        )
        return [_row_to_delivery(row) for row in result]

    async def attempts_of(self, delivery_ids: Sequence[UUID]) -> list[Attempt]:
        """List the attempts at some deliveries, in order."""
        result = await self._connection.execute(
            select(attempts)
            .where(attempts.c.delivery_id.in_(delivery_ids))
            .order_by(attempts.c.delivery_id, attempts.c.number)
        )
        return [_row_to_attempt(row) for row in result]

    async def counts(self) -> dict[UUID, dict[DeliveryState, int]]:
        """Count deliveries by subscription and state."""
        result = await self._connection.execute(
            select(deliveries.c.subscription_id, deliveries.c.state, func.count()).group_by(
                deliveries.c.subscription_id, deliveries.c.state
            )
        )
        counts: dict[UUID, dict[DeliveryState, int]] = {}
        for subscription, state, count in result:
            counts.setdefault(subscription, {})[DeliveryState(state)] = count
        return counts


def _row_to_delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        outgoing_event_id=row.outgoing_event_id,
        subscription_id=row.subscription_id,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        created_on=row.created_on,
        finished_at=row.finished_at,
    )


def _row_to_attempt(row: Any) -> Attempt:
    return Attempt(
        delivery_id=row.delivery_id,
        number=row.number,
        started_at=row.started_at,
        milliseconds=row.milliseconds,
        status=row.status,
        error=row.error,
        response_headers=row.response_headers,
        response_body=row.response_body,
    )
