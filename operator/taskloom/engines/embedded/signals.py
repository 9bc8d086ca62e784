"""Signals on their way: a row for each who waits, heard in a transaction of its own.

So a signal is told in the step that throws it, whoever waits and however many they are; that one
cannot go on holds up no other, and no two trees of instances ever wait for each other's locks.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.records import storable
from taskloom.engines.embedded.state import dump_variables
from taskloom.store.driver import run

_TELL = """
INSERT INTO engine_timers
    (instance_id, root_id, activity_id, definition_id, element_id, due_at, payload)
SELECT instance_id, root_id, activity_id, definition_id, element_id, %s, %s::json
FROM engine_subscriptions
WHERE kind = 'signal' AND name = %s AND coalesce(instance_id, '') <> ALL (%s)
ORDER BY seq
"""


async def tell(
    connection: AsyncConnection,
    name: str,
    variables: Mapping[str, Any],
    now: datetime,
    *,
    but_for: Collection[str] = (),
) -> int:
    """Tell a signal to all who wait for it, but for these instances; return how many."""
    payload = dump_variables(variables)
    result = await run(connection, _TELL, (now, payload, storable(name), list(but_for)))
    return result.rowcount
