"""Instances between their rows and the interpreter: locked, loaded, and a batch written back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.drive import Batch
from taskloom.engines.embedded.instances import Live
from taskloom.engines.embedded.state import (
    NewUserTask,
    State,
    dump_activities,
    dump_variables,
    load_activities,
)
from taskloom.engines.embedded.statements import LOAD, LOAD_CALLED, LOCK, write_statement
from taskloom.ports.engine import ChangeKind, EngineUserTask, InstanceState
from taskloom.store.driver import run


async def lock(connection: AsyncConnection, kind: str, key: object) -> Any | None:
    """Lock the tree that a task, timer, incident or root belongs to, and the row itself.

    Gives the root's row with the row's own columns (`at` is the instance it lies in), or None if
    it is gone.
    """
    return (await run(connection, LOCK[kind], (key,))).first()


async def load_locked(connection: AsyncConnection, row: Any) -> tuple[Live, State] | None:
    """Give the instance that a locked row lies in, or None if it has ended."""
    if row.at == row.id:
        return to_instance(row) if row.state == InstanceState.ACTIVE else None
    return await load_instance(connection, row.at)


async def load_instance(connection: AsyncConnection, instance_id: str) -> tuple[Live, State] | None:
    """Load an active instance whose tree is locked."""
    found = await run(
        connection,
        LOAD,
        (instance_id,),
    )
    row = found.first()
    return None if row is None else to_instance(row)


async def load_called(connection: AsyncConnection, activity_id: str) -> tuple[Live, State] | None:
    """Load the active instance that a call activity started; its tree is locked."""
    found = await run(
        connection,
        LOAD_CALLED,
        (activity_id,),
    )
    row = found.first()
    return None if row is None else to_instance(row)


def to_instance(row: Any) -> tuple[Live, State]:
    """Read an instance's row."""
    live = Live(
        id=row.id,
        root_id=row.root_id,
        caller_id=row.caller_id,
        caller_activity_id=row.caller_activity_id,
        definition_id=row.definition_id,
        workflow_key=row.workflow_key,
        version=row.version,
        start_id=row.start_id,
        business_key=row.business_key,
    )
    state = State(
        instance_id=row.id,
        definition_id=row.definition_id,
        business_key=row.business_key,
        variables=json.loads(row.variables),
        activities=load_activities(row.activities),
    )
    return live, state


async def write(connection: AsyncConnection, batch: Batch, now: datetime) -> set[str]:
    """Write a batch; return the topics of those who wait for what is in it."""
    document = _document(batch, now)
    await _execute(connection, document, now)
    return _topics(document)


async def write_start(connection: AsyncConnection, batch: Batch, now: datetime) -> set[str] | None:
    """Write a batch that begins with a start by its start id; None if there was one before."""
    document = _document(batch, now)
    first, *called = document.pop("called")
    document = {"root": [first], **({"called": called} if called else {}), **document}
    found = await _execute(connection, document, now)
    return _topics(document) if found else None


async def _execute(
    connection: AsyncConnection, document: dict[str, list[Any]], now: datetime
) -> bool:
    if not document:
        return False
    parameter = json.dumps({"now": now.isoformat(), **document}, separators=(",", ":"))
    result = await run(connection, write_statement(tuple(document)), (parameter,))
    return bool(result.scalar())


