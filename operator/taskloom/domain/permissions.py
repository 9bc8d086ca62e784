"""What a caller may do, and the codes that tokens carry for it.

The codes are those of the service that Taskloom takes the place of, so its tokens go on working.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

EVERYTHING = "*"


class Permission(StrEnum):
    """A right to one kind of call; its value is the code in a token's `permissions` claim."""

    CREATE_CLIENT_APP = "16001"
    VIEW_EVENTS = "16002"
    VIEW_TASKS = "16003"
    VIEW_USER_TASKS = "16004"
    COMPLETE_USER_TASKS = "16005"
    MANAGE_MAPPINGS = "16006"
    TRIGGER_EVENTS = "16007"
    DELETE_TASKS = "16008"
    DELETE_USER_TASKS = "16009"
    SUBSCRIBE_WEBHOOKS = "16010"
    UPDATE_TASKS = "16011"
    VIEW_WORKFLOWS = "ViewWorkflow"
    CREATE_WORKFLOWS = "CreateWorkflow"
    UPDATE_WORKFLOWS = "UpdateWorkflow"
    DELETE_WORKFLOWS = "DeleteWorkflow"
    EXECUTE_WORKFLOWS = "ExecuteWorkflow"
    VIEW_RESOURCES = "ViewResource"


_SECOND_CODES = {
    Permission.VIEW_WORKFLOWS: "1",
    Permission.CREATE_WORKFLOWS: "2",
    Permission.UPDATE_WORKFLOWS: "3",
    Permission.DELETE_WORKFLOWS: "4",
    Permission.EXECUTE_WORKFLOWS: "5",
}


def codes(permission: Permission) -> tuple[str, ...]:
    """List the codes that grant a permission, the plainest first (`*` grants all)."""
    second = _SECOND_CODES.get(permission)
    return (permission.value,) if second is None else (permission.value, second)


def granted(held: Iterable[str], permission: Permission) -> bool:
    """Tell whether any of the codes held grants the permission."""
    wanted = {EVERYTHING, *codes(permission)}
    return any(code in wanted for code in held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as far as the credential says: a name for the records, and the codes held."""

    subject: str
    permissions: frozenset[str]

    def may(self, permission: Permission) -> bool:
        """Tell whether this caller holds the permission."""
        return granted(self.permissions, permission)
