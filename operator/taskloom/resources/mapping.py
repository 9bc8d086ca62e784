"""What EventMapping and TaskMapping share: which workflow starts, with what."""

from typing import Annotated, Literal

from pydantic import Field

from taskloom.resources.base import Part, Rule, exactly_one
from taskloom.resources.fields import Identifier
from taskloom.resources.references import ObjectRef
from taskloom.resources.status import Status
from taskloom.resources.workflow import WorkflowKey


def key_rules(field: str) -> tuple[Rule, ...]:
    """Make the rules about the key that a mapping maps."""
    return (
        exactly_one("workflowRef", "workflowKey"),
        Rule(
            rule=f"self.{field} == oldSelf.{field}",
            message=f"`{field}` may not be changed after creation; create a new object instead",
            field=field,
        ),
    )


class MappingSpec(Part):
    """Which workflow starts, with what."""

    workflow_ref: ObjectRef | None = None
    """The Workflow to start."""
    workflow_key: WorkflowKey | None = None
    """Key of a workflow that no Workflow object describes."""
    suspend: bool = False
    """Stops starting instances."""
    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    """Delete ends the mapping with the object; Retain leaves it in the database."""


class MappingStatus(Status):
    """What became of a mapping."""

    mapping_id: Identifier | None = None
    """Id of the mapping in the database."""
    workflow_key: Annotated[str, Field(max_length=253)] | None = None
    """Key of the workflow that it starts."""
