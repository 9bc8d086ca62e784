"""Incidents: work that stopped, kept with what a retry needs."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import lock, storable
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
    """Note that an external task, or the timer of this number, has stopped; its tree is locked.

    A start event's timer has no instance: its ids are empty then.
    """
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


async def lock_incident(connection: AsyncConnection, incident_id: str) -> Any | None:
    """Lock an incident and the tree it lies in, if it lies in one; None if it is gone."""
    row = await lock(connection, "incident", storable(incident_id))
    if row is not None:
        return row
    found = await run(
        connection,
        "SELECT activity_id, timer_seq FROM engine_incidents"
        " WHERE id = %s AND instance_id = '' FOR UPDATE",
        (storable(incident_id),),
    )
    return found.first()


async def close_incident(connection: AsyncConnection, incident_id: str) -> None:
    """Take an incident away, as its work is tried again."""
    await run(connection, "DELETE FROM engine_incidents WHERE id = %s", (incident_id,))
