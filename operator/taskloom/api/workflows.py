"""Workflows: to deploy, to change, to run and to remove."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Path, Response
from pydantic import Field as Detail

from taskloom.api.calls import Count, call, choice_of, chosen, filter_over, where_over
from taskloom.api.door import Caller, Door, idempotency_key, json_response
from taskloom.api.services import Api
from taskloom.api.views import Input, Key, Text, View
from taskloom.domain.permissions import Permission
from taskloom.domain.query_tree import Filter, Queryable, Where
from taskloom.domain.query_values import Field, FieldType
from taskloom.domain.workflows import Workflow, WorkflowVersion
from taskloom.errors import NotFound
from taskloom.flow.render import instant_to_json
from taskloom.flow.workflows import (
    Draft,
    create_workflow,
    delete_version,
    delete_workflow,
    execute_workflow,
    update_workflow,
)
from taskloom.store.transaction import Transaction

router = APIRouter(tags=["workflows"], route_class=Door)

WORKFLOWS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "name": Field(type=FieldType.TEXT),
        "description": Field(type=FieldType.TEXT),
        "provider": Field(type=FieldType.TEXT),
        "workflowVersion": Field(type=FieldType.INTEGER),
        "externalIdentifier": Field(type=FieldType.TEXT),
        "inputSchema": Field(type=FieldType.JSON),
        "createdOn": Field(type=FieldType.DATETIME),
        "modifiedOn": Field(type=FieldType.DATETIME),
        "createdBy": Field(type=FieldType.TEXT),
        "modifiedBy": Field(type=FieldType.TEXT),
    },
    relations=("workflowVersions",),
)

_MAX_VERSION = 2**31 - 1


class WorkflowVersionView(View):
    """One deployed version of a workflow."""

    id: UUID | None = None
    workflow_id: UUID | None = None
    version: int | None = None
    external_workflow_id: str | None = None
    bpmn_diagram: str | None = None
    input_schema: dict[str, Any] | None = None
    topics: list[str] | None = None
    created_on: str | None = None


class WorkflowView(View):
    """A workflow; `workflowVersion` is the latest."""

    id: UUID | None = None
    name: str | None = None
    description: str | None = None
    provider: str | None = None
    workflow_version: int | None = None
    external_identifier: str | None = None
    input_schema: dict[str, Any] | None = None
    created_on: str | None = None
    modified_on: str | None = None
    created_by: str | None = None
    modified_by: str | None = None
    workflow_versions: list[WorkflowVersionView] | None = None


class NewWorkflow(Input):
    """A workflow: `bpmnFile` is the model's XML, plain or in base64."""

    name: Key
    bpmn_file: Annotated[Text, Detail(min_length=1)]
    input_schema: dict[str, Any] | None = None
    description: Text | None = None


class WorkflowChange(Input):
    """What can be changed of a workflow; what is left out stays."""

    name: Key | None = None
    bpmn_file: Text | None = None
    input_schema: dict[str, Any] | None = None
    description: Text | None = None


class Execution(Input):
    """Run a workflow, its latest version unless another is named."""

    workflow_version: Annotated[int, Detail(ge=1, le=_MAX_VERSION, strict=True)] | None = None
    input: dict[str, Any] = Detail(default_factory=dict)


class InstanceView(View):
    """A process instance."""

    id: str
    workflow_key: str
    workflow_version: int
    state: str


@router.get(
    "/workflows",
    response_model=list[WorkflowView],
    **call(Permission.VIEW_WORKFLOWS, "List workflows", asks="filter"),
)
async def list_workflows(api: Api, query: Annotated[Filter, filter_over(WORKFLOWS)]) -> Response:
    """List workflows, oldest first unless an order is asked for."""
    async with api.flow.workflows.begin() as tx:
        rows = await _rows(tx, await tx.workflows.list(query), query)
    return json_response(rows)


@router.get(
    "/workflows/count",
    response_model=Count,
    **call(Permission.VIEW_WORKFLOWS, "Count workflows", asks="where"),
)
async def count_workflows(api: Api, where: Annotated[Where, where_over(WORKFLOWS)]) -> Response:
    """Count the workflows that match."""
    async with api.flow.workflows.begin() as tx:
        count = await tx.workflows.count(where)
    return json_response({"count": count})


@router.get(
    "/workflows/{workflow_id:uuid}",
    response_model=WorkflowView,
    **call(Permission.VIEW_WORKFLOWS, "Look at a workflow", asks="filter"),
)
async def get_workflow(
    api: Api, workflow_id: UUID, query: Annotated[Filter, choice_of(WORKFLOWS)]
) -> Response:
    """Show one workflow."""
    async with api.flow.workflows.begin() as tx:
        workflow = await tx.workflows.get(workflow_id)
        if workflow is None:
            raise NotFound(f"There is no workflow {workflow_id}.")
        rows = await _rows(tx, [workflow], query)
    return json_response(rows[0])


