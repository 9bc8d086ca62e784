"""A topic run by a service of the user's: the external task goes out as a POST.

``{topic, taskId, instanceId, businessKey, retries, variables}`` is sent;
200 ``{variables}`` completes it, 409 ``{bpmnError: {code, message}}`` raises a BPMN error,
anything else, or no answer, is a failure that is tried again.
"""

import json
from collections.abc import Mapping
from typing import Any

from taskloom.domain.commands import BpmnError, CommandResult
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.sources import HttpCommand
from taskloom.domain.webhooks import Target
from taskloom.errors import Permanent, Temporary
from taskloom.ports.engine import ExternalTask
from taskloom.ports.sender import (
    MOST_BODY_KEPT,
    Answer,
    Failure,
    OutgoingRequest,
    Sender,
    TlsOptions,
)


class HttpTopic:
    """The command of a declared topic."""

    def __init__(self, command: HttpCommand, sender: Sender, policy: EgressPolicy) -> None:
        self._command = command
        self._sender = sender
        self._policy = policy

    @property
    def topic(self) -> str:
        """The topic it runs."""
        return self._command.topic

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Call the service and read its answer."""
        result = await self._sender.send(self._request(task))
        if isinstance(result, Failure):
            raise Temporary(f"The command's service did not answer: {result.message}")
        return read_answer(result, self._command.target)

    def _request(self, task: ExternalTask) -> OutgoingRequest:
        target = self._command.target
        body = {
            "topic": task.topic,
            "taskId": task.id,
            "instanceId": task.instance_id,
            "businessKey": task.business_key,
            "retries": task.retries,
            "variables": dict(task.variables),
        }
        return OutgoingRequest(
            url=target.url.reveal(),
            headers={
                **{name.lower(): value.reveal() for name, value in target.headers.items()},
                "content-type": "application/json",
                "idempotency-key": task.id,
            },
            body=json.dumps(body).encode(),
            policy=self._policy,
            timeout_total=self._command.timeout_seconds,
            tls=TlsOptions(
                ca_bundle=target.ca_bundle, client_certificate=target.client_certificate
            ),
        )


def read_answer(answer: Answer, target: Target) -> CommandResult:
    """Turn a service's answer into a result, or raise what it says."""
    if answer.status == 409:
        error = _object(answer).get("bpmnError")
        if isinstance(error, Mapping) and isinstance(error.get("code"), str):
            raise BpmnError(error["code"], str(error.get("message") or ""))
        raise Temporary('The command answered 409 without {"bpmnError": {"code": …}}.')
    if answer.status == 204:
        return CommandResult()
    if answer.status != 200:
        said = target.withhold(answer.text)[:200]
        raise Temporary(f"The command's service answered {answer.status}: {said}")
    variables = _object(answer).get("variables", {}) if answer.body else {}
    if not isinstance(variables, Mapping):
        raise Permanent("The command's answer must have an object as its variables.")
    return CommandResult(variables=variables)


def _object(answer: Answer) -> Mapping[str, Any]:
    if len(answer.body) >= MOST_BODY_KEPT:
        raise Permanent(f"The command's answer is longer than {MOST_BODY_KEPT} bytes.")
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError) as exc:
        raise Permanent("The command's answer is not JSON.") from exc
    if not isinstance(value, Mapping):
        raise Permanent("The command's answer is not a JSON object.")
    return value
