"""An engine that Taskloom itself hosts, as that engine's own clients see it.

Workers and applications that were written for an engine's REST API ask for more than the inside
does: locks of other workers, definitions, lists of everything.  An engine that has such an API of
its own serves them itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from taskloom.ports.engine import InstanceState, Outcome, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRequest:
    """What a worker wants of one topic: which tasks, and for how long it holds them.

    `variables` are those that the instance must have, with these values.
    """

    topic: str
    lock: timedelta
    business_key: str | None = None
    definition_ids: tuple[str, ...] | None = None
    workflow_keys: tuple[str, ...] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    properties: bool = False  # whether the model's own properties of the task are wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is: in which instance of which definition."""

    instance_id: str
    root_id: str
    definition_id: str
    workflow_key: str
    business_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """An external task with its lock.

    A locked one is free again at `available_at`, a failed one due again then; with 0 `retries` it
    waits for an operator.  `variables` (all that it sees) and `local` (its own) are there only in
    what was fetched; `request` then tells by which of the topic requests.
    """

    id: str
    place: Place
    topic: str
    element_id: str
    worker_id: str | None
    available_at: datetime
    created_at: datetime
    retries: int | None
    error: str | None
    error_details: str | None
    variables: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    request: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """A deployed version of a workflow."""

    id: str
    workflow_key: str
    version: int
    deployed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """A running or ended instance; `caller_id` is the one that called it."""

    place: Place
    version: int
    state: InstanceState
    caller_id: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTaskRow:
    """An open user task."""

    id: str
    place: Place
    element_id: str
    name: str | None
    description: str | None
    assignee: str | None
    candidate_users: tuple[str, ...]
    candidate_groups: tuple[str, ...]
    form_key: str | None
    priority: int
    due_date: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRow:
    """A step of an instance's history; `activity_id` is there while it is active."""

    number: int
    activity_id: str | None
    place: Place
    element_id: str
    element_type: str  # the BPMN tag
    name: str | None
    state: str  # active | completed | cancelled
    started_at: datetime
    ended_at: datetime | None
    event: str | None = None  # of an event: timer, message, error, … ; None for a plain one


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """Work that stopped: the timer of this number, else the external task `activity_id`."""

    id: str
    place: Place
    activity_id: str
    element_id: str
    timer: int | None
    message: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableRow:
    """A variable of an active instance itself."""

    place: Place
    name: str
    value: Any


class Kind(StrEnum):
    """What can be listed; a query of a kind names the fields of its row and of its place.

    Besides: `locked` and `has_retries` of work, `latest` of definitions (the newest version of its
    workflow), `top` of instances (nobody called it), `work` of incidents (what stopped: a timer's
    number or a task's id).
    """

    WORK = "work"
    DEFINITION = "definition"
    INSTANCE = "instance"
    USER_TASK = "user-task"
    ACTIVITY = "activity"
    INCIDENT = "incident"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which rows: each field named in `where` has one of its values (None: is empty).

    `since` and `until` bound times, both inclusive; `present` says of fields whether they are
    there.  `order` names fields, with ``-`` before those that fall.  `limit` None is all.
    """

    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    since: Mapping[str, datetime] = field(default_factory=dict)
    until: Mapping[str, datetime] = field(default_factory=dict)
    present: Mapping[str, bool] = field(default_factory=dict)
    order: Sequence[str] = ()
    skip: int = 0
    limit: int | None = None


class HostedEngine(Protocol):
    """What an engine's own clients may do and see."""

    # -- work --------------------------------------------------------------------------------

    async def fetch(
        self, requests: Sequence[TopicRequest], worker_id: str, *, limit: int, newest: bool = False
    ) -> Sequence[WorkItem]:
        """Lock up to `limit` due tasks for a worker, the oldest first; returns at once."""
        ...

    async def due(self, topics: Sequence[str]) -> Mapping[str, datetime]:
        """Tell when the next task of each of these topics is due; topics without one are absent."""
        ...

    async def work_item(self, task_id: str) -> WorkItem | None:
        """Look an external task up."""
        ...

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        local: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task; `local` are variables of the task itself."""
        ...

    async def fail(
        self,
        task_id: str,
        worker_id: str,
        message: str,
        details: str | None,
        *,
        retries: int,
        retry_after: timedelta,
    ) -> Outcome:
        """Report a failure, with a longer story; with 0 `retries` it becomes an incident."""
        ...

    async def lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold one task for a worker, unless another one holds it."""
        ...

    async def unlock(self, task_id: str) -> Outcome:
        """Free one task, whoever holds it."""
        ...

    async def set_retries(self, task_id: str, retries: int) -> Outcome:
        """Say how often a task may be tried; its incident is closed, or with 0 opened."""
        ...

    async def retry_timer(self, timer: int, retries: int) -> Outcome:
        """Fire a timer that has an incident, with `retries` tries before the next one."""
        ...

    # -- lists -------------------------------------------------------------------------------

    async def count(self, kind: Kind, query: Query) -> int:
        """Count the rows of a query, whatever its page."""
        ...

    async def work_items(self, query: Query) -> Sequence[WorkItem]:
        """List external tasks."""
        ...

    async def definitions(self, query: Query) -> Sequence[DefinitionRow]:
        """List deployed versions."""
        ...

    async def model(self, definition_id: str) -> bytes | None:
        """Give the BPMN of a definition."""
        ...

    async def instance_rows(self, query: Query) -> Sequence[InstanceRow]:
        """List instances, ended ones too."""
        ...

    async def instance_variables(self, instance_id: str) -> Mapping[str, Any] | None:
        """Give the variables of an active instance."""
        ...

    async def task_variables(self, task_id: str) -> Mapping[str, Any] | None:
        """Give the variables that an open user task sees."""
        ...

    async def user_task_rows(self, query: Query) -> Sequence[UserTaskRow]:
        """List open user tasks."""
        ...

    async def activity_rows(self, query: Query) -> Sequence[ActivityRow]:
        """List what happened."""
        ...

    async def incident_rows(self, query: Query) -> Sequence[IncidentRow]:
        """List open incidents."""
        ...

    async def variable_rows(self, query: Query) -> Sequence[VariableRow]:
        """List the variables of active instances."""
        ...
