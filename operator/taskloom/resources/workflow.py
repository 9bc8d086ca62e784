"""Workflow: a BPMN process and its versions."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import (
    Column,
    Names,
    Part,
    Resource,
    Rule,
    exactly_one,
    immutable,
    ready_columns,
)
from taskloom.resources.fields import (
    FREE_FORM,
    LIST_SET,
    Count,
    DataKey,
    Host,
    Identifier,
    ObjectName,
    bounded,
)
from taskloom.resources.status import Status

WorkflowKey = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_]([-A-Za-z0-9._:/]*[A-Za-z0-9_])?$"),
]


class BpmnConfigMapRef(Part):
    """A BPMN file in a ConfigMap."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey = "process.bpmn"
    """Key in its data or binaryData."""


class Bpmn(Part):
    """Where the BPMN comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("inline", "configMapKeyRef"),)

    inline: Annotated[str, Field(min_length=1, max_length=393_216)] | None = None
    """The XML itself."""
    config_map_key_ref: BpmnConfigMapRef | None = None
    """A value of a ConfigMap."""


class WorkflowSpec(Part):
    """A BPMN process."""

    rules: ClassVar[tuple[Rule, ...]] = (immutable("externalIdentifier"),)

    external_identifier: WorkflowKey | None = None
    """The workflow's key, which mappings and the REST API use; the object's name by default."""
    name: Annotated[str, Field(max_length=256)] | None = None
    """Name for people."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """What the workflow is for."""
    bpmn: Bpmn
    """Where the BPMN comes from."""
    input_schema: Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM)] | None = None
    """JSON Schema (2020-12) of the start variables, checked before an instance starts."""
    version_history_limit: Annotated[int, bounded(1, 1000)] = 20
    """How many versions without running instances are kept."""
    deletion_policy: Literal["Delete", "Retain"] = "Retain"
    """Retain leaves the workflow in the engine; Delete removes it once no instance runs."""


class WorkflowStatus(Status):
    """What became of a Workflow."""

    workflow_id: Identifier | None = None
    """Id of the workflow in the database."""
    external_identifier: Host | None = None
    """The key that is in use."""
    current_version: Count | None = None
    """The version that new instances run."""
    digest: Annotated[str, Field(max_length=80)] | None = None
    """Digest of its BPMN."""
    engine: Annotated[str, Field(max_length=64)] | None = None
    """The engine that runs it."""
    running_instances: Count | None = None
    """How many instances run, of all versions."""
    topics: (
        Annotated[tuple[Host, ...], Field(max_length=128, json_schema_extra=LIST_SET)] | None
    ) = None
    """External-task topics the BPMN uses; TopicsServed tells whether each has a command."""


class Workflow(Resource):
    """A BPMN process and its versions."""

    names: ClassVar[Names] = Names(kind="Workflow", plural="workflows", short="bpwf")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Key", path=".status.externalIdentifier"),
        Column(name="Version", path=".status.currentVersion", type="integer"),
        *ready_columns(
            Column(name="Running", path=".status.runningInstances", type="integer", priority=1)
        ),
    )
    status_type: ClassVar[type[Part]] = WorkflowStatus

    kind: Literal["Workflow"]
    spec: WorkflowSpec
