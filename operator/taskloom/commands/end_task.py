"""``end-task``: the task that the variable `taskId` names is completed."""

from uuid import UUID

from taskloom.domain.commands import CommandResult
from taskloom.errors import Invalid
from taskloom.ports.engine import ExternalTask


class EndTask:
    """The command of topic ``end-task``."""

    topic = "end-task"
    variables = ("taskId",)

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Read the task's id from the variables."""
        value = task.variables.get("taskId")
        try:
            return CommandResult(complete_task=UUID(str(value)))
        except ValueError:
            raise Invalid(
                f'The variable "taskId" must hold the id of a task, not {value!r}: '
                "a task's workflow is started with it.",
                field="taskId",
            ) from None
