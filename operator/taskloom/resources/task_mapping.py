"""TaskMapping: a task starts a workflow of its own."""

from typing import ClassVar, Literal

from taskloom.resources.base import Column, Names, Part, Resource, Rule, ready_columns
from taskloom.resources.fields import EventKey
from taskloom.resources.mapping import MappingSpec, MappingStatus, key_rules


class TaskMappingSpec(MappingSpec):
    """A task starts a workflow, which gets the variable `taskId`."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *key_rules("taskKey"),
        Rule(
            rule="!self.taskKey.contains('*')",
            message="`taskKey` must be one key: a task starts one workflow",
            field="taskKey",
        ),
    )

    task_key: EventKey
    """Key of the task."""


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
