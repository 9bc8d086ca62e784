"""TaskMapping objects into task_workflows rows."""

from collections.abc import Mapping, Sequence
from functools import partial

from taskloom.domain.workflows import TaskMapping as Row
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.event_mappings import mapped_workflow
from taskloom.reconcilers.settle import Plan, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed
from taskloom.resources.task_mapping import TaskMapping


def plan_task_mappings(
    world: World, rows: Sequence[Row], workflows: Mapping[str, WorkflowRow]
) -> Plan[Row]:
    """Decide; `workflows` are those the database has, by key."""

    def make(desired: Desired, mapping: TaskMapping) -> tuple[Row, Verdict]:
        spec = mapping.spec
        key = mapped_workflow(world, desired, spec, workflows)
        row = Row(
            id=desired.id,
            task_key=spec.task_key,
            workflow_key=key,
            suspended=spec.suspend,
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        fields = {"mappingId": str(row.id), "workflowKey": key}
        return row, programmed(desired, fields, suspended=spec.suspend)

    return settle(
        world,
        [want(d, partial(make, d, m)) for d, m in world.of(TaskMapping)],
        rows,
        claim_of=lambda row: row.task_key,
    )
