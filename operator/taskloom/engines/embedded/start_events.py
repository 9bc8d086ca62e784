"""Rows of the start events by which the latest version of a workflow begins."""

from collections.abc import Collection, Mapping, Sequence
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
_DROP_INCIDENTS = """
DELETE FROM engine_incidents WHERE timer_seq IN (
    SELECT seq FROM engine_timers WHERE definition_id = ANY(%s) AND (%s OR payload IS NULL))
"""
_DROP_TIMERS = """
DELETE FROM engine_timers WHERE definition_id = ANY(%s) AND (%s OR payload IS NULL)
"""
_OF_WORKFLOW = "SELECT id FROM engine_definitions WHERE workflow_key = %s"


async def claim_messages(
    connection: AsyncConnection, workflow_key: str, process: Process
) -> dict[str, str]:
    """Hold a process's messages until the transaction ends; give those that are held already.

    They are named by start event, with the other workflow that begins with the same.
    """
    messages = sorted(
        (storable(name), element)
        for element, kind, name in subscribed(process)
        if kind is SubscriptionKind.MESSAGE
    )
    held = {}
    for name, element in messages:
        await run(connection, _LOCK_MESSAGE, (name,))
        found = (await run(connection, _HELD, (name, workflow_key))).first()
        if found is not None:
            held[element] = found.workflow_key
    return held


def refuse_held(process: Process, held: Mapping[str, str]) -> None:
    """Raise `Unprocessable` if another workflow begins with a message: it starts one workflow."""
    for element, _, name in subscribed(process):
        if element in held:
            raise Unprocessable(
                f"The BPMN cannot be deployed. {element}: the workflow {held[element]} begins with"
                f" the message {name!r} already, and a message starts one workflow: name another.",
                field=element,
            )


async def replace_start_events(
    connection: AsyncConnection,
    workflow_key: str,
    definition_id: str,
    process: Process,
    now: datetime,
    *,
    but_for: Collection[str] = (),
) -> None:
    """Let a workflow begin by this version's start events (`but_for` some), and by no other's.

    A signal that was told to the version before starts that one.
    """
    rows = await run(connection, _OF_WORKFLOW, (workflow_key,))
    await drop_start_events(connection, [row.id for row in rows], told=False)
    for element, kind, name in subscribed(process):
        if element in but_for:
            continue
        await run(
            connection,
            "INSERT INTO engine_subscriptions (kind, name, definition_id, element_id)"
            " VALUES (%s, %s, %s, %s)",
            (kind, storable(name), definition_id, element),
        )
    for timer in start_timers(process, definition_id, now):
        await run(
            connection,
            "INSERT INTO engine_timers (definition_id, element_id, due_at, repeat)"
            " VALUES (%s, %s, %s, %s)",
            (definition_id, timer.element, timer.due_at, timer.repeat),
        )


async def drop_start_events(
    connection: AsyncConnection, definition_ids: Sequence[str], *, told: bool = True
) -> None:
    """Let nothing start these definitions any more but a call by their key.

    With `told`, signals on their way to them go as well.
    """
    ids = list(definition_ids)
    await run(connection, _DROP_INCIDENTS, (ids, told))
    await run(connection, _DROP_TIMERS, (ids, told))
    await run(connection, "DELETE FROM engine_subscriptions WHERE definition_id = ANY(%s)", (ids,))


async def drop_all_start_events(connection: AsyncConnection) -> None:
    """Let nothing start anything any more but a call by its key, and signals told before."""
    await run(
        connection,
        "DELETE FROM engine_incidents WHERE timer_seq IN"
        " (SELECT seq FROM engine_timers WHERE instance_id IS NULL AND payload IS NULL)",
    )
    await run(connection, "DELETE FROM engine_timers WHERE instance_id IS NULL AND payload IS NULL")
    await run(connection, "DELETE FROM engine_subscriptions WHERE instance_id IS NULL")


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
