"""The workflow engine as the inside sees it.

An engine that lives in the task database can write in the caller's transaction
(``joins(tx)`` is true): then its state and the task rows change together.
Any other engine is called outside of transactions (``tx=None``), and the queue, business keys and
the ledger of external tasks keep the effects exactly-once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from taskloom.errors import TaskloomError


class Transaction(Protocol):
    """An open database transaction that an engine may be able to join."""

    @property
    def connection(self) -> Any:
        """The driver's or SQLAlchemy's connection."""
        ...

    @property
    def database(self) -> str:
        """Which database it is on: equal for two transactions on the same one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One version of a process, known to the engine."""

    workflow_key: str
    version: int
    definition_id: str
    digest: str  # the model's SHA-256, in hexadecimal digits
    topics: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What a BPMN file says of itself."""

    process_id: str
    name: str | None
    topics: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """Start `workflow_key`, its latest version unless `definition_id` names another.

    `start_id` is the idempotency key: a second start with it returns the first instance.
    `business_key` is the user's own and need not be unique; None = the start id.
    `fresh` says that the start id was surely never used before: an engine elsewhere, which would
    have to look, need not.
    """

    workflow_key: str
    start_id: str
    variables: Mapping[str, Any]
    business_key: str | None = None
    definition_id: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message for whoever waits for it: one waiting place, or the start event of one workflow.

    What is given of business key, instance and `correlation` (variables that the waiting instance
    must have) narrows down who is meant.
    """

    name: str
    business_key: str | None = None
    instance_id: str | None = None
    correlation: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)  # set where it arrives


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Where a message went."""

    instance_id: str
    started: bool  # a new instance rather than a waiting one


class InstanceState(StrEnum):
    """Where a process instance stands."""

    ACTIVE = "active"
    COMPLETED = "completed"  # ran to an end, a terminate end event included
    TERMINATED = "terminated"  # deleted, or cancelled with its caller or by an error it let through


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running or ended process instance; `root_id` is its own id unless it was called."""

    id: str
    root_id: str
    workflow_key: str
    version: int
    business_key: str | None
    state: InstanceState
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTask:
    """A unit of work that waits for a worker, locked for the one that fetched it."""

    id: str
    topic: str
    element_id: str
    instance_id: str
    root_instance_id: str
    workflow_key: str
    business_key: str | None
    variables: Mapping[str, Any]
    retries: int | None  # None until the first failure
    start_id: str | None = None  # its instance's own, where an engine elsewhere tells it


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUserTask:
    """A unit of work that waits for a person."""

    id: str
    element_id: str
    instance_id: str
    root_instance_id: str
    name: str | None
    description: str | None
    assignee: str | None
    candidate_groups: tuple[str, ...]
    candidate_users: tuple[str, ...]
    form_key: str | None
    priority: int
    due_date: str | None
    created_at: datetime


class Outcome(StrEnum):
    """What became of a call about one external or user task."""

    DONE = "done"
    GONE = "gone"  # completed before, or its instance is gone: nothing is left to do
    LOCK_LOST = "lock-lost"  # another worker holds it: its turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Work that stopped and waits for an operator; a start that failed has no instance: ""."""

    id: str
    instance_id: str
    root_instance_id: str
    element_id: str
    message: str
    created_at: datetime


class ChangeKind(StrEnum):
    """What an engine reports of its own accord."""

    USER_TASK_CREATED = "user-task-created"
    USER_TASK_ENDED = "user-task-ended"  # completed or cancelled, by whomever
    INSTANCE_ENDED = "instance-ended"
    INCIDENT_CREATED = "incident-created"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChange:
    """One entry of the feed; applying it twice must do no harm."""

    id: str
    kind: ChangeKind
    root_instance_id: str
    instance_id: str
    user_task: EngineUserTask | None = None  # for USER_TASK_CREATED
    user_task_id: str | None = None  # for USER_TASK_ENDED
    completed: bool = (
        False  # USER_TASK_ENDED: completed rather than cancelled; INSTANCE_ENDED: ran to its end
    )
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRecord:
    """One step of an instance's history, for traces."""

    instance_id: str
    element_id: str
    element_type: str  # the BPMN tag: userTask, serviceTask, exclusiveGateway, …
    name: str | None
    started_at: datetime
    ended_at: datetime | None
    state: str  # active | completed | cancelled


