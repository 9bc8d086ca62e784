"""/task: what waits for people."""

from typing import Any
from uuid import UUID

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, answer_count, done
from taskloom.api.engine_rest.faults import Fault, missing, not_offered, null_value
from taskloom.api.engine_rest.parameters import Filters, as_flag, read_query
from taskloom.api.engine_rest.variables import read_variables, write_variables
from taskloom.errors import Conflict
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.ids import derived_id
from taskloom.ports.engine import Outcome
from taskloom.ports.hosted_engine import Kind, Query, UserTaskRow

FILTERS = Filters(
    equals={
        "taskId": "id",
        "processInstanceId": "instance_id",
        "processInstanceBusinessKey": "business_key",
        "executionId": "instance_id",
        "processDefinitionId": "definition_id",
        "processDefinitionKey": "workflow_key",
        "taskDefinitionKey": "element_id",
        "name": "name",
        "assignee": "assignee",
        "priority": "priority",
    },
    numbers=frozenset({"priority"}),
    lists={
        "taskIdIn": "id",
        "processInstanceIdIn": "instance_id",
        "processInstanceBusinessKeyIn": "business_key",
        "processDefinitionKeyIn": "workflow_key",
        "taskDefinitionKeyIn": "element_id",
        "assigneeIn": "assignee",
    },
    flags={"active": None, "withoutTenantId": None},
    since={"createdAfter": "created_at"},
    until={"createdBefore": "created_at"},
    present={"assigned": ("assignee", True), "unassigned": ("assignee", False)},
    nothing=frozenset({"suspended", "tenantIdIn", "caseInstanceId", "owner"}),
    harmless=frozenset({"initializeFormKeys"}),
    sorts={
        "instanceId": "instance_id",
        "assignee": "assignee",
        "created": "created_at",
        "name": "name",
        "priority": "priority",
        "id": "id",
        "taskId": "id",
        "executionId": "instance_id",
    },
)


async def list_(call: Call) -> Response:
    """List open user tasks."""
    query = read_query(call.asked(), FILTERS)
    rows = [] if query is None else await call.host.user_task_rows(query)
    return answer([shapes.user_task(row) for row in rows])


async def count(call: Call) -> Response:
    """Count open user tasks."""
    return await answer_count(call, Kind.USER_TASK, FILTERS)


async def get(call: Call) -> Response:
    """Show an open user task."""
    row = await _find(call)
    if row is None:
        raise missing(f"No matching task with id {call.id}")
    return answer(shapes.user_task(row))


async def get_identity_links(call: Call) -> Response:
    """Say who may do an open user task."""
    row = await _find(call)
    if row is None:
        raise null_value(f"Cannot find task with id {call.id}: task is null")
    links, kind = shapes.identity_links(row), call.query.get("type")
    return answer([each for each in links if kind in (None, each["type"])])


async def get_variables(call: Call) -> Response:
    """Give the variables that an open user task sees."""
    variables = await call.host.task_variables(call.id)
    if variables is None:
        raise null_value(f"task {call.id} doesn't exist: task is null")
    plain = as_flag("deserializeValues", call.query.get("deserializeValues", "true"))
    return answer(write_variables(variables, plain=plain))


async def complete(call: Call) -> Response:
    """Complete a user task: our row of it and what is told of it with it, if it has one."""
    body = call.body()
    if body.get("withVariablesInReturn"):
        raise not_offered("withVariablesInReturn of a completion.")
    doing = f"Cannot complete task {call.id}"
    variables = read_variables(body.get("variables"), doing=doing)
    row = await _find(call)
    if row is None or not await _complete(call, row, variables):
        message = f"{doing}: Cannot find task with id {call.id}: task is null"
        raise Fault(500, "RestException", message, 0)
    return done()


async def _complete(call: Call, row: UserTaskRow, variables: dict[str, Any]) -> bool:
    """Tell whether it was there to be completed."""
    task_id = await _task_of(call, row)
    if task_id is None:
        outcome = await call.flow.engine.complete_user_task(row.id, variables)
        return outcome is Outcome.DONE
    try:
        await complete_user_task(
            call.flow,
            task_id,
            derived_id("user-task", row.id),
            variables,
            by=call.principal.subject,
        )
    except Conflict:
        return False  # by another, a moment before
    return True


async def _task_of(call: Call, row: UserTaskRow) -> UUID | None:
    """Find the task of ours whose row a user task has; None if it has no row, or none yet."""
    async with call.flow.tasks.begin() as tx:
        task = await tx.tasks.by_instance(row.place.root_id)
        if task is None:
            return None
        own = await tx.user_tasks.get(task.id, derived_id("user-task", row.id))
        return None if own is None else task.id


async def _find(call: Call) -> UserTaskRow | None:
    found = await call.host.user_task_rows(Query(where={"id": [call.id]}))
    return found[0] if found else None
