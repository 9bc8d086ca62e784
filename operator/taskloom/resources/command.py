"""Command: a service of the user's that runs an external-task topic."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import Column, Names, Part, Resource, Rule, exactly_one, ready_columns
from taskloom.resources.fields import DNS_LABEL, Duration, Host, Url, bounded
from taskloom.resources.headers import Headers
from taskloom.resources.status import Status

Topic = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_]([-A-Za-z0-9._:/]*[A-Za-z0-9_])?$"),
]


class ServiceRef(Part):
    """A Service of the cluster, in the object's namespace."""

    atomic: ClassVar[bool] = True

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
    """Name of the Service."""
    port: Annotated[int, bounded(1, 65_535)] = 80
    """Port of the Service."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^/\S*$")] = "/"
    """Path of the call."""


class HttpCommand(Part):
    """The call: POST {topic, taskId, instanceId, businessKey, retries, variables}."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("url", "serviceRef"),
        Rule(
            rule=r"!has(self.url) || self.url.matches('^(?i:https?)://[^/?#@\\s]+([/?#]\\S*)?$')",
            message="`url` must be an absolute http or https URL without user information",
            field="url",
        ),
        Rule(
            rule="duration(self.timeout) > duration('0s') "
            "&& duration(self.timeout) <= duration('1h')",
            message="`timeout` must be more than 0s and at most 1h",
            field="timeout",
        ),
    )

    url: Url | None = None
    """Where to call."""
    service_ref: ServiceRef | None = None
    """The Service to call; needs a cluster."""
    timeout: Duration = "30s"
    """For the whole call; at most 1h."""
    headers: Headers | None = None
    """Headers to add."""


class CommandSpec(Part):
    """Which topic is run by which call."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!(self.topic in ['create-tasks', 'end-task'])",
            message="`topic` must not be create-tasks or end-task, which are built in",
            field="topic",
        ),
    )

    topic: Topic
    """The external-task topic, as in the BPMN."""
    http: HttpCommand
    """The call that runs it."""


class CommandStatus(Status):
    """What became of a Command."""

    topic: Host | None = None
    """The topic that is served."""
    endpoint: Annotated[str, Field(max_length=2048)] | None = None
    """Where the call goes, without its query."""


class Command(Resource):
    """A service of the user's that runs an external-task topic."""

    names: ClassVar[Names] = Names(kind="Command", plural="commands", short="tcmd")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Topic", path=".spec.topic"),
        *ready_columns(Column(name="Endpoint", path=".status.endpoint", priority=1)),
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.topic",)
    status_type: ClassVar[type[Part]] = CommandStatus

    kind: Literal["Command"]
    spec: CommandSpec
