"""TaskMapping: a task starts a workflow of its own."""

from typing import ClassVar, Literal

from taskloom.resources.base import Column, Names, Part, Resource, Rule, ready_columns
from taskloom.resources.fields import EventKey, Expression
from taskloom.resources.mapping import MappingSpec, MappingStatus, key_rules


class TaskMappingSpec(MappingSpec):
    """A task starts a workflow; it always has the variable `taskId`, `variables` adds others."""

    rules: ClassVar[tuple[Rule, ...]] = key_rules("taskKey", "task")

    task_key: EventKey
    """Key of the task, or `*` alone for every task."""
    filter: Expression | None = None
    """CEL over `task` (its fields as REST shows them); only tasks for which it is true
    start it."""


class TaskMapping(Resource):
    """A task starts a workflow of its own."""

    names: ClassVar[Names] = Names(kind="TaskMapping", plural="taskmappings", short="taskmap")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Key", path=".spec.taskKey"),
        Column(name="Workflow", path=".status.workflowKey"),
        *ready_columns(),
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.taskKey",)
    status_type: ClassVar[type[Part]] = MappingStatus

    kind: Literal["TaskMapping"]
    spec: TaskMappingSpec
