"""``create-tasks``: makes the tasks that the variable `tasks` lists."""

import json
from collections.abc import Mapping
from typing import Any

from taskloom.domain.commands import CommandResult
from taskloom.errors import Invalid
from taskloom.ports.engine import ExternalTask

_MAX_TASKS = 10_000


class CreateTasks:
    """The command of topic ``create-tasks``."""

    topic = "create-tasks"
    variables = ("tasks",)

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Read the tasks from the task's variables."""
        return CommandResult(create_tasks=read_tasks(task.variables))


def read_tasks(variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Find the list of tasks in the variable `tasks`.

    Workflows write it as ``{"values": [...]}``, as a list, or as either in a JSON string, and
    `values` may be a JSON string of its own.  Anything else raises `Invalid`.
    """
    if "tasks" not in variables:
        raise Invalid(
            'The workflow has no variable "tasks": give it {"values": [{"key": …, "name": …}]}.',
            field="tasks",
        )
    value = _unwrap(variables["tasks"], "tasks")
    if isinstance(value, Mapping) and "values" in value:
        value = _unwrap(value["values"], "tasks.values")
    if not isinstance(value, list):
        raise Invalid(
            'The variable "tasks" must be a list of tasks or {"values": [...]}, '
            f"not {type(value).__name__}.",
            field="tasks",
        )
    if len(value) > _MAX_TASKS:
        raise Invalid(f'The variable "tasks" lists more than {_MAX_TASKS} tasks.', field="tasks")
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise Invalid(
                f"tasks[{index}] must be an object with the fields of a task, "
                f"not {type(item).__name__}.",
                field=f"tasks[{index}]",
            )
    return tuple(value)


def _unwrap(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as exc:
        raise Invalid(f'The variable "{name}" is text, but not JSON: {exc}.', field=name) from exc
