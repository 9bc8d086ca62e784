"""Messages and signals, handed to the engine."""

from collections.abc import Mapping
from typing import Any

from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.refusals import refusal
from taskloom.engines.camunda.variables import write_variables
from taskloom.errors import Conflict, NotFound
from taskloom.ports.engine import Correlation, Message


class Messages:
    """Correlates; a call whose answer is lost is not repeated, as it may have arrived."""

    def __init__(self, client: Client, *, spin: bool) -> None:
        self._client = client
        self._spin = spin

    async def correlate(self, message: Message) -> Correlation:
        """Hand a message to the one who waits for it."""
        body: dict[str, Any] = {
            "messageName": message.name,
            "correlationKeys": write_variables(message.correlation, spin=self._spin),
            "processVariables": write_variables(message.variables, spin=self._spin),
            "resultEnabled": True,
        }
        if message.business_key is not None:
            body["businessKey"] = message.business_key
        if message.instance_id is not None:
            body["processInstanceId"] = message.instance_id
        elif self._client.tenant is not None:  # an instance is of its tenant anyway
            body["tenantId"] = self._client.tenant
        answer = await self._client.call("POST", "/message", json_body=body, again=False)
        if answer.ok:
            return _read(answer.body[0])
        if "executions match" in answer.message or "more than one" in answer.message:
            raise Conflict(f"More than one instance waits for the message {message.name}.")
        if "Cannot correlate" in answer.message or "No process definition" in answer.message:
            raise NotFound(f"Nobody waits for the message {message.name}.")
        raise refusal(answer)

    async def signal(self, name: str, variables: Mapping[str, Any]) -> None:
        """Tell a signal to all who wait for it."""
        body: dict[str, Any] = {
            "name": name,
            "variables": write_variables(variables, spin=self._spin),
        }
        if self._client.tenant is not None:
            body["tenantId"] = self._client.tenant
        await self._client.demand("POST", "/signal", json_body=body, again=False)


def _read(result: Mapping[str, Any]) -> Correlation:
    started = result["resultType"] == "ProcessDefinition"
    if started:
        return Correlation(instance_id=result["processInstance"]["id"], started=True)
    return Correlation(instance_id=result["execution"]["processInstanceId"], started=False)
