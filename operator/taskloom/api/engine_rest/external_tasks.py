"""/external-task: what workers do with the tasks they hold, and who holds which."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.responses import PlainTextResponse, Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, answer_count, done
from taskloom.api.engine_rest.faults import Fault, invalid, not_offered, null_value
from taskloom.api.engine_rest.fetching import lock_of, refuse_own
from taskloom.api.engine_rest.parameters import Filters, number_of, read_query, text_of
from taskloom.api.engine_rest.variables import read_variables
from taskloom.flow.foreign_work import complete_work, fail_work, raise_error
from taskloom.ports.engine import Outcome
from taskloom.ports.hosted_engine import Kind, WorkItem

_LONGEST_PAUSE = 1 << 45  # milliseconds: a thousand years

FILTERS = Filters(
    equals={
        "externalTaskId": "id",
        "topicName": "topic",
        "workerId": "worker_id",
        "activityId": "element_id",
        "executionId": "id",
        "processInstanceId": "instance_id",
        "processDefinitionId": "definition_id",
        "processDefinitionKey": "workflow_key",
    },
    lists={
        "externalTaskIdIn": "id",
        "activityIdIn": "element_id",
        "processInstanceIdIn": "instance_id",
        "processDefinitionKeyIn": "workflow_key",
    },
    flags={
        "active": None,
        "locked": ("locked", (True,)),
        "notLocked": ("locked", (False,)),
        "withRetriesLeft": ("has_retries", (True,)),
        "noRetriesLeft": ("has_retries", (False,)),
    },
    since={"lockExpirationAfter": "available_at"},
    until={"lockExpirationBefore": "available_at"},
    nothing=frozenset({"suspended", "tenantIdIn"}),
    harmless=frozenset({"withoutTenantId"}),
    sorts={
        "id": "id",
        "lockExpirationTime": "available_at",
        "processInstanceId": "instance_id",
        "processDefinitionId": "definition_id",
        "processDefinitionKey": "workflow_key",
        "createTime": "created_at",
    },
)


async def complete(call: Call) -> Response:
    """Finish a task."""
    body = call.body()
    worker_id = _worker(body)
    variables = read_variables(body.get("variables"))
    local = read_variables(body.get("localVariables"))
    item = await _item(call)
    outcome = await complete_work(
        call.flow, call.host, item, worker_id, variables=variables, local=local
    )
    return await _settle(call, outcome, worker_id, "{task} cannot be completed by worker {worker}.")


async def fail(call: Call) -> Response:
    """Report a failure."""
    body = call.body()
    worker_id = _worker(body)
    if body.get("variables") or body.get("localVariables"):
        raise not_offered("variables with a failure; set them with the completion.")
    retries = number_of(body, "retries")
    if retries < 0:
        raise _negative_retries()
    pause = min(_LONGEST_PAUSE, number_of(body, "retryTimeout"))
    if pause < 0:
        raise Fault(400, "RestException", "retryDuration is not greater than or equal to 0", 0)
    outcome = await fail_work(
        call.flow,
        call.host,
        await _item(call),
        worker_id,
        message=text_of(body, "errorMessage") or "",
        details=text_of(body, "errorDetails"),
        retries=min(retries, (1 << 31) - 1),
        retry_after=timedelta(milliseconds=pause),
    )
    said = "Failure of {task} cannot be reported by worker {worker}."
    return await _settle(call, outcome, worker_id, said)


async def throw(call: Call) -> Response:
    """Raise a BPMN error."""
    body = call.body()
    code = text_of(body, "errorCode")
    if code is None:
        raise null_value("errorCode is null")
    worker_id = _worker(body)
    outcome = await raise_error(
        call.flow,
        await _item(call),
        worker_id,
        code=code,
        message=text_of(body, "errorMessage") or "",
        variables=read_variables(body.get("variables")),
    )
    said = "Bpmn error of {task} cannot be reported by worker {worker}."
    return await _settle(call, outcome, worker_id, said)


async def extend_lock(call: Call) -> Response:
    """Hold a task longer."""
    body = call.body()
    worker_id = _worker(body)
    lock = lock_of(body, "newDuration")
    await _item(call)
    outcome = await call.flow.engine.extend_lock(call.id, worker_id, lock)
    said = "The lock of the {task} cannot be extended by worker {worker}'."
    return await _settle(call, outcome, worker_id, said)


async def lock(call: Call) -> Response:
    """Hold one task."""
    body = call.body()
    worker_id = _worker(body)
    duration = lock_of(body, "lockDuration")
    await _item(call)
    outcome = await call.host.lock(call.id, worker_id, duration)
    return await _settle(call, outcome, worker_id, "{task} cannot be locked by worker {worker}.")


async def unlock(call: Call) -> Response:
    """Free one task."""
    await _item(call)
    return await _settle(call, await call.host.unlock(call.id), "", "")


async def set_retries(call: Call) -> Response:
    """Say how often a task may be tried."""
    body = call.body()
    if body.get("retries") is None:
        raise invalid("The number of retries cannot be null.")
    retries = number_of(body, "retries")
    if retries < 0:
        raise _negative_retries()
    outcome = await call.host.set_retries(call.id, min(retries, (1 << 31) - 1))
    return await _settle(call, outcome, "", "")


async def get(call: Call) -> Response:
    """Show one task."""
    item = await call.host.work_item(call.id)
    if item is None:
        raise _unknown(call.id, None)
    return answer(shapes.work_item(item))


async def list_(call: Call) -> Response:
    """List tasks."""
    query = read_query(call.asked(), FILTERS)
    items = [] if query is None else await call.host.work_items(query)
    return answer([shapes.work_item(item) for item in items])


async def count(call: Call) -> Response:
    """Count tasks."""
    return await answer_count(call, Kind.WORK, FILTERS)


async def get_error_details(call: Call) -> Response:
    """Tell the longer story of the last failure."""
    item = await call.host.work_item(call.id)
    if item is None:
        raise null_value(f"No external task found with id {call.id}: externalTask is null")
    if item.error_details is None:
        return done()
    return PlainTextResponse(item.error_details)


async def _item(call: Call) -> WorkItem:
    item = await call.host.work_item(call.id)
    if item is None:
        raise _unknown(call.id, 0)
    refuse_own(frozenset({item.topic}), call.own_topics)
    return item


def _worker(body: Mapping[str, Any]) -> str:
    worker_id = text_of(body, "workerId")
    if worker_id is None:
        raise null_value("workerId is null")
    return worker_id


async def _settle(call: Call, outcome: Outcome, worker_id: str, said: str) -> Response:
    """Answer what came of it; `said` tells who was refused what."""
    if outcome is Outcome.DONE:
        return done()
    item = None if outcome is Outcome.GONE else await call.host.work_item(call.id)
    if item is None:
        raise _unknown(call.id, 0)
    refused = said.format(task=f"External Task {call.id}", worker=f"'{worker_id}'")
    holder = "null" if item.worker_id is None else item.worker_id
    raise Fault(400, "RestException", f"{refused} It is locked by worker '{holder}'.", 0)


def _unknown(task_id: str, code: int | None) -> Fault:
    return Fault(404, "RestException", f"External task with id {task_id} does not exist", code)


def _negative_retries() -> Fault:
    return Fault(
        400,
        "BadUserRequestException",
        "The number of retries cannot be negative: retries is not greater than or equal to 0",
        0,
    )
