"""Events to tell subscribers of."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.events import OutgoingEvent
from taskloom.store.driver import run
from taskloom.store.tables import outgoing_events

_INSERT = """
INSERT INTO outgoing_events
    (id, key, payload, source, event_id, task_id, root_instance_id, created_on)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


class OutgoingEvents:
    """The outgoing_events table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, event: OutgoingEvent) -> None:
        """Insert one."""
        await run(
            self._connection,
            _INSERT,
            (
                event.id,
                event.key,
                event.payload,
                event.source,
                event.event_id,
                event.task_id,
                event.root_instance_id,
                event.created_on,
            ),
        )

    async def of_event(self, event_id: UUID) -> list[OutgoingEvent]:
        """List what an event led to, oldest first."""
        result = await self._connection.execute(
            select(outgoing_events)
            .where(outgoing_events.c.event_id == event_id)
            .order_by(outgoing_events.c.created_on, outgoing_events.c.id)
        )
        return [_row_to_outgoing(row) for row in result]


def _row_to_outgoing(row: Any) -> OutgoingEvent:
    return OutgoingEvent(
        id=row.id,
        key=row.key,
        payload=row.payload,
        source=row.source,
        event_id=row.event_id,
        task_id=row.task_id,
        root_instance_id=row.root_instance_id,
        created_on=row.created_on,
    )
