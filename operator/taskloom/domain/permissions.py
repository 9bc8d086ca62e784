"""What a caller may do, the codes that tokens carry for it, and how a cluster's roles grant it.

The codes are those of the service that Taskloom takes the place of, so its tokens go on working;
what that service had not has a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

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
    WORK_ON_EXTERNAL_TASKS = "WorkExternalTask"
    VIEW_INSTANCES = "ViewInstance"
    CONTROL_INSTANCES = "ControlInstance"


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


@dataclass(frozen=True, slots=True)
class Right:
    """What a rule of a Kubernetes role grants: a verb on a resource of the group taskloom.dev.

    No kind of object has such a resource's name: who may change objects gains nothing by it here.
    """

    resource: str
    verb: str


RIGHTS: Mapping[Permission, Right] = MappingProxyType(
    {
        Permission.CREATE_CLIENT_APP: Right("clients", "create"),
        Permission.VIEW_EVENTS: Right("events", "get"),
        Permission.VIEW_TASKS: Right("tasks", "get"),
        Permission.VIEW_USER_TASKS: Right("usertasks", "get"),
        Permission.COMPLETE_USER_TASKS: Right("usertasks", "update"),
        Permission.MANAGE_MAPPINGS: Right("mappings", "update"),
        Permission.TRIGGER_EVENTS: Right("events", "create"),
        Permission.DELETE_TASKS: Right("tasks", "delete"),
        Permission.DELETE_USER_TASKS: Right("usertasks", "delete"),
        Permission.SUBSCRIBE_WEBHOOKS: Right("webhooks", "create"),
        Permission.UPDATE_TASKS: Right("tasks", "update"),
        Permission.VIEW_WORKFLOWS: Right("processes", "get"),
        Permission.CREATE_WORKFLOWS: Right("processes", "create"),
        Permission.UPDATE_WORKFLOWS: Right("processes", "update"),
        Permission.DELETE_WORKFLOWS: Right("processes", "delete"),
        Permission.EXECUTE_WORKFLOWS: Right("processes", "execute"),
        Permission.VIEW_RESOURCES: Right("declarations", "get"),
        Permission.WORK_ON_EXTERNAL_TASKS: Right("externaltasks", "update"),
        Permission.VIEW_INSTANCES: Right("instances", "get"),
        Permission.CONTROL_INSTANCES: Right("instances", "update"),
    }
)
"""The right that stands for each permission where a cluster's roles decide."""


SCOPES: Mapping[str, Permission] = MappingProxyType(
    {
        "engine.work": Permission.WORK_ON_EXTERNAL_TASKS,
        "engine.start": Permission.EXECUTE_WORKFLOWS,
    }
)
"""What a ClientApp may do on /engine-rest, by its scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as far as the credential says: a name for the records, and the codes held."""

    subject: str
    permissions: frozenset[str]

    def may(self, permission: Permission) -> bool:
        """Tell whether this caller holds the permission."""
        return granted(self.permissions, permission)
