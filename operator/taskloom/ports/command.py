"""What runs when a workflow reaches an external task of some topic."""

from typing import Protocol

from taskloom.domain.commands import CommandResult
from taskloom.ports.engine import ExternalTask


class Command(Protocol):
    """Decides what an external task does.

    It may call other systems, and must bear being called twice for one task, as every caller that
    promises at-least-once must.  What it wants changed in Taskloom it returns.

    Raise `taskloom.domain.commands.BpmnError` for an error that the model catches,
    `taskloom.errors.Permanent` or `Invalid` for an incident at once, `Temporary` to be called again
    after its delay, and anything else to be called again by the retry schedule.

    An attribute `variables` (names) may say which of the task's it reads: an engine elsewhere is
    asked for these only.  Without it all that the task sees are there.
    """

    @property
    def topic(self) -> str:
        """The external tasks' topic."""
        ...

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Decide what `task` does."""
        ...
