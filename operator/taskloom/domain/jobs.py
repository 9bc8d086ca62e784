"""Jobs: what a committed transaction still has to do outside of itself.

::

    ready ──► done
      │ ▲
      │ └── retried later (attempts + 1)
      └───► dead      after MAX_ATTEMPTS, or when it can never work
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID


class JobKind(StrEnum):
    """What there is to do."""

    START_PROCESS = "start-process"
    START_CHILDREN = "start-children"  # of an engine that cannot join our transactions
    COMPLETE_USER_TASK = "complete-user-task"
    DELETE_INSTANCES = "delete-instances"


class JobState(StrEnum):
    """Where a job stands."""

    READY = "ready"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be done; its id is the idempotency key.

    It falls due after so long: one that stands behind a request is the request's to do first.
    """

    id: UUID
    kind: JobKind
    payload: Mapping[str, Any]
    event_id: UUID | None = None
    task_id: UUID | None = None
    after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A claimed or finished job; `attempts` counts the present one."""

    id: UUID
    kind: JobKind
    state: JobState
    payload: Mapping[str, Any]
    event_id: UUID | None
    task_id: UUID | None
    instance_id: str | None
    attempts: int
    error: str | None
    created_on: datetime
    finished_at: datetime | None

    @property
    def is_first_try(self) -> bool:
        """Whether nothing of it can have been done: whoever is made ready again keeps its error."""
        return self.attempts == 1 and self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """A start job with its event (None for a task's start) and its mapping's expressions."""

    job: Job
    event_key: str | None
    event_payload: str | None  # JSON text
    event_source: str | None
    variables: str | None
    business_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """What is recorded of a start: whether it is one of ours, and which instance it led to."""

    is_known: bool
    instance_id: str | None = None


MAX_ATTEMPTS = 60
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0


def retry_delay(attempts: int) -> timedelta | None:
    """Give the wait after the `attempts`-th failure, or None when it is given up.

    Doubles from half a second to a minute: about fifty minutes of outage are outlived.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    return timedelta(seconds=min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(attempts - 1, 10)))
