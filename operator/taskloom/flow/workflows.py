"""Workflows are deployed, changed, run and removed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from taskloom.domain.workflows import Workflow, WorkflowVersion
from taskloom.errors import Conflict, Invalid, NotFound
from taskloom.flow.check_input import check_input, check_schema
from taskloom.flow.services import Services
from taskloom.ids import derived_id, new_id
from taskloom.ports.engine import Deployment, Instance, StartRequest
from taskloom.store.transaction import Transaction

API = "api"
EXECUTED = "execute:"
"""How the start ids begin that are made here for starts without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a workflow is to be; None leaves what is there."""

    name: str | None = None
    bpmn: str | None = None
    description: str | None = None
    input_schema: Mapping[str, Any] | None = None


async def create_workflow(services: Services, draft: Draft, *, by: str | None = None) -> Workflow:
    """Deploy a new workflow, whose key is its process's id; `Conflict` if the key is taken."""
    if draft.bpmn is None or not draft.name:
        raise Invalid("A workflow needs a name and a bpmnFile.", field="bpmnFile")
    summary = await services.engine.inspect(draft.bpmn.encode())
    async with services.workflows.begin() as tx:
        if await tx.workflows.by_key(summary.process_id) is not None:
            raise Conflict(
                f"There is a workflow {summary.process_id} already: change it with PATCH, "
                "or give the process another id."
            )
        fresh = new_workflow(services, summary.process_id, draft.name, managed_by=API, by=by)
        workflow = await deploy(services, tx, fresh, draft)
    await retry_starts(services, workflow.key)
    return workflow


async def update_workflow(
    services: Services, workflow_id: UUID, draft: Draft, *, by: str | None = None
) -> Workflow:
    """Change a workflow; a new model makes a new version, which new instances use."""
    async with services.workflows.begin() as tx:
        before = await _editable(tx, workflow_id)
        workflow = await deploy(services, tx, replace(before, modified_by=by), draft)
    await retry_starts(services, workflow.key)
    return workflow


async def deploy(services: Services, tx: Transaction, workflow: Workflow, draft: Draft) -> Workflow:
    """Bring a workflow to what `draft` says, deploying its model if it has one."""
    if draft.input_schema is not None:
        check_schema(draft.input_schema)
    changed = replace(
        workflow,
        name=draft.name or workflow.name,
        description=workflow.description if draft.description is None else draft.description,
        input_schema=(
            workflow.input_schema if draft.input_schema is None else json.dumps(draft.input_schema)
        ),
    )
    if draft.bpmn is None:
        await tx.workflows.put(changed)
        return changed
    engine = services.engine
    shared = tx if engine.joins(tx) else None
    deployment = await engine.deploy(workflow.key, draft.bpmn.encode(), tx=shared)
    changed = replace(changed, version=deployment.version)
    await tx.workflows.put(changed)
    await _forget_lost_versions(services, tx, changed.id)
    await tx.workflows.put_version(_version(services, changed, deployment, draft.bpmn))
    return changed


async def _forget_lost_versions(services: Services, tx: Transaction, workflow_id: UUID) -> None:
    """Forget versions that the engine does not have: another one may have had them before."""
    versions = await tx.workflows.versions([workflow_id])
    known = await services.engine.known_definitions(
        [each.definition_id for each in versions], tx=tx if services.engine.joins(tx) else None
    )
    for version in versions:
        if version.definition_id not in known:
            await tx.workflows.remove_version(version.id)