class WorkflowEngine(Protocol):
    """Runs BPMN.  Pass `tx` only where `joins` says so."""

    name: str

    def joins(self, tx: Transaction) -> bool:
        """Tell whether calls given this transaction take part in it."""
        ...

    async def ping(self) -> None:
        """Return if the engine answers; `Unavailable` says why it does not."""
        ...

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Check a model without deploying it.

        Raises `Unprocessable` naming every element it does not support.
        """
        ...

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: Transaction | None = None
    ) -> Deployment:
        """Make `bpmn` the newest version of `workflow_key`; the same bytes give the same version.

        Raises `Unprocessable` naming the element it does not support.
        """
        ...

    async def undeploy(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Remove definitions; `Conflict` while instances of them run."""
        ...

    async def known_definitions(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> frozenset[str]:
        """Tell which of these definitions are deployed."""
        ...

    async def start(self, request: StartRequest, *, tx: Transaction | None = None) -> Instance:
        """Start an instance, or return the one its start id already has.

        Raises `NotFound` for an unknown workflow.
        """
        ...

    async def start_many(
        self, requests: Sequence[StartRequest]
    ) -> Sequence[Instance | TaskloomError]:
        """Start these, each by itself: what one is refused with stands in its instance's place.

        Outside of transactions; `Temporary` if the engine does not answer.
        """
        ...

    async def repeated_starts(self, within: timedelta) -> Mapping[str, Sequence[Instance]]:
        """List start ids that led to several running instances, each with these, the oldest first.

        Of what started within that time; an engine that starts an id once has none.
        """
        ...

    async def fetch_and_lock(
        self,
        topics: Sequence[str],
        worker_id: str,
        *,
        max_tasks: int,
        lock: timedelta,
        wait: timedelta = timedelta(0),
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> Sequence[ExternalTask]:
        """Take up to `max_tasks` that are due, oldest first; possibly none.

        Of a topic that `only` names no other variables are needed than those it lists.

        An engine elsewhere, which rings no bell, may wait so long for the first to come; one in
        our database returns at once.
        """
        ...

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task and let its instance go on."""
        ...

    async def fail(
        self, task_id: str, worker_id: str, message: str, *, retries: int, retry_after: timedelta
    ) -> Outcome:
        """Report a failure; with `retries` 0 it becomes an incident."""
        ...

    async def bpmn_error(
        self,
        task_id: str,
        worker_id: str,
        code: str,
        message: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Raise a BPMN error at the task; an incident if nothing in the model catches it."""
        ...

    async def extend_lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a fetched task longer, counted from now."""
        ...

    async def unlock_all(self, worker_id: str) -> int:
        """Free what a former life of this worker still holds; returns how many."""
        ...

    async def user_tasks(
        self, root_instance_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> Sequence[EngineUserTask]:
        """List the open user tasks below these root instances, oldest first."""
        ...

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Outcome:
        """Finish a user task and let its instance go on."""
        ...

    async def correlate(self, message: Message, *, tx: Transaction | None = None) -> Correlation:
        """Hand a message to the one who waits for it; a waiting instance goes before a start event.

        Raises `NotFound` if nobody waits for it, `Conflict` if more than one does.
        """
        ...

    async def signal(
        self, name: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> None:
        """Tell a signal to all who wait for it, and start each workflow that begins with it.

        Only a workflow's latest version counts.  Nobody waiting is no error.
        """
        ...

    async def delete_instances(
        self, instance_ids: Sequence[str], reason: str, *, tx: Transaction | None = None
    ) -> None:
        """Terminate instances and those they called; unknown or ended ones are no error."""
        ...

    async def instances(self, instance_ids: Sequence[str]) -> Sequence[Instance]:
        """Look instances up by id, called ones included when their root is named."""
        ...

    async def running_instances(self, workflow_key: str) -> int:
        """Count the active instances of all versions of a workflow."""
        ...

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the active instances of every workflow that has some, by its key."""
        ...

    async def history(self, root_instance_ids: Sequence[str]) -> Sequence[ActivityRecord]:
        """List what happened below these root instances, oldest first."""
        ...

    async def incidents(self, root_instance_ids: Sequence[str] | None = None) -> Sequence[Incident]:
        """List open incidents, of all instances by default."""
        ...

    async def retry_incident(self, incident_id: str, *, retries: int = 1) -> None:
        """Give the failed work `retries` more tries; `NotFound` if there is no such incident."""
        ...

    async def changes(self, limit: int) -> Sequence[EngineChange]:
        """Read the oldest unconfirmed entries of the feed."""
        ...

    async def confirm_changes(
        self, change_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Drop entries that have been applied."""
        ...
