"""Incidents: work that stopped, kept with what a retry needs."""

import json
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import storable
from taskloom.ids import new_id
from taskloom.ports.engine import ChangeKind
from taskloom.store.driver import run

_MAX_MESSAGE = 4_000


async def open_incident(
    connection: AsyncConnection,
    *,
    instance_id: str,
    root_id: str,
    activity_id: str,
    element_id: str,
    message: str,
    now: datetime,
    timer: int | None = None,
) -> None:
    """Note that an external task, or the timer of this number, has stopped; its tree is locked."""
    text = storable(message)[:_MAX_MESSAGE]
    await run(
        connection,
        "INSERT INTO engine_incidents"
        " (id, instance_id, root_id, activity_id, element_id, timer_seq, message, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (str(new_id()), instance_id, root_id, activity_id, element_id, timer, text, now),
    )
    await run(
        connection,
        "INSERT INTO engine_changes (kind, instance_id, root_id, details)"
        " VALUES (%s, %s, %s, %s::json)",
        (ChangeKind.INCIDENT_CREATED, instance_id, root_id, json.dumps({"message": text})),
    )


async def close_incident(connection: AsyncConnection, incident_id: str) -> None:
    """Take an incident away, as its work is tried again."""
    await run(connection, "DELETE FROM engine_incidents WHERE id = %s", (incident_id,))
