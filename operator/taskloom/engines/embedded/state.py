"""Where an instance stands, and what one step changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
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
    """Start at this start event, by default at the one for a start by key."""

    element: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """An external or user task is done; `local` are variables of its own."""

    activity_id: str
    variables: Mapping[str, Any]
    local: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """What an activity, or the process (by the instance's id), waits for has come.

    `element` is the catch, boundary or start event; `repeat` the cycle of a timer that repeats.
    """

    activity_id: str
    element: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    repeat: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """A BPMN error is thrown at an activity."""

    activity_id: str
    code: str
    message: str | None
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """A called instance has let an escalation through."""

    activity_id: str
    code: str
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


Trigger = Begin | Complete | Fire | Fail | Escalate | Return | Withdraw | Terminate


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
    """A time at which `Fire(activity_id, element)` is due; `repeat` is the cycle it goes on by."""

    activity_id: str
    element: str
    due_at: datetime
    repeat: str | None = None


class SubscriptionKind(StrEnum):
    """What is subscribed to."""

    MESSAGE = "message"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    """A message or signal that leads to `Fire(activity_id, element)`."""

    activity_id: str
    element: str
    kind: SubscriptionKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignal:
    """A signal that is told to all who wait for it outside of the instance."""

    name: str
    variables: Mapping[str, Any]


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
    is over.  `escalated` are codes that a caller catches.  `disarmed` are activities, or the
    instance, that go on and wait for no event any more.
    """

    state: State
    ending: InstanceState | None = None
    external_tasks: tuple[NewExternalTask, ...] = ()
    user_tasks: tuple[NewUserTask, ...] = ()
    timers: tuple[NewTimer, ...] = ()
    subscriptions: tuple[NewSubscription, ...] = ()
    signals: tuple[NewSignal, ...] = ()
    disarmed: tuple[str, ...] = ()
    calls: tuple[NewCall, ...] = ()
    records: tuple[Record, ...] = ()
    ended: tuple[Ended, ...] = ()
    uncaught: Thrown | None = None
    escaped: Thrown | None = None
    escalated: tuple[str, ...] = ()
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
