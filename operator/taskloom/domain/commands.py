"""What a command decides: a value, which is then carried out in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from taskloom.errors import TaskloomError


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An outgoing event to be published; `payload` is any JSON value."""

    key: str
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What is to happen because an external task was reached.

    `variables` go back to the process; `create_tasks` are tasks as JSON (camelCase fields);
    `complete_task` is the id of a task that is finished; `announce` is told to subscribers.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    create_tasks: tuple[Mapping[str, Any], ...] = ()
    complete_task: UUID | None = None
    announce: tuple[Announcement, ...] = ()


class BpmnError(TaskloomError):
    """A business error that the model can catch at a boundary event."""

    code = "bpmn-error"

    def __init__(
        self,
        error_code: str,
        message: str = "",
        *,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Name the `error_code` that the model's error event has."""
        super().__init__(message or error_code)
        self.error_code = error_code
        self.variables = dict(variables or {})