def _document(batch: Batch, now: datetime) -> dict[str, list[Any]]:
    parts: dict[str, list[Any]] = {
        "called": [_started(batch, live) for live in batch.started.values()],
        "changed": [
            _changed(batch, instance_id, before)
            for instance_id, before in batch.before.items()
            if batch.states[instance_id] is not before
        ],
        "external": [
            {**_place(live), "id": t.id, "element_id": t.element, "topic": storable(t.topic)}
            for live, t in batch.external_tasks.values()
        ],
        "user": [
            {**_place(live), "id": t.id, "details": _user_details(t)}
            for live, t in batch.user_tasks.values()
        ],
        "timers": [
            {
                **_place(live),
                "activity_id": timer.activity_id,
                "element_id": timer.element,
                "due_at": timer.due_at.isoformat(),
                "repeat": timer.repeat,
            }
            for timers in batch.timers.values()
            for live, timer in timers
        ],
        "subscriptions": [
            {
                **_place(live),
                "kind": each.kind,
                "name": storable(each.name),
                "business_key": _storable_key(live),
                "activity_id": each.activity_id,
                "element_id": each.element,
            }
            for subscriptions in batch.subscriptions.values()
            for live, each in subscriptions
        ],
        "activities": [
            {
                **_place(live),
                "activity_id": record.activity_id,
                "element_id": record.element,
                "element_type": record.tag,
                "name": record.name,
                "state": record.state,
            }
            for live, record in batch.records
        ],
        "completed": [ended.activity_id for ended in batch.ended if ended.completed],
        "cancelled": [ended.activity_id for ended in batch.ended if not ended.completed],
        "gone_external": batch.gone_external,
        "gone_user": [ended.activity_id for _, ended in batch.gone_user],
        "gone_timed": batch.gone_waiting,
        "gone_subscribed": batch.gone_waiting,
        "gone_work": batch.gone_external + batch.gone_waiting,
        "changes": list(_changes(batch, now)),
    }
    return {name: rows for name, rows in parts.items() if rows}


def _place(live: Live) -> dict[str, str]:
    return {"instance_id": live.id, "root_id": live.root_id}


def _storable_key(live: Live) -> str | None:
    return None if live.business_key is None else storable(live.business_key)


def _started(batch: Batch, live: Live) -> dict[str, Any]:
    state, ending = batch.states[live.id], batch.endings.get(live.id)
    return {
        **asdict(live),
        "business_key": _storable_key(live),
        "state": ending or InstanceState.ACTIVE,
        # what has ended needs its variables no more
        "variables": "{}" if ending else dump_variables(state.variables),
        "activities": dump_activities(state),
    }


def _changed(batch: Batch, instance_id: str, before: State) -> dict[str, Any]:
    state, ending = batch.states[instance_id], batch.endings.get(instance_id)
    row = {
        "id": instance_id,
        "state": ending or InstanceState.ACTIVE,
        "activities": dump_activities(state),
    }
    if ending:
        row["variables"] = "{}"
    elif state.variables is not before.variables:
        row["variables"] = dump_variables(state.variables)
    return row


def _changes(batch: Batch, now: datetime) -> Iterable[dict[str, Any]]:
    for live, ended in batch.gone_user:
        details = {"user_task_id": ended.activity_id, "completed": ended.completed}
        yield _change(ChangeKind.USER_TASK_ENDED, live, details)
    for live, task in batch.user_tasks.values():
        yield {
            "kind": ChangeKind.USER_TASK_CREATED,
            **_place(live),
            "details": f'{{"user_task":{_user_details(task)},"at":"{now.isoformat()}"}}',
        }
    for instance_id, ending in batch.endings.items():
        details = {"completed": ending is InstanceState.COMPLETED, "message": batch.reason}
        yield _change(ChangeKind.INSTANCE_ENDED, batch.lives[instance_id], details)


def _change(kind: ChangeKind, live: Live, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, **_place(live), "details": json.dumps(details)}


def _user_details(task: NewUserTask) -> str:
    return json.dumps(asdict(task), separators=(",", ":"))


def to_user_task(
    details: Mapping[str, Any], instance_id: str, root_id: str, created_at: datetime
) -> EngineUserTask:
    """Read what `_user_details` wrote."""
    return EngineUserTask(
        id=details["id"],
        element_id=details["element"],
        instance_id=instance_id,
        root_instance_id=root_id,
        name=details["name"],
        description=details["description"],
        assignee=details["assignee"],
        candidate_groups=tuple(details["candidate_groups"]),
        candidate_users=tuple(details["candidate_users"]),
        form_key=details["form_key"],
        priority=details["priority"],
        due_date=details["due_date"],
        created_at=created_at,
    )


def storable(text: str) -> str:
    """Make text that a text column can hold: NUL and half surrogate pairs are replaced."""
    if text.isascii() and "\x00" not in text:
        return text
    return "".join("\ufffd" if c == "\x00" or "\ud800" <= c <= "\udfff" else c for c in text)


def _topics(document: Mapping[str, list[Any]]) -> set[str]:
    wakes = {"external": "external-tasks", "timers": "engine-jobs", "changes": "engine-changes"}
    return {topic for part, topic in wakes.items() if part in document}
