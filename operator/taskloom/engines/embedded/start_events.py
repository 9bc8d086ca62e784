"""Rows of the start events by which the latest version of a workflow begins."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.evaluation import Place, evaluate_due
from taskloom.engines.embedded.events import MessageEvent, SignalEvent, TimerEvent
from taskloom.engines.embedded.flows import naming
from taskloom.engines.embedded.model import Process
from taskloom.engines.embedded.records import storable
from taskloom.engines.embedded.state import NewTimer, State, SubscriptionKind
from taskloom.errors import Unprocessable
from taskloom.store.driver import run

_LOCK_MESSAGE = "SELECT pg_advisory_xact_lock(hashtextextended('engine_messages:' || %s, 0))"
_HELD = """
SELECT d.workflow_key FROM engine_subscriptions AS s
JOIN engine_definitions AS d ON d.id = s.definition_id
WHERE s.kind = 'message' AND s.name = %s AND d.workflow_key <> %s LIMIT 1
"""
_OF_WORKFLOW = "SELECT id FROM engine_definitions WHERE workflow_key = %s"


async def claim_messages(connection: AsyncConnection, workflow_key: str, process: Process) -> None:
    """See to it that no other workflow begins with the same message, until the transaction ends.

    Raises `Unprocessable` if one does: a message starts one workflow.
    """
    messages = sorted(
        (storable(name), element)
        for element, kind, name in subscribed(process)
        if kind is SubscriptionKind.MESSAGE
    )
    for name, element in messages:
        await run(connection, _LOCK_MESSAGE, (name,))
        held = (await run(connection, _HELD, (name, workflow_key))).first()
        if held is not None:
            raise Unprocessable(already_begins(element, name, held.workflow_key), field=element)


def already_begins(element: str, message: str, workflow_key: str) -> str:
    """Say that another workflow begins with a start event's message."""
    return (
        f"The BPMN cannot be deployed. {element}: the workflow {workflow_key} begins with the"
        f" message {message!r} already, and a message starts one workflow: name another."
    )


async def replace_start_events(
    connection: AsyncConnection,
    workflow_key: str,
    definition_id: str,
    process: Process,
    now: datetime,
) -> bool:
    """Let a workflow begin by this version's start events, and by no other's.

    Tells whether there are timers among them.
    """
    rows = await run(connection, _OF_WORKFLOW, (workflow_key,))
    await drop_start_events(connection, [row.id for row in rows])
    for element, kind, name in subscribed(process):
        await run(
            connection,
            "INSERT INTO engine_subscriptions (kind, name, definition_id, element_id)"
            " VALUES (%s, %s, %s, %s)",
            (kind, storable(name), definition_id, element),
        )
    timers = start_timers(process, definition_id, now)
    for timer in timers:
        await add_start_timer(connection, definition_id, timer)
    return bool(timers)


async def add_start_timer(connection: AsyncConnection, definition_id: str, timer: NewTimer) -> None:
    """Let a definition start at a time."""
    await run(
        connection,
        "INSERT INTO engine_timers (definition_id, element_id, due_at, repeat)"
        " VALUES (%s, %s, %s, %s)",
        (definition_id, timer.element, timer.due_at, timer.repeat),
    )


async def drop_start_events(connection: AsyncConnection, definition_ids: Sequence[str]) -> None:
    """Let nothing start these definitions any more but a call by their key."""
    ids = list(definition_ids)
    await run(
        connection,
        "DELETE FROM engine_incidents WHERE timer_seq IN"
        " (SELECT seq FROM engine_timers WHERE definition_id = ANY(%s))",
        (ids,),
    )
    for table in ("engine_timers", "engine_subscriptions"):
        await run(connection, f"DELETE FROM {table} WHERE definition_id = ANY(%s)", (ids,))  # noqa: S608


def subscribed(process: Process) -> list[tuple[str, SubscriptionKind, str]]:
    """List the messages and signals that start a process: start event, kind, name."""
    found = []
    for start in process.starts:
        match start.event:
            case MessageEvent(name=name):
                found.append((start.element, SubscriptionKind.MESSAGE, name.literal or ""))
            case SignalEvent(name=name):
                found.append((start.element, SubscriptionKind.SIGNAL, name.literal or ""))
    return found


def start_timers(process: Process, definition_id: str, now: datetime) -> list[NewTimer]:
    """Give the timers that start a process which is deployed now.

    Raises `Unprocessable` naming the start event whose time cannot be computed.
    """
    state = State(instance_id="", definition_id=definition_id, business_key=None, variables={})
    timers = []
    for start in process.starts:
        if isinstance(start.event, TimerEvent):
            node = process.nodes[start.element]
            with naming(node):
                place = Place(now, state, node, lambda _: (False, None))
                due, repeat = evaluate_due(start.event, place, repeats=True)
            timers.append(
                NewTimer(
                    activity_id=definition_id, element=start.element, due_at=due, repeat=repeat
                )
            )
    return timers
