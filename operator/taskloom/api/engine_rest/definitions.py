"""/process-definition and /deployment: what is deployed, and starting it.

A definition is a version of a Workflow.  One that the engine has and no Workflow knows (it was
removed while its instances ran on) is there to be looked at, not to be started.
"""

from collections.abc import Mapping

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, answer_count
from taskloom.api.engine_rest.faults import Fault, fault_of, invalid, missing, not_offered
from taskloom.api.engine_rest.parameters import Filters, read_query, text_of
from taskloom.api.engine_rest.variables import read_variables, write_variables
from taskloom.domain.workflows import Workflow
from taskloom.errors import TaskloomError, Unprocessable
from taskloom.flow.workflows import execute_workflow
from taskloom.ports.engine import InstanceState
from taskloom.ports.hosted_engine import DefinitionRow, Kind, Place, Query

FILTERS = Filters(
    equals={
        "processDefinitionId": "id",
        "deploymentId": "id",
        "key": "workflow_key",
        "version": "version",
    },
    numbers=frozenset({"version"}),
    lists={"processDefinitionIdIn": "id", "keysIn": "workflow_key"},
    flags={
        "latestVersion": ("latest", (True,)),
        "active": None,
        "withoutTenantId": None,
        "startableInTasklist": None,
    },
    nothing=frozenset({"suspended", "tenantIdIn", "versionTag", "incidentId"}),
    harmless=frozenset({"includeProcessDefinitionsWithoutTenantId", "withoutVersionTag"}),
    sorts={
        "key": "workflow_key",
        "id": "id",
        "version": "version",
        "deploymentId": "id",
        "deployTime": "deployed_at",
    },
)
DEPLOYMENT_FILTERS = Filters(
    equals={"id": "id"},
    since={"after": "deployed_at"},
    until={"before": "deployed_at"},
    nothing=frozenset({"tenantIdIn", "source"}),
    harmless=frozenset({"withoutTenantId", "withoutSource", "includeDeploymentsWithoutTenantId"}),
    sorts={"id": "id", "deploymentTime": "deployed_at"},
)


async def list_(call: Call) -> Response:
    """List definitions."""
    query = read_query(call.asked(), FILTERS)
    rows = [] if query is None else await call.host.definitions(query)
    workflows = await _workflows(call)
    return answer([shapes.definition(row, workflows.get(row.workflow_key)) for row in rows])


async def count(call: Call) -> Response:
    """Count definitions."""
    return await answer_count(call, Kind.DEFINITION, FILTERS)


async def list_deployments(call: Call) -> Response:
    """List deployments, each of one definition."""
    query = read_query(call.asked(), DEPLOYMENT_FILTERS)
    rows = [] if query is None else await call.host.definitions(query)
    workflows = await _workflows(call)
    return answer([shapes.deployment(row, workflows.get(row.workflow_key)) for row in rows])


async def get_deployment(call: Call) -> Response:
    """Show a deployment."""
    found = await call.host.definitions(Query(where={"id": [call.id]}))
    if not found:
        raise missing(f"Deployment with id '{call.id}' does not exist")
    return answer(shapes.deployment(found[0], await _workflow(call, found[0].workflow_key)))


async def get(call: Call) -> Response:
    """Show a definition."""
    row = await _find(call)
    return answer(shapes.definition(row, await _workflow(call, row.workflow_key)))


async def get_xml(call: Call) -> Response:
    """Give a definition's BPMN."""
    row = await _find(call)
    model = await call.host.model(row.id) or b""
    return answer({"id": row.id, "bpmn20Xml": model.decode("utf-8", "replace")})


async def start(call: Call) -> Response:
    """Start an instance."""
    body = call.body()
    for name in ("startInstructions", "caseInstanceId"):
        if body.get(name):
            raise not_offered(f"{name} of a start.")
    row = await _find(call)
    doing = f"Cannot instantiate process definition {row.id}"
    variables = read_variables(body.get("variables"), doing=doing)
    workflow = await _workflow(call, row.workflow_key)
    if workflow is None:
        raise _no_key(row.workflow_key)
    try:
        instance = await execute_workflow(
            call.flow,
            workflow.id,
            variables,
            version=row.version if "id" in call.path else None,
            business_key=text_of(body, "businessKey"),
        )
    except Unprocessable as exc:
        if exc.field != "input":
            raise _failed(doing, exc) from exc
        raise invalid(f"{doing}: {exc.message}") from exc
    place = Place(
        instance_id=instance.id,
        root_id=instance.root_id,
        definition_id=row.id,
        workflow_key=instance.workflow_key,
        business_key=instance.business_key,
    )
    shown = shapes.instance(place, ended=instance.state is not InstanceState.ACTIVE)
    shown["links"] = [call.link("process-instance", instance.id)]
    if body.get("withVariablesInReturn") is True:
        # those of an instance that has ended already are gone: then what it was started with
        now = await call.host.instance_variables(instance.id)
        shown["variables"] = write_variables(variables if now is None else now)
    return answer(shown)


async def _find(call: Call) -> DefinitionRow:
    """Find the definition that the path names: by its id, or the latest of a key."""
    key = call.path.get("key")
    if key is None:
        query = Query(where={"id": [call.id]})
    else:
        query = Query(where={"workflow_key": [key], "latest": [True]})
    found = await call.host.definitions(query)
    if found:
        return found[0]
    if key is None:
        message = f"No matching definition with id {call.id}"
        raise Fault(404, "InvalidRequestException", message, 0)
    raise _no_key(key)


async def _workflow(call: Call, key: str) -> Workflow | None:
    async with call.flow.workflows.begin() as tx:
        return await tx.workflows.by_key(key)


async def _workflows(call: Call) -> Mapping[str, Workflow]:
    async with call.flow.workflows.begin() as tx:
        return {workflow.key: workflow for workflow in await tx.workflows.all()}


def _no_key(key: str) -> Fault:
    message = f"No matching process definition with key: {key} and no tenant-id"
    return Fault(404, "RestException", message)


def _failed(doing: str, error: TaskloomError) -> Fault:
    fault = fault_of(error)
    return Fault(fault.status, fault.type, f"{doing}: {fault.message}", fault.code)
