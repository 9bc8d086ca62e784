"""/message and /signal: told to who waits for them."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, done
from taskloom.api.engine_rest.faults import Fault, invalid, not_offered
from taskloom.api.engine_rest.parameters import text_of
from taskloom.api.engine_rest.variables import read_variables
from taskloom.errors import Conflict, NotFound
from taskloom.ports.engine import Correlation, InstanceState, Message
from taskloom.ports.hosted_engine import Query

_MISMATCH = "org.camunda.bpm.engine.MismatchingMessageCorrelationException: "
_LEFT_OUT = (
    "all",
    "localCorrelationKeys",
    "processVariablesLocal",
    "processVariablesToTriggeredScope",
    "tenantId",
    "variablesInResultEnabled",
)


async def correlate(call: Call) -> Response:
    """Hand a message to the one who waits for it."""
    body = call.body()
    message = read_message(body)
    try:
        found = await call.flow.engine.correlate(message)
    except NotFound as exc:
        raise _mismatch(
            f"Cannot correlate message '{message.name}': "
            "No process definition or execution matches the parameters"
        ) from exc
    except Conflict as exc:
        raise _mismatch(
            f"ENGINE-13031 Cannot correlate a message with name '{message.name}' "
            f"to a single execution. {exc.message}"
        ) from exc
    if body.get("resultEnabled") is not True:
        return done()
    return answer([await _result(call, found)])


async def signal(call: Call) -> Response:
    """Tell a signal to all who wait for it."""
    body = call.body()
    name = text_of(body, "name")
    if not name:
        raise invalid("No signal name given")
    _refuse(body, ("executionId", "tenantId"))
    await call.flow.engine.signal(name, read_variables(body.get("variables")))
    return done()


def read_message(body: Mapping[str, Any]) -> Message:
    """Read the body of POST /message."""
    name = text_of(body, "messageName")
    if not name:
        raise invalid("No message name supplied")
    _refuse(body, _LEFT_OUT)
    return Message(
        name=name,
        business_key=text_of(body, "businessKey"),
        instance_id=text_of(body, "processInstanceId"),
        correlation=read_variables(body.get("correlationKeys")),
        variables=read_variables(body.get("processVariables")),
    )


def _refuse(body: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if body.get(name):
            raise not_offered(f"{name}.")


async def _result(call: Call, found: Correlation) -> Mapping[str, Any]:
    """Say where the message went."""
    query = Query(where={"instance_id": [found.instance_id]})
    row = (await call.host.instance_rows(query))[0]
    ended = row.state is not InstanceState.ACTIVE
    if found.started:
        return {
            "resultType": "ProcessDefinition",
            "execution": None,
            "processInstance": shapes.instance(row.place, ended=ended),
        }
    execution = {
        "id": found.instance_id,
        "processInstanceId": found.instance_id,
        "ended": ended,
        "tenantId": None,
    }
    return {"resultType": "Execution", "execution": execution, "processInstance": None}


def _mismatch(message: str) -> Fault:
    return Fault(400, "RestException", f"{_MISMATCH}{message}", 0)
