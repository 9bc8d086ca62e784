"""/process-instance, /history and /incident: what runs, what has happened, what stopped."""

from dataclasses import replace

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, answer_count, done
from taskloom.api.engine_rest.faults import Fault, missing, null_value
from taskloom.api.engine_rest.parameters import Filters, as_flag, read_query
from taskloom.api.engine_rest.variables import write_variable, write_variables
from taskloom.ports.engine import InstanceState
from taskloom.ports.hosted_engine import InstanceRow, Kind, Query

_TIMED = {"failedJob": True, "failedExternalTask": False}  # incidents, by their type
_ACTIVE = ("state", (InstanceState.ACTIVE,))
_PLACED = {
    "processInstanceId": "instance_id",
    "processDefinitionId": "definition_id",
    "processDefinitionKey": "workflow_key",
}
RUNNING = Filters(
    equals={
        "businessKey": "business_key",
        "processInstanceBusinessKey": "business_key",
        "rootProcessInstance": "root_id",
        "superProcessInstance": "caller_id",
        **_PLACED,
    },
    lists={
        "processInstanceIds": "instance_id",
        "processInstanceIdIn": "instance_id",
        "processDefinitionKeyIn": "workflow_key",
    },
    flags={"active": _ACTIVE, "rootProcessInstances": ("top", (True,)), "withoutTenantId": None},
    nothing=frozenset({"suspended", "tenantIdIn", "caseInstanceId"}),
    sorts={
        "instanceId": "instance_id",
        "definitionKey": "workflow_key",
        "definitionId": "definition_id",
        "businessKey": "business_key",
    },
)
PAST = Filters(
    equals={
        "processInstanceBusinessKey": "business_key",
        "rootProcessInstanceId": "root_id",
        "superProcessInstanceId": "caller_id",
        **_PLACED,
    },
    lists={
        "processInstanceIds": "instance_id",
        "processInstanceIdIn": "instance_id",
        "processDefinitionKeyIn": "workflow_key",
        "processInstanceBusinessKeyIn": "business_key",
    },
    flags={
        "active": _ACTIVE,
        "completed": ("state", (InstanceState.COMPLETED,)),
        "externallyTerminated": ("state", (InstanceState.TERMINATED,)),
        "rootProcessInstances": ("top", (True,)),
        "withoutTenantId": None,
    },
    since={"startedAfter": "started_at", "finishedAfter": "ended_at"},
    until={"startedBefore": "started_at", "finishedBefore": "ended_at"},
    present={"finished": ("ended_at", True), "unfinished": ("ended_at", False)},
    nothing=frozenset({"suspended", "internallyTerminated", "tenantIdIn", "caseInstanceId"}),
    sorts={
        "instanceId": "instance_id",
        "definitionId": "definition_id",
        "definitionKey": "workflow_key",
        "definitionVersion": "version",
        "businessKey": "business_key",
        "startTime": "started_at",
        "endTime": "ended_at",
    },
)
ACTIVITIES = Filters(
    equals={"activityId": "element_id", "activityName": "name", **_PLACED},
    lists={"activityIdIn": "element_id", "processInstanceIdIn": "instance_id"},
    flags={"canceled": ("state", ("cancelled",)), "withoutTenantId": None},
    since={"startedAfter": "started_at", "finishedAfter": "ended_at"},
    until={"startedBefore": "started_at", "finishedBefore": "ended_at"},
    present={"finished": ("ended_at", True), "unfinished": ("ended_at", False)},
    nothing=frozenset({"tenantIdIn"}),
    sorts={
        "activityInstanceId": "number",
        "instanceId": "instance_id",
        "activityId": "element_id",
        "activityName": "name",
        "activityType": "element_type",
        "startTime": "started_at",
        "endTime": "ended_at",
        "occurrence": "number",
        "definitionId": "definition_id",
    },
)
INCIDENTS = Filters(
    equals={
        "incidentId": "id",
        "incidentMessage": "message",
        "activityId": "element_id",
        "executionId": "activity_id",
        "configuration": "work",
        "causeIncidentId": "id",
        "rootCauseIncidentId": "id",
        **_PLACED,
    },
    lists={"processDefinitionKeyIn": "workflow_key"},
    since={"incidentTimestampAfter": "created_at"},
    until={"incidentTimestampBefore": "created_at"},
    nothing=frozenset({"tenantIdIn"}),
    sorts={
        "incidentId": "id",
        "incidentTimestamp": "created_at",
        "activityId": "element_id",
        "processInstanceId": "instance_id",
        "processDefinitionId": "definition_id",
        "incidentMessage": "message",
    },
)
VARIABLES = Filters(
    equals={"variableName": "name", **_PLACED},
    lists={
        "processInstanceIdIn": "instance_id",
        "executionIdIn": "instance_id",
        "activityInstanceIdIn": "instance_id",
        "variableNameIn": "name",
    },
    flags={"withoutTenantId": None},
    nothing=frozenset({"tenantIdIn", "taskIdIn", "caseInstanceId", "caseExecutionIdIn"}),
    harmless=frozenset({"deserializeValues", "includeDeleted"}),
    sorts={"instanceId": "instance_id", "variableName": "name"},
)


