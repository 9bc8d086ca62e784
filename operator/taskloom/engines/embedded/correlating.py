"""Who a message is for: found among the subscriptions, then locked."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import lock, storable
from taskloom.errors import Conflict, NotFound
from taskloom.ports.engine import Message
from taskloom.store.driver import run

_WAITING = """
SELECT s.seq{variables} FROM engine_subscriptions AS s
JOIN engine_instances AS i ON i.id = s.instance_id
WHERE s.kind = 'message' AND s.name = %s{narrowed} ORDER BY s.seq{limit}
"""
_STARTING = """
SELECT s.definition_id, s.element_id, d.workflow_key
FROM engine_subscriptions AS s JOIN engine_definitions AS d ON d.id = s.definition_id
WHERE s.kind = 'message' AND s.name = %s AND s.definition_id IS NOT NULL
"""


async def lock_waiting(connection: AsyncConnection, message: Message) -> Any | None:
    """Lock the one subscription of an instance that a message is for, and its tree.

    None if nobody waits; raises `Conflict` if more than one does.  One that another message took
    meanwhile waits no more, so the search begins anew.
    """
    while True:
        found = await _search(connection, message)
        if not found:
            return None
        if len(found) > 1:
            raise Conflict(
                f"More than one waits for the message {message.name!r}: name the business key,"
                " the instance or variables of the one it is for."
            )
        row = await lock(connection, "subscription", found[0])
        # variables may have changed until the lock was ours
        if row is not None and (not message.correlation or await _search(connection, message)):
            return row


async def find_start(connection: AsyncConnection, message: Message) -> Any:
    """Find the start event that a message is for; raises `NotFound` if there is none."""
    found = (await run(connection, _STARTING, (storable(message.name),))).first()
    if found is None:
        raise nobody_waits(message)
    return found


def nobody_waits(message: Message) -> NotFound:
    """Say that a message is for nobody."""
    return NotFound(
        f"Nobody waits for the message {message.name!r}, or not with what it is narrowed down by."
    )


def has_all(variables: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether an instance has these variables; true is not 1."""
    return all(
        name in variables
        and variables[name] == value
        and isinstance(variables[name], bool) == isinstance(value, bool)
        for name, value in wanted.items()
    )


async def _search(connection: AsyncConnection, message: Message) -> list[int]:
    narrowed, parameters = "", [storable(message.name)]
    if message.business_key is not None:
        narrowed += " AND s.business_key = %s"
        parameters.append(storable(message.business_key))
    if message.instance_id is not None:
        narrowed += " AND s.instance_id = %s"
        parameters.append(storable(message.instance_id))
    statement = _WAITING.format(
        narrowed=narrowed,
        variables=", i.variables" if message.correlation else "",
        limit="" if message.correlation else " LIMIT 2",
    )
    rows = await run(connection, statement, tuple(parameters))
    return [
        row.seq
        for row in rows
        if not message.correlation or has_all(json.loads(row.variables), message.correlation)
    ]
