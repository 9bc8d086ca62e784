"""External tasks: completed, failed, held longer, freed."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from taskloom.engines.camunda.client import PAGE, Client, segment
from taskloom.engines.camunda.definitions import Definitions
from taskloom.engines.camunda.fetching import Fetching, Wanted
from taskloom.engines.camunda.lineage import Lineage, find_instances
from taskloom.engines.camunda.models import to_external_task
from taskloom.engines.camunda.refusals import Answer, Fate, fate, refusal
from taskloom.engines.camunda.variables import write_variables
from taskloom.ports.engine import ExternalTask, Outcome

_KEPT = 10_000
_LONGEST_MESSAGE = 600  # the engine keeps 666 characters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in a model a task stands."""

    definition_id: str
    element_id: str
    instance_id: str


class External:
    """The engine's external tasks."""

    def __init__(
        self,
        client: Client,
        definitions: Definitions,
        lineage: Lineage,
        fetching: Fetching,
        *,
        spin: bool,
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._lineage = lineage
        self._fetching = fetching
        self._spin = spin
        self._places: OrderedDict[str, _Place] = OrderedDict()

    async def fetch(self, wanted: Wanted, wait: timedelta) -> list[ExternalTask]:
        """Lock tasks for a worker."""
        entries = await self._fetching.fetch(wanted, wait)
        roots = await self._lineage.roots_of(entry["processInstanceId"] for entry in entries)
        for entry in entries:
            self._note(entry)
        return [to_external_task(entry, roots[entry["processInstanceId"]]) for entry in entries]

    async def complete(self, task_id: str, worker_id: str, variables: Mapping[str, Any]) -> Outcome:
        """Finish a task; one that is not there any more was finished before."""
        body = {"variables": write_variables(variables, spin=self._spin)} if variables else {}
        return await self._settle(task_id, "complete", worker_id, body)

    async def fail(
        self, task_id: str, worker_id: str, message: str, *, retries: int, retry_after: timedelta
    ) -> Outcome:
        """Report a failure."""
        outcome = await self._settle(
            task_id,
            "failure",
            worker_id,
            {
                "errorMessage": message[:_LONGEST_MESSAGE],
                "errorDetails": message,
                "retries": max(0, retries),
                "retryTimeout": round(retry_after.total_seconds() * 1000),
            },
        )
        if outcome is Outcome.DONE and retries > 0:
            self._fetching.expect(retry_after)
        return outcome

    async def bpmn_error(
        self, task_id: str, worker_id: str, code: str, message: str, variables: Mapping[str, Any]
    ) -> Outcome:
        """Raise a BPMN error if the model catches it.

        The engine would end an instance in silence otherwise, so that is made an incident.
        """
        place = await self._place(task_id)
        if place is None:
            return Outcome.GONE
        if not await self._is_caught(place, code):
            uncaught = f"Nothing in the model catches the BPMN error {code}: {message}"
            return await self.fail(
                task_id, worker_id, uncaught, retries=0, retry_after=timedelta(0)
            )
        body = {
            "errorCode": code,
            "errorMessage": message[:_LONGEST_MESSAGE],
            "variables": write_variables(variables, spin=self._spin),
        }
        return await self._settle(task_id, "bpmnError", worker_id, body)

    async def extend(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a task longer."""
        duration = round(lock.total_seconds() * 1000)
        return await self._settle(task_id, "extendLock", worker_id, {"newDuration": duration})

    async def unlock_all(self, worker_id: str) -> int:
        """Free all that a worker holds."""
        freed = 0
        while True:
            held: Sequence[Mapping[str, Any]] = await self._client.ask(
                "/external-task",
                self._client.of_tenant({"workerId": worker_id, "locked": True}),
                maxResults=PAGE,
            )
            await asyncio.gather(*(self._unlock(task["id"]) for task in held))
            freed += len(held)
            if len(held) < PAGE:
                return freed

    async def _unlock(self, task_id: str) -> None:
        answer = await self._client.call("POST", f"/external-task/{segment(task_id)}/unlock")
        _read_outcome(answer)

    async def _settle(
        self, task_id: str, verb: str, worker_id: str, body: Mapping[str, Any]
    ) -> Outcome:
        answer = await self._client.call(
            "POST",
            f"/external-task/{segment(task_id)}/{verb}",
            json_body={"workerId": worker_id, **body},
        )
        return _read_outcome(answer)

    async def _place(self, task_id: str) -> _Place | None:
        place = self._places.get(task_id)
        if place is None:
            answer = await self._client.call("GET", f"/external-task/{segment(task_id)}")
            if answer.status == 404:
                return None
            if not answer.ok:
                raise refusal(answer)
            place = self._note(answer.body)
        return place

    def _note(self, entry: Mapping[str, Any]) -> _Place:
        place = _Place(
            definition_id=entry["processDefinitionId"],
            element_id=entry["activityId"],
            instance_id=entry["processInstanceId"],
        )
        self._places[entry["id"]] = place
        if len(self._places) > _KEPT:
            self._places.popitem(last=False)
        return place

    async def _is_caught(self, place: _Place, code: str) -> bool:
        """Ask the model, and then those of its callers."""
        at: _Place | None = place
        while at is not None:
            file = await self._definitions.file_or_none(at.definition_id)
            if file is None or file.catches(at.element_id, code):
                return True
            at = await self._caller(at.instance_id)
        return False

    async def _caller(self, instance_id: str) -> _Place | None:
        for entry in await find_instances(self._client, [instance_id]):
            caller = entry.get("superProcessInstanceId")
            if caller is None:
                return None
            for activity in await self._client.ask(
                "/history/activity-instance",
                {"processInstanceId": caller, "activityType": "callActivity", "unfinished": True},
            ):
                if activity.get("calledProcessInstanceId") == instance_id:
                    return _Place(
                        definition_id=activity["processDefinitionId"],
                        element_id=activity["activityId"],
                        instance_id=caller,
                    )
        return None


def _read_outcome(answer: Answer) -> Outcome:
    match fate(answer):
        case Fate.DONE:
            return Outcome.DONE
        case Fate.GONE:
            return Outcome.GONE
        case Fate.NOT_HELD:
            return Outcome.LOCK_LOST
        case Fate.REFUSED:
            raise refusal(answer)
