"""Events that came in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.events import Event, NewEvent, Route
from taskloom.domain.query_tree import Filter, Where
from taskloom.store.driver import as_parameter, run
from taskloom.store.filters import Columns, page, query_bounds, where_clause
from taskloom.store.tables import events

_INSERT = """
INSERT INTO events (id, key, payload, source, description, origin, idempotency_key, routing)
SELECT id, key, payload::json, source, description, origin, idempotency_key, routing::json
FROM jsonb_to_recordset(%s::jsonb) AS row (
    id uuid, key text, payload text, source text, description text,
    origin text, idempotency_key text, routing text)
ON CONFLICT DO NOTHING
RETURNING id
"""


COLUMNS: Columns = {
    "id": events.c.id,
    "key": events.c.key,
    "payload": events.c.payload,
    "source": events.c.source,
    "description": events.c.description,
    "createdOn": events.c.created_on,
}

_FIND = """
SELECT given.id AS given, e.id
FROM jsonb_to_recordset(%s::jsonb) AS given (id uuid, origin text, key text)
JOIN events AS e ON e.origin = given.origin AND e.idempotency_key = given.key
"""


class Events:
    """The events table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def latest(self, since: datetime) -> dict[str, datetime]:
        """Tell when each declared source gave its last event, of those that gave one since."""
        rows = await run(
            self._connection,
            "SELECT origin, max(created_on) AS last FROM events"
            " WHERE created_on > %s AND origin LIKE 'source:%%' GROUP BY origin",
            (since,),
        )
        return {row.origin: row.last for row in rows}

    async def add(self, rows: Sequence[tuple[NewEvent, tuple[Route, ...]]]) -> set[UUID]:
        """Insert events with their routes; return the ids that were new."""
        parameter = as_parameter(
            [
                {
                    "id": event.id,
                    "key": event.key,
                    "payload": event.payload,
                    "source": event.source,
                    "description": event.description,
                    "origin": event.origin,
                    "idempotency_key": event.idempotency_key,
                    "routing": msgspec.json.encode(routes).decode(),
                }
                for event, routes in rows
            ]
        )
        result = await run(self._connection, _INSERT, (parameter,))
        return {row.id for row in result}

    async def find_by_idempotency_key(self, given: Sequence[NewEvent]) -> dict[UUID, UUID]:
        """Find the stored event that each of these is the same as, by the given one's id."""
        parameter = as_parameter(
            [
                {"id": event.id, "origin": event.origin, "key": event.idempotency_key}
                for event in given
            ]
        )
        rows = await run(self._connection, _FIND, (parameter,))
        return {row.given: row.id for row in rows}

    async def get(self, event_id: UUID) -> Event | None:
        """Look one up."""
        result = await self._connection.execute(select(events).where(events.c.id == event_id))
        row = result.first()
        return None if row is None else _row_to_event(row)

    async def list(self, query: Filter) -> list[Event]:
        """List by a query, in its order."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                page(select(events), query, COLUMNS, events.c.id)
            )
            return [_row_to_event(row) for row in result]

    async def count(self, where: Where) -> int:
        """Count by a query."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(func.count()).select_from(events).where(where_clause(where, COLUMNS))
            )
            return result.scalar_one()


def _row_to_event(row: Any) -> Event:
    return Event(
        id=row.id,
        key=row.key,
        payload=row.payload,
        source=row.source,
        description=row.description,
        origin=row.origin,
        idempotency_key=row.idempotency_key,
        routing=msgspec.json.decode(row.routing, type=tuple[Route, ...]),
        created_on=row.created_on,
    )
