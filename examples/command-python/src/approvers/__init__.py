"""A command of one's own: who has to approve a purchase."""

from taskloom.domain.commands import BpmnError, CommandResult
from taskloom.errors import Invalid
from taskloom.ports.engine import ExternalTask

MANAGERS_UP_TO = 10_000
BOARD_UP_TO = 100_000


class ChooseApprover:
    """The command of topic ``choose-approver``: sets the variable `approver` by `amount`.

    It may be called twice for one task, and decides the same both times.
    """

    topic = "choose-approver"

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Decide who approves; the BPMN error TOO_EXPENSIVE if nobody may."""
        amount = task.variables.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise Invalid('The variable "amount" must be a number.', field="amount")
        if amount > BOARD_UP_TO:
            raise BpmnError("TOO_EXPENSIVE", f"Nobody may approve {amount}.")
        return CommandResult(
            variables={"approver": "managers" if amount <= MANAGERS_UP_TO else "board"}
        )