async def list_(call: Call) -> Response:
    """List running instances."""
    query = read_query({"active": "true", **call.asked()}, RUNNING)
    rows = [] if query is None else await call.host.instance_rows(query)
    return answer([shapes.instance(row.place, ended=False) for row in rows])


async def count(call: Call) -> Response:
    """Count running instances."""
    query = read_query({"active": "true", **call.asked()}, RUNNING)
    found = 0 if query is None else await call.host.count(Kind.INSTANCE, query)
    return answer({"count": found})


async def get(call: Call) -> Response:
    """Show a running instance."""
    row = await _instance(call)
    if row is None or row.state is not InstanceState.ACTIVE:
        raise missing(f"Process instance with id {call.id} does not exist")
    return answer(shapes.instance(row.place, ended=False))


async def get_variables(call: Call) -> Response:
    """Give the variables of a running instance."""
    variables = await call.host.instance_variables(call.id)
    if variables is None:
        raise null_value(f"execution {call.id} doesn't exist: execution is null")
    return answer(write_variables(variables, plain=_plain(call)))


async def get_variable(call: Call) -> Response:
    """Give one variable of a running instance."""
    variables = await call.host.instance_variables(call.id)
    if variables is None:
        raise null_value(f"execution {call.id} doesn't exist: execution is null")
    name = call.path["name"]
    if name not in variables:
        raise missing(f"process instance variable with name {name} does not exist")
    return answer(write_variable(variables[name], plain=_plain(call, "deserializeValue")))


async def delete(call: Call) -> Response:
    """Terminate an instance, and those it called."""
    row = await _instance(call)
    if row is None or row.state is not InstanceState.ACTIVE:
        message = f"No process instance found for id '{call.id}': processInstance is null"
        raise Fault(404, "InvalidRequestException", message, 0)
    by = f"Deleted by {call.principal.subject} over /engine-rest."
    await call.flow.engine.delete_instances([call.id], by)
    return done()


async def list_past(call: Call) -> Response:
    """List instances, ended ones too."""
    query = read_query(call.asked(), PAST)
    rows = [] if query is None else await call.host.instance_rows(query)
    return answer([shapes.past_instance(row) for row in rows])


async def count_past(call: Call) -> Response:
    """Count instances, ended ones too."""
    return await answer_count(call, Kind.INSTANCE, PAST)


async def get_past(call: Call) -> Response:
    """Show an instance, ended or not."""
    row = await _instance(call)
    if row is None:
        raise missing(f"Historic process instance with id {call.id} does not exist")
    return answer(shapes.past_instance(row))


async def list_activities(call: Call) -> Response:
    """List what happened."""
    query = read_query(call.asked(), ACTIVITIES)
    rows = [] if query is None else await call.host.activity_rows(query)
    return answer([shapes.activity(row) for row in rows])


async def count_activities(call: Call) -> Response:
    """Count what happened."""
    return await answer_count(call, Kind.ACTIVITY, ACTIVITIES)


async def list_incidents(call: Call) -> Response:
    """List open incidents."""
    query = _read_incidents(call)
    rows = [] if query is None else await call.host.incident_rows(query)
    return answer([shapes.incident(row) for row in rows])


async def count_incidents(call: Call) -> Response:
    """Count open incidents."""
    query = _read_incidents(call)
    return answer({"count": 0 if query is None else await call.host.count(Kind.INCIDENT, query)})


async def get_incident(call: Call) -> Response:
    """Show an open incident."""
    found = await call.host.incident_rows(Query(where={"id": [call.id]}))
    if not found:
        raise missing(f"No matching incident with id {call.id}")
    return answer(shapes.incident(found[0]))


async def list_variables(call: Call) -> Response:
    """List the variables of running instances."""
    query = read_query(call.asked(), VARIABLES)
    rows = [] if query is None else await call.host.variable_rows(query)
    plain = _plain(call)
    return answer([shapes.variable(row, plain=plain) for row in rows])


async def count_variables(call: Call) -> Response:
    """Count the variables of running instances."""
    return await answer_count(call, Kind.VARIABLE, VARIABLES)


def _read_incidents(call: Call) -> Query | None:
    given = dict(call.asked())
    kind = given.pop("incidentType", None)
    query = read_query(given, INCIDENTS)
    if query is None or kind is None:
        return query
    timed = _TIMED.get(str(kind))
    return None if timed is None else replace(query, present={"timer": timed})


async def _instance(call: Call) -> InstanceRow | None:
    found = await call.host.instance_rows(Query(where={"instance_id": [call.id]}))
    return found[0] if found else None


def _plain(call: Call, name: str = "deserializeValues") -> bool:
    return as_flag(name, call.query.get(name, "true"))