async def retry_starts(services: Services, workflow_key: str) -> None:
    """Try the starts again that failed while the workflow was unknown or wrong."""
    async with services.tasks.begin() as tx:
        if await tx.jobs.retry_starts(workflow_key):
            tx.notify("jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """Instances that are to end with what they run by, and why."""

    instance_ids: Sequence[str] = ()
    reason: str = ""


async def delete_workflow(
    services: Services, workflow_id: UUID, *, ending: Termination = Termination()
) -> None:
    """Remove a workflow; `Conflict` while it is mapped or instances of it run but those ending."""
    async with services.workflows.begin() as tx:
        workflow = await _editable(tx, workflow_id)
        async with services.tasks.begin() as tasks_tx:
            mapped = await tasks_tx.mappings.used_by(workflow.key)
        if mapped:
            raise Conflict(
                f"The workflow {workflow.key} is used by {mapped} mapping(s): remove them first."
            )
        versions = await tx.workflows.versions([workflow.id])
        await _undeploy(services, tx, [version.definition_id for version in versions], ending)
        await tx.workflows.remove(workflow.id)


async def delete_version(
    services: Services, workflow_id: UUID, number: int, *, ending: Termination = Termination()
) -> None:
    """Remove an old version; the latest is refused."""
    async with services.workflows.begin() as tx:
        workflow = await _editable(tx, workflow_id)
        version = await tx.workflows.version(workflow_id, number)
        if version is None:
            raise NotFound(f"The workflow {workflow.key} has no version {number}.")
        if number == workflow.version:
            raise Invalid(
                f"Version {number} is the latest of the workflow {workflow.key} and cannot be "
                "deleted: delete the workflow, or deploy a newer version first."
            )
        await _undeploy(services, tx, [version.definition_id], ending)
        await tx.workflows.remove_version(version.id)


async def execute_workflow(
    services: Services,
    workflow_id: UUID,
    variables: Mapping[str, Any],
    *,
    version: int | None = None,
    start_id: str | None = None,
    business_key: str | None = None,
) -> Instance:
    """Start an instance now; a `start_id` given twice starts one only.

    Without a `business_key` the instance has its start id as one.
    """
    async with services.workflows.begin() as tx:
        workflow = await tx.workflows.get(workflow_id)
        if workflow is None:
            raise NotFound(f"There is no workflow {workflow_id}.")
        if workflow.suspended:
            raise Conflict(f"The workflow {workflow.key} is suspended.")
        number = workflow.version if version is None else version
        wanted = await tx.workflows.version(workflow_id, number)
    if wanted is None:
        raise NotFound(f"The workflow {workflow.key} has no version {number}.")
    schema = wanted.input_schema if version is not None else workflow.input_schema
    if schema is not None:
        check_input(json.loads(schema), variables)
    return await services.engine.start(
        StartRequest(
            workflow_key=workflow.key,
            start_id=start_id or f"{EXECUTED}{new_id()}",
            variables=variables,
            business_key=business_key,
            definition_id=wanted.definition_id,
            fresh=start_id is None,
        )
    )


def new_workflow(
    services: Services, key: str, name: str, *, managed_by: str, by: str | None = None
) -> Workflow:
    """Give a workflow that has no version yet."""
    now = services.now()
    return Workflow(
        id=new_id(),
        key=key,
        name=name,
        description=None,
        provider="bpmn",
        version=0,
        input_schema=None,
        suspended=False,
        managed_by=managed_by,
        created_on=now,
        modified_on=now,
        created_by=by,
        modified_by=by,
        deleted=False,
        deleted_on=None,
        deleted_by=None,
    )


def _version(
    services: Services, workflow: Workflow, deployment: Deployment, bpmn: str
) -> WorkflowVersion:
    return WorkflowVersion(
        id=derived_id("version", workflow.id, deployment.version),
        workflow_id=workflow.id,
        version=deployment.version,
        definition_id=deployment.definition_id,
        digest=deployment.digest,
        bpmn=bpmn,
        input_schema=workflow.input_schema,
        topics=tuple(sorted(deployment.topics)),
        created_on=services.now(),
    )


async def _editable(tx: Transaction, workflow_id: UUID) -> Workflow:
    workflow = await tx.workflows.get(workflow_id, lock=True)
    if workflow is None:
        raise NotFound(f"There is no workflow {workflow_id}.")
    if workflow.managed_by != API:
        raise Conflict(
            f"The workflow {workflow.key} is declared by {workflow.managed_by}: change it there."
        )
    return workflow


async def _undeploy(
    services: Services, tx: Transaction, definition_ids: list[str], ending: Termination
) -> None:
    shared = tx if services.engine.joins(tx) else None
    if ending.instance_ids:
        await services.engine.delete_instances(ending.instance_ids, ending.reason, tx=shared)
    await services.engine.undeploy(definition_ids, tx=shared)
