"""Deliveries and their attempts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.deliveries import Attempt, ClaimedDelivery, Delivery, DeliveryState
from taskloom.domain.events import TellableEvent
from taskloom.store.driver import as_parameter, run
from taskloom.store.tables import attempts, deliveries

# Each subscription has places of its own, so a slow one holds up no other.  Those with something
# to deliver are found by hopping along the index, whatever the backlog.
_CLAIM = """
WITH RECURSIVE waiting AS (
    (SELECT subscription_id AS id FROM deliveries WHERE state = 'pending'
     ORDER BY subscription_id LIMIT 1)
    UNION ALL
    SELECT (SELECT subscription_id FROM deliveries
            WHERE state = 'pending' AND subscription_id > waiting.id
            ORDER BY subscription_id LIMIT 1)
    FROM waiting WHERE waiting.id IS NOT NULL
), places AS (
    SELECT s.id, greatest(0, (s.delivery ->> 'max_in_flight')::int - coalesce(f.count, 0)) AS free
    FROM waiting
    JOIN webhook_subscriptions AS s ON s.id = waiting.id
    JOIN client_apps AS c ON c.id = s.client_id
    LEFT JOIN jsonb_to_recordset(%(in_flight)s::jsonb) AS f (id uuid, count int) ON f.id = s.id
    WHERE NOT s.suspended AND s.disabled_at IS NULL AND NOT c.suspended
        AND (s.paused_until IS NULL OR s.paused_until <= now())
), due AS (
    SELECT d.id FROM places CROSS JOIN LATERAL (
        SELECT id FROM deliveries
        WHERE subscription_id = places.id AND state = 'pending' AND due_at <= now()
        ORDER BY due_at LIMIT places.free FOR UPDATE SKIP LOCKED
    ) AS d LIMIT %(limit)s
), claimed AS (
    UPDATE deliveries AS d
    SET leased_until = now() + %(lease)s, due_at = now() + %(lease)s, attempts = d.attempts + 1
    FROM due WHERE d.id = due.id
    RETURNING d.id, d.subscription_id, d.outgoing_event_id, d.attempts
)
SELECT d.id, d.subscription_id, d.attempts, greatest(s.modified_on, c.modified_on) AS stamp,
    e.id AS event_id, e.key, e.payload, e.source, e.created_on
FROM claimed AS d
JOIN outgoing_events AS e ON e.id = d.outgoing_event_id
JOIN webhook_subscriptions AS s ON s.id = d.subscription_id
JOIN client_apps AS c ON c.id = s.client_id
"""

_INSERT = """
INSERT INTO deliveries (id, outgoing_event_id, subscription_id, sink_id)
SELECT id, outgoing_event_id, subscription_id, sink_id
FROM jsonb_to_recordset(%s::jsonb) AS row (
    id uuid, outgoing_event_id uuid, subscription_id uuid, sink_id uuid)
ON CONFLICT DO NOTHING
"""

_SETTLE = """
WITH settled AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS row (
        id uuid, number smallint, started_at timestamptz, milliseconds int, status smallint,
        error text, response_headers text, response_body text, state text, due_at timestamptz)
), recorded AS (
    INSERT INTO attempts (delivery_id, number, started_at, milliseconds, status, error,
        response_headers, response_body)
    SELECT id, number, started_at, milliseconds, status, error, response_headers::json,
        response_body
    FROM settled
    ON CONFLICT DO NOTHING
)
UPDATE deliveries AS d
SET state = s.state, due_at = coalesce(s.due_at, d.due_at), leased_until = NULL,
    finished_at = CASE WHEN s.state = 'pending' THEN NULL ELSE now() END
FROM settled AS s
WHERE d.id = s.id AND d.state = 'pending'
"""


class Deliveries:
    """The deliveries and attempts tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(
        self, rows: Sequence[tuple[UUID, UUID, UUID]], *, sinks: Collection[UUID] = ()
    ) -> None:
        """Insert pending deliveries (id, outgoing event, subscription or sink); those there stay.

        `sinks` are those of them that are sinks.
        """
        if not rows:
            return
        parameter = as_parameter(
            [
                {
                    "id": id_,
                    "outgoing_event_id": event,
                    "sink_id" if to in sinks else "subscription_id": to,
                }
                for id_, event, to in rows
            ]
        )
        await run(self._connection, _INSERT, (parameter,))

    async def claim(
        self, limit: int, in_flight: Mapping[UUID, int], lease: timedelta
    ) -> list[ClaimedDelivery]:
        """Take up to `limit` due deliveries of the subscriptions in force.

        `in_flight` says how many of each subscription are under way here already.
        """
        counts = [{"id": id_, "count": count} for id_, count in in_flight.items()]
        result = await run(
            self._connection,
            _CLAIM,
            {
                "limit": limit,
                "lease": lease,
                "in_flight": as_parameter(counts),
            },
        )
        return [_row_to_claimed(row) for row in result]

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
        parameter = as_parameter(
            [
                {
                    "id": attempt.delivery_id,
                    "number": attempt.number,
                    "started_at": attempt.started_at,
                    "milliseconds": attempt.milliseconds,
                    "status": attempt.status,
                    "error": attempt.error,
                    "response_headers": attempt.response_headers,
                    "response_body": attempt.response_body,
                    "state": state,
                    "due_at": due_at,
                }
                for attempt, state, due_at in rows
            ]
        )
        await run(self._connection, _SETTLE, (parameter,))

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

    async def count_dead(self, to: UUID, since: datetime | None, until: datetime | None) -> int:
        """Count the dead deliveries of a subscription or sink that were made in a time."""
        wanted = select(func.count()).select_from(deliveries).where(*_dead(to, since, until))
        return (await self._connection.execute(wanted)).scalar_one()

    async def revive(self, to: UUID, since: datetime | None, until: datetime | None) -> int:
        """Make those due now; each is given up again after the attempt that fails for good."""
        result = await self._connection.execute(
            update(deliveries)
            .where(*_dead(to, since, until))
            .values(state=DeliveryState.PENDING, due_at=func.now(), finished_at=None)
        )
        return result.rowcount

    async def counts(self) -> dict[UUID, dict[DeliveryState, int]]:
        """Count deliveries by subscription or sink, and state."""
        to = func.coalesce(deliveries.c.subscription_id, deliveries.c.sink_id)
        result = await self._connection.execute(
            select(to, deliveries.c.state, func.count()).group_by(to, deliveries.c.state)
        )
        counts: dict[UUID, dict[DeliveryState, int]] = {}
        for subscription, state, count in result:
            counts.setdefault(subscription, {})[DeliveryState(state)] = count
        return counts


def _dead(to: UUID, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        or_(deliveries.c.subscription_id == to, deliveries.c.sink_id == to),
        deliveries.c.state == DeliveryState.DEAD,
    ]
    if since is not None:
        conditions.append(deliveries.c.created_on >= since)
    if until is not None:
        conditions.append(deliveries.c.created_on < until)
    return conditions


def _row_to_claimed(row: Any) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=row.id,
        subscription_id=row.subscription_id,
        attempt=row.attempts,
        stamp=row.stamp,
        event=TellableEvent(
            id=row.event_id,
            key=row.key,
            payload=row.payload,
            source=row.source,
            created_on=row.created_on,
        ),
    )


def _row_to_delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        outgoing_event_id=row.outgoing_event_id,
        subscription_id=row.subscription_id,
        sink_id=row.sink_id,
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
