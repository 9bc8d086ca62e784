"""Tasks and user tasks, and which change of status is allowed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from taskloom.domain.json_text import storable
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
        if name not in _READERS:
            known = ", ".join(TASK_FIELDS)
            raise Invalid(
                f"{where}{name} is not a field of a task: use {known}.", field=f"{where}{name}"
            )
        column, read = _READERS[name]
        values[column] = read(value, f"{where}{name}")
    return values


def _key(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise Invalid(f"{field} must be a non-empty string.", field=field)
    return _storable(value, field)


def _text(value: Any, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"{field} must be a string, not {_kind(value)}.", field=field)
    return _storable(value, field)


def _storable(value: str, field: str) -> str:
    if not storable(value):
        raise Invalid(
            f"{field} holds NUL or half of a surrogate pair, which cannot be stored.", field=field
        )
    return value


def _object(value: Any, field: str) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise Invalid(f"{field} must be an object, not {_kind(value)}.", field=field)


def _status(value: Any, field: str) -> TaskStatus:
    return _member(TaskStatus, value, field)


def _priority(value: Any, field: str) -> Priority:
    return _member(Priority, value, field)


def _member(kind: type[_E], value: Any, field: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(repr(str(member)) for member in kind)
        raise Invalid(f"{field} must be one of {allowed}, not {value!r}.", field=field) from None


def _instant(value: Any, field: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(
            f"{field} must be a date-time such as 2026-11-24T10:00:00Z, not {value!r}.", field=field
        ) from None
    return moment


def _kind(value: Any) -> str:
    return {bool: "a boolean", int: "a number", float: "a number", str: "a string"}.get(
        type(value), "null" if value is None else type(value).__name__
    )


_READERS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "key": ("key", _key),
    "status": ("status", _status),
    "priority": ("priority", _priority),
    "metadata": ("metadata", _object),
    **{name: (column, _text) for name, column in _TEXTS.items()},
    **{name: (column, _instant) for name, column in _DATES.items()},
}
