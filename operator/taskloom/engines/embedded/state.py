"""Where an instance stands, and what one step changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskloom.engines.embedded.model import Call
from taskloom.errors import Invalid
from taskloom.ports.engine import InstanceState

ROOT = ""
"""The scope of the process itself; the others are named by the id of their activity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A node that is being worked on, or a token that waits at a gateway.

    `parent` is the scope it lies in; `variables` are its own, None if it has no scope of its own.
    """

    id: str
    element: str
    parent: str
    variables: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An instance between two steps."""

    instance_id: str
    definition_id: str
    business_key: str | None
    variables: Mapping[str, Any]
    activities: tuple[Activity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start at the start event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """An external or user task is done."""

    activity_id: str
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """A timer is due: that of an intermediate event, or of `element`, a boundary event."""

    activity_id: str
    element: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """A BPMN error is thrown at an activity."""

    activity_id: str
    code: str
    message: str | None
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A called instance has ended; `error` is the BPMN error that it let through."""

    activity_id: str
    variables: Mapping[str, Any]
    error: "Thrown | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """One activity is cancelled from outside, and what is left empty by it."""

    activity_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """The whole instance is cancelled."""


Trigger = Begin | Complete | Fire | Fail | Return | Withdraw | Terminate


@dataclass(frozen=True, slots=True, kw_only=True)
class Thrown:
    """A BPMN error on its way."""

    code: str
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExternalTask:
    """Work for a worker; its id is its activity's."""

    id: str
    element: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUserTask:
    """Work for a person; its id is its activity's."""

    id: str
    element: str
    name: str | None
    description: str | None
    assignee: str | None
    candidate_groups: tuple[str, ...]
    candidate_users: tuple[str, ...]
    form_key: str | None
    priority: int
    due_date: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTimer:
    """A time at which `Fire(activity_id, element)` is due."""

    activity_id: str
    element: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """An instance to start, on behalf of a call activity."""

    activity_id: str
    element: str
    call: Call
    called: str
    version: int | None
    business_key: str | None
    variables: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Record:
    """A line of the history; `activity_id` is None if it ended where it began."""

    activity_id: str | None
    element: str
    tag: str
    name: str | None
    state: str  # active | completed | cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An activity of an earlier step that is over: its task and timers are to go."""

    activity_id: str
    element: str
    completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one trigger leads to.

    `ending` is None while the instance goes on.  `uncaught` is a BPMN error of `Fail` that nothing
    catches: then nothing has changed.  `escaped` is one that a caller catches: then the instance
    is over.
    """

    state: State
    ending: InstanceState | None = None
    external_tasks: tuple[NewExternalTask, ...] = ()
    user_tasks: tuple[NewUserTask, ...] = ()
    timers: tuple[NewTimer, ...] = ()
    calls: tuple[NewCall, ...] = ()
    records: tuple[Record, ...] = ()
    ended: tuple[Ended, ...] = ()
    uncaught: Thrown | None = None
    escaped: Thrown | None = None
    steps: int = 0


def dump_variables(variables: Mapping[str, Any]) -> str:
    """Write variables as JSON in ASCII, so that any text survives; raises `Invalid`."""
    try:
        return json.dumps(variables, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as exc:
        raise Invalid(f"The variables are no JSON: {exc}", field="variables") from exc


def dump_activities(state: State) -> str:
    """Write where the tokens are as compact JSON."""
    return dump_variables(
        {"activities": [[a.id, a.element, a.parent, a.variables] for a in state.activities]}
    )


def load_activities(text: str) -> tuple[Activity, ...]:
    """Read what `dump_activities` wrote."""
    return tuple(
        Activity(id=row[0], element=row[1], parent=row[2], variables=row[3])
        for row in json.loads(text)["activities"]
    )