@router.post(
    "/workflows",
    response_model=WorkflowView,
    **call(Permission.CREATE_WORKFLOWS, "Deploy a new workflow"),
)
async def post_workflow(api: Api, caller: Caller, new: NewWorkflow) -> Response:
    """Deploy a BPMN model; its process's id is the key that mappings name it by."""
    draft = Draft(
        name=new.name,
        bpmn=_model(new.bpmn_file),
        description=new.description,
        input_schema=new.input_schema,
    )
    workflow = await create_workflow(api.flow, draft, by=caller.subject)
    return json_response(workflow_to_json(workflow))


@router.patch(
    "/workflows/{workflow_id:uuid}",
    status_code=204,
    **call(Permission.UPDATE_WORKFLOWS, "Change a workflow"),
)
async def patch_workflow(
    api: Api, caller: Caller, workflow_id: UUID, change: WorkflowChange
) -> None:
    """Change a workflow; a new model makes a new version.  Its mappings go on working."""
    draft = Draft(
        name=change.name,
        bpmn=None if change.bpmn_file is None else _model(change.bpmn_file),
        description=change.description,
        input_schema=change.input_schema,
    )
    await update_workflow(api.flow, workflow_id, draft, by=caller.subject)


@router.post(
    "/workflows/{workflow_id:uuid}/execute",
    response_model=InstanceView,
    **call(Permission.EXECUTE_WORKFLOWS, "Run a workflow"),
)
async def post_execution(
    api: Api,
    workflow_id: UUID,
    execution: Execution,
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="The same key again starts nothing new."),
    ] = None,
) -> Response:
    """Start an instance now; its input is held against the workflow's inputSchema first."""
    once = idempotency_key(key)
    instance = await execute_workflow(
        api.flow,
        workflow_id,
        execution.input,
        version=execution.workflow_version,
        start_id=None if once is None else f"execute:{workflow_id}:{once}",
    )
    return json_response(
        {
            "id": instance.id,
            "workflowKey": instance.workflow_key,
            "workflowVersion": instance.version,
            "state": instance.state,
        }
    )


@router.delete(
    "/workflows/{workflow_id:uuid}",
    status_code=204,
    **call(Permission.DELETE_WORKFLOWS, "Delete a workflow"),
)
async def delete_one(api: Api, workflow_id: UUID) -> None:
    """Delete a workflow that nothing is mapped to and that is not running."""
    await delete_workflow(api.flow, workflow_id)


@router.delete(
    "/workflows/{workflow_id:uuid}/version/{version:int}",
    status_code=204,
    **call(Permission.DELETE_WORKFLOWS, "Delete a version of a workflow"),
)
async def delete_one_version(
    api: Api, workflow_id: UUID, version: Annotated[int, Path(ge=1, le=_MAX_VERSION)]
) -> None:
    """Delete an old version of a workflow; the latest is refused."""
    await delete_version(api.flow, workflow_id, version)


def workflow_to_json(workflow: Workflow) -> dict[str, Any]:
    """Give a workflow's JSON."""
    return {
        "id": str(workflow.id),
        "name": workflow.name,
        "description": workflow.description,
        "provider": workflow.provider,
        "workflowVersion": workflow.version,
        "externalIdentifier": workflow.key,
        "inputSchema": _raw(workflow.input_schema),
        "createdOn": instant_to_json(workflow.created_on),
        "modifiedOn": instant_to_json(workflow.modified_on),
        "createdBy": workflow.created_by,
        "modifiedBy": workflow.modified_by,
    }


def version_to_json(version: WorkflowVersion) -> dict[str, Any]:
    """Give a version's JSON."""
    return {
        "id": str(version.id),
        "workflowId": str(version.workflow_id),
        "version": version.version,
        "externalWorkflowId": version.definition_id,
        "bpmnDiagram": version.bpmn,
        "inputSchema": _raw(version.input_schema),
        "topics": list(version.topics),
        "createdOn": instant_to_json(version.created_on),
    }


async def _rows(
    tx: Transaction, workflows: Sequence[Workflow], query: Filter
) -> list[dict[str, Any]]:
    rows = [chosen(workflow_to_json(workflow), query) for workflow in workflows]
    if "workflowVersions" in query.include and workflows:
        by_workflow: dict[UUID, list[dict[str, Any]]] = {item.id: [] for item in workflows}
        for version in await tx.workflows.versions(list(by_workflow)):
            by_workflow[version.workflow_id].append(version_to_json(version))
        for workflow, row in zip(workflows, rows, strict=True):
            row["workflowVersions"] = by_workflow[workflow.id]
    return rows


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _model(given: str) -> str:
    """Take XML as it is, and base64 for what it holds."""
    if given.lstrip("\ufeff \t\r\n").startswith("<"):
        return given
    try:
        return base64.b64decode(given, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return given  # the engine says what is wrong with it
