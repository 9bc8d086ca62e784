"""Tasks and user tasks, and which change of status is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from taskloom.errors import Invalid


class TaskStatus(StrEnum):
    """Where a task stands; ``completed`` is final."""

    PENDING = "pending"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"


class UserTaskStatus(StrEnum):
    """Where a user task stands; ``completed`` and ``cancelled`` are final."""

    PENDING = "pending"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"  # the workflow went another way


class Priority(StrEnum):
    """How urgent."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work that a workflow asked for; `external_id` is the process instance that sees to it."""

    id: UUID
    key: str
    name: str | None
    description: str | None
    status: TaskStatus
    priority: Priority
    severity: str | None
    type: str | None
    start_date: datetime | None
    due_date: datetime | None
    end_date: datetime | None
    assignee_id: str | None
    metadata: str | None  # JSON text
    external_id: str | None
    notes: str | None
    workflow_key: str | None
    event_id: UUID | None
    origin_instance_id: str | None
    external_task_id: str | None
    created_on: datetime
    modified_on: datetime
    created_by: str | None
    modified_by: str | None
    deleted: bool
    deleted_on: datetime | None
    deleted_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTask:
    """A step of a task's workflow that waits for a person; `external_id` is the engine's id."""

    id: UUID
    task_id: UUID
    external_id: str
    key: str | None
    name: str | None
    description: str | None
    status: UserTaskStatus
    priority: Priority
    severity: str | None
    type: str | None
    start_date: datetime | None
    due_date: datetime | None
    end_date: datetime | None
    assignee_id: str | None
    candidates: str | None  # JSON text
    form_key: str | None
    metadata: str | None  # JSON text
    created_on: datetime
    modified_on: datetime
    created_by: str | None
    modified_by: str | None
    deleted: bool
    deleted_on: datetime | None
    deleted_by: str | None


_E = TypeVar("_E", bound=StrEnum)

_DATES = {"startDate": "start_date", "dueDate": "due_date", "endDate": "end_date"}
_TEXTS = {
    "name": "name",
    "description": "description",
    "severity": "severity",
    "type": "type",
    "assigneeId": "assignee_id",
    "notes": "notes",
}
TASK_FIELDS = ("key", "status", "priority", "metadata", *_TEXTS, *_DATES)
"""What a caller or a workflow may say of a task."""


def check_task_fields(given: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """Turn a task's fields as JSON (camelCase) into column values.

    Unknown fields and values of the wrong kind raise `Invalid` naming the field; `where` is put
    before its name.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = f"{where}{name}"
        if name in _DATES:
            values[_DATES[name]] = None if value is None else _instant(value, field)
        elif name == "status":
            values["status"] = _member(TaskStatus, value, field)
        elif name == "priority":
            values["priority"] = _member(Priority, value, field)
        elif name == "metadata":
            if not isinstance(value, dict | None):
                raise Invalid(f"{field} must be an object, not {_kind(value)}.", field=field)
            values["metadata"] = value
        elif name == "key":
            if not isinstance(value, str) or not value:
                raise Invalid(f"{field} must be a non-empty string.", field=field)
            values["key"] = value
        elif name in _TEXTS:
            if not isinstance(value, str | None):
                raise Invalid(f"{field} must be a string, not {_kind(value)}.", field=field)
            values[_TEXTS[name]] = value
        else:
            known = ", ".join(TASK_FIELDS)
            raise Invalid(f"{field} is not a field of a task: use {known}.", field=field)
    return values


def _member(kind: type[_E], value: Any, field: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(repr(str(member)) for member in kind)
        raise Invalid(f"{field} must be one of {allowed}, not {value!r}.", field=field) from None


def _instant(value: Any, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Invalid(
            f"{field} must be a date-time such as 2026-11-24T10:00:00Z, not {value!r}.", field=field
        ) from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment


def _kind(value: Any) -> str:
    return {bool: "a boolean", int: "a number", float: "a number", str: "a string"}.get(
        type(value), "null" if value is None else type(value).__name__
    )
