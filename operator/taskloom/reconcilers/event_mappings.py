"""EventMapping objects into event_workflows rows."""

from collections.abc import Mapping, Sequence
from functools import partial

from taskloom.domain.conditions import Reason
from taskloom.domain.workflows import EventMapping as Row
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression
from taskloom.reconcilers.settle import Plan, Unresolved, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed
from taskloom.resources.event_mapping import EventMapping
from taskloom.resources.mapping import MappingSpec
from taskloom.resources.workflow import Workflow


def plan_event_mappings(
    world: World, rows: Sequence[Row], workflows: Mapping[str, WorkflowRow]
) -> Plan[Row]:
    """Decide; `workflows` are those the database has, by key."""

    def make(desired: Desired, mapping: EventMapping) -> tuple[Row, Verdict]:
        spec = mapping.spec
        check_expression(spec.filter, "spec.filter")
        check_expression(spec.variables, "spec.variables")
        check_expression(spec.business_key, "spec.businessKey")
        key = mapped_workflow(world, desired, spec, workflows)
        row = Row(
            id=desired.id,
            event_key=spec.event_key,
            workflow_key=key,
            filter=spec.filter,
            variables=spec.variables,
            business_key=spec.business_key,
            suspended=spec.suspend,
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        fields = {"mappingId": str(row.id), "workflowKey": key}
        return row, programmed(desired, fields, suspended=spec.suspend)

    return settle(
        world,
        [want(d, partial(make, d, m)) for d, m in world.of(EventMapping)],
        rows,
        claim_of=_claim,
        heir=lambda row: f"retained:{row.managed_by.partition(':')[2]}",
    )


def mapped_workflow(
    world: World, desired: Desired, spec: MappingSpec, workflows: Mapping[str, WorkflowRow]
) -> str:
    """Find the key of the workflow that a mapping starts; it must be deployed."""
    if spec.workflow_ref is None:
        key = spec.workflow_key or ""
        if key not in workflows:
            raise Unresolved(Reason.WORKFLOW_NOT_FOUND, f"there is no workflow `{key}`")
        return key
    name = spec.workflow_ref.name
    found = world.find(Workflow, desired.namespace, name)
    if found is None:
        message = f"there is no Workflow {desired.namespace}/{name}"
        raise Unresolved(Reason.WORKFLOW_NOT_FOUND, message)
    owner, workflow = found
    key = workflow.spec.external_identifier or owner.name
    if key not in workflows or workflows[key].managed_by != owner.manager:
        message = f"the Workflow {desired.namespace}/{name} is not deployed"
        raise Unresolved(Reason.WORKFLOW_NOT_FOUND, message)
    return key


def _claim(row: Row) -> str:
    """Two mappings of one key to one workflow by one filter would start everything twice."""
    parts = [row.event_key, row.workflow_key]
    return " → ".join(parts if row.filter is None else [*parts, row.filter])
