"""Where a scenario is played: an engine, whatever it is, with its clock.

`Stage` is what an engine must be able to do to be compared; `Scene` is what can be seen of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from tests.conformance.model import Model

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
"""When every scenario begins; the clock stands still but for `Stage.forward`."""

LATE = timedelta(milliseconds=1)
"""How much later than its time a timer fires: never at it, as with any job executor."""


class Result(StrEnum):
    """What an engine answers."""

    DONE = "done"
    GONE = "gone"  # there is no such task any more
    LOCK_LOST = "lock-lost"  # another worker holds it, or none
    REFUSED = "refused"  # it cannot be done, and nothing has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An external task in the hands of a worker."""

    id: str
    instance: str
    element: str
    business_key: str | None
    retries: int | None
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSeen:
    """A process instance; `root` is its own id unless it was called."""

    id: str
    root: str
    process_id: str
    business_key: str | None
    state: str  # active | completed | terminated


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """A line of the history; `key` is the same in every look."""

    key: str
    root: str
    element: str
    state: str  # active | completed | cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalTask:
    """An open user task."""

    id: str
    root: str
    element: str
    fields: Mapping[str, Any]  # those that are set


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSeen:
    """Work that stopped."""

    id: str
    root: str
    element: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that can be seen at one moment; each in the order in which it came."""

    instances: Sequence[InstanceSeen] = ()
    steps: Sequence[StepSeen] = ()
    user_tasks: Sequence[PersonalTask] = ()
    incidents: Sequence[IncidentSeen] = ()
    variables: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # of the process itself, by root


class Stage(Protocol):
    """An engine on which nothing else goes on.  A call that is refused has changed nothing."""

    async def deploy(self, models: Sequence[Model]) -> Result:
        """Deploy models together."""
        ...

    async def start(
        self, process_id: str, business_key: str, variables: Mapping[str, Any]
    ) -> Result:
        """Start an instance by the id of its process."""
        ...

    async def fetch(self, topic: str, worker: str, lock: timedelta) -> Sequence[Work]:
        """Lock all external tasks of a topic that are due, the oldest first."""
        ...

    async def complete(self, task: str, worker: str, variables: Mapping[str, Any]) -> Result:
        """Complete an external task."""
        ...

    async def fail(self, task: str, worker: str, *, retries: int, after: timedelta) -> Result:
        """Fail an external task."""
        ...

    async def bpmn_error(
        self, task: str, worker: str, code: str, message: str, variables: Mapping[str, Any]
    ) -> Result:
        """Throw a BPMN error at an external task."""
        ...

    async def extend_lock(self, task: str, worker: str, lock: timedelta) -> Result:
        """Hold an external task longer."""
        ...

    async def complete_user_task(self, task: str, variables: Mapping[str, Any]) -> Result:
        """Complete a user task."""
        ...

    async def correlate(
        self,
        message: str,
        *,
        business_key: str | None,
        correlation: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> Result:
        """Hand a message to the one who waits for it."""
        ...

    async def signal(self, name: str, variables: Mapping[str, Any]) -> Result:
        """Tell a signal to all who wait for it."""
        ...

    async def retry(self, incident: str) -> Result:
        """Give what has stopped one more try."""
        ...

    async def delete(self, instance: str) -> Result:
        """Delete an instance."""
        ...

    async def forward(self, span: timedelta) -> None:
        """Let time pass, and fire every timer at its time."""
        ...

    async def look(self) -> Scene:
        """See where everything stands."""
        ...
