"""A stage on the Camunda 7 REST API: Camunda, Operaton, or whatever else speaks it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import httpx

from tests.conformance.model import Model
from tests.conformance.rest_records import (
    to_incident,
    to_instance,
    to_personal_task,
    to_step,
    to_variables,
    typed,
)
from tests.conformance.stage import (
    BEGINNING,
    LATE,
    InstanceSeen,
    PersonalTask,
    Result,
    Scene,
    Work,
)

_ASCENDING = {"sortOrder": "asc"}


class Backstage(Protocol):
    """What is done to an engine by none of its clients: its clock is set, and its jobs are run."""

    @property
    def failed(self) -> bool:
        """Whether a job may have failed, so that there may be incidents."""
        ...

    def expect(self, models: Sequence[Model]) -> None:
        """Hear which models were deployed."""
        ...

    async def set_clock(self, now: datetime) -> None:
        """Let it be now."""
        ...

    async def next_due(self) -> datetime | None:
        """Tell when the next job is due; None if there is none."""
        ...

    async def run_due(self) -> bool:
        """Run what is due until nothing is, also what follows; tell whether there was any."""
        ...

    async def dropped(self, instance: str) -> Mapping[str, Any] | None:
        """Give the variables of an ended instance, if the API does not tell them any more."""
        ...


class RestStage:
    """An engine that nobody else uses, with a clock that can be set.

    `client` has the base of its API.
    Its jobs are run by this stage: timers when they are due, asynchronous ones at once.
    """

    def __init__(self, client: httpx.AsyncClient, backstage: Backstage) -> None:
        self._client = client
        self._backstage = backstage
        self._now = BEGINNING
        self._deployments: list[str] = []
        self._processes: list[str] = []
        self._has_people = self._has_failed = False  # else it need not be asked
        self._candidates: dict[str, Sequence[Any]] = {}  # of user tasks: they never change

    async def deploy(self, models: Sequence[Model]) -> Result:
        """Deploy models together."""
        await self._backstage.set_clock(self._now)
        files = {model.name: (model.name, model.bpmn) for model in models}
        answer = await self._client.post(
            "/deployment/create", data={"deployment-name": models[0].name}, files=files
        )
        if answer.status_code == 400:
            return Result.REFUSED
        answer.raise_for_status()
        deployed = answer.json()
        new = (deployed["deployedProcessDefinitions"] or {}).values()
        ids = dict.fromkeys([deployed["id"], *(each["deploymentId"] for each in new)])
        self._deployments += [id_ for id_ in ids if id_ not in self._deployments]
        self._backstage.expect(models)
        self._has_people |= any(b"userTask" in m.bpmn for m in models)
        self._processes += [m.process_id for m in models if m.process_id not in self._processes]
        return Result.DONE

    async def start(
        self, process_id: str, business_key: str, variables: Mapping[str, Any]
    ) -> Result:
        """Start an instance by the id of its process."""
        body = {"businessKey": business_key, "variables": typed(variables)}
        return await self._do(f"/process-definition/key/{process_id}/start", body)

    async def fetch(self, topic: str, worker: str, lock: timedelta) -> Sequence[Work]:
        """Lock all external tasks of a topic that are due."""
        milliseconds = lock // timedelta(milliseconds=1)
        body = {
            "workerId": worker,
            "maxTasks": 50,
            "topics": [
                {"topicName": topic, "lockDuration": milliseconds, "deserializeValues": True}
            ],
        }
        answer = await self._client.post("/external-task/fetchAndLock", json=body)
        answer.raise_for_status()
        return [
            Work(
                id=task["id"],
                instance=task["processInstanceId"],
                element=task["activityId"],
                business_key=task["businessKey"],
                retries=task["retries"],
                variables={k: v["value"] for k, v in sorted(task["variables"].items())},
            )
            for task in answer.json()
        ]

    async def complete(self, task: str, worker: str, variables: Mapping[str, Any]) -> Result:
        """Complete an external task."""
        body = {"workerId": worker, "variables": typed(variables)}
        return await self._do(f"/external-task/{task}/complete", body)

    async def fail(self, task: str, worker: str, *, retries: int, after: timedelta) -> Result:
        """Fail an external task."""
        body = {
            "workerId": worker,
            "errorMessage": "it failed",
            "retries": retries,
            "retryTimeout": after // timedelta(milliseconds=1),
        }
        self._has_failed = True
        return await self._do(f"/external-task/{task}/failure", body)

    async def bpmn_error(
        self, task: str, worker: str, code: str, message: str, variables: Mapping[str, Any]
    ) -> Result:
        """Throw a BPMN error at an external task."""
        body = {
            "workerId": worker,
            "errorCode": code,
            "errorMessage": message,
            "variables": typed(variables),
        }
        self._has_failed = True  # where an error that nothing catches is an incident
        return await self._do(f"/external-task/{task}/bpmnError", body)

    async def extend_lock(self, task: str, worker: str, lock: timedelta) -> Result:
        """Hold an external task longer."""
        body = {"workerId": worker, "newDuration": lock // timedelta(milliseconds=1)}
        return await self._do(f"/external-task/{task}/extendLock", body)

    async def complete_user_task(self, task: str, variables: Mapping[str, Any]) -> Result:
        """Complete a user task."""
        return await self._do(f"/task/{task}/complete", {"variables": typed(variables)})

    async def correlate(
        self,
        message: str,
        *,
        business_key: str | None,
        correlation: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> Result:
        """Hand a message to the one who waits for it."""
        body: dict[str, Any] = {"messageName": message, "processVariables": typed(variables)}
        if business_key is not None:
            body["businessKey"] = business_key
        if correlation:
            body["correlationKeys"] = typed(correlation)
        answer = await self._client.post("/message", json=body)
        return await self._judge(answer, nobody=Result.REFUSED)

    async def signal(self, name: str, variables: Mapping[str, Any]) -> Result:
        """Tell a signal to all who wait for it."""
        return await self._do("/signal", {"name": name, "variables": typed(variables)})

    async def retry(self, incident: str) -> Result:
        """Give what has stopped one more try."""
        found = await self._get(f"/incident/{incident}")
        kind = "job" if found["incidentType"] == "failedJob" else "external-task"
        path = f"/{kind}/{found['configuration']}/retries"
        answer = await self._client.put(path, json={"retries": 1})
        return await self._judge(answer)

    async def delete(self, instance: str) -> Result:
        """Delete an instance."""
        return await self._judge(await self._client.delete(f"/process-instance/{instance}"))

    async def forward(self, span: timedelta) -> None:
        """Let time pass, and fire every timer at its time."""
        until = self._now + span
        while (due := await self._backstage.next_due()) is not None and due <= until:
            await self._set(max(self._now, due + LATE))
            if not await self._backstage.run_due():
                break
        await self._set(max(self._now, until))

    async def look(self) -> Scene:
        """See where everything stands."""
        instances, steps, tasks, incidents, variables = await asyncio.gather(
            self._instances(),
            self._get("/history/activity-instance", sortBy="occurrence", **_ASCENDING),
            self._get_if(self._has_people, "/task", sortBy="created", **_ASCENDING),
            self._get_if(self._has_failed or self._backstage.failed, "/incident"),
            self._get("/history/variable-instance"),
        )
        root_of = {each.id: each.root for each in instances}
        return Scene(
            instances=instances,
            steps=[
                to_step(record, root_of[record["processInstanceId"]])
                for record in steps
                if record["processInstanceId"] in root_of
            ],
            user_tasks=[await self._user_task(t, root_of[t["processInstanceId"]]) for t in tasks],
            incidents=[
                to_incident(each, root_of[each["processInstanceId"]])
                for each in incidents
                if each["id"] == each["rootCauseIncidentId"]  # callers have one for it, too
            ],
            variables={
                each.id: await self._variables(each, variables)
                for each in instances
                if each.id == each.root
            },
        )

    async def clear(self) -> None:
        """Leave nothing of what was deployed and run."""
        for deployment in self._deployments:
            answer = await self._client.delete(
                f"/deployment/{deployment}", params={"cascade": "true", "skipIoMappings": "true"}
            )
            answer.raise_for_status()
        self._deployments.clear()
        self._processes.clear()

    # -- looking -----------------------------------------------------------------------------

    async def _instances(self) -> list[InstanceSeen]:
        found = await self._get(
            "/history/process-instance",
            processDefinitionKeyIn=",".join(self._processes),
            sortBy="startTime",
            **_ASCENDING,
        )
        return [to_instance(record) for record in found]

    async def _user_task(self, task: Mapping[str, Any], root: str) -> PersonalTask:
        if task["id"] not in self._candidates:
            self._candidates[task["id"]] = await self._get(
                f"/task/{task['id']}/identity-links", type="candidate"
            )
        return to_personal_task(task, self._candidates[task["id"]], root)

    async def _variables(
        self, instance: InstanceSeen, records: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        dropped = None if instance.state == "active" else await self._backstage.dropped(instance.id)
        return to_variables(records, instance.id) if dropped is None else dropped

    async def _set(self, now: datetime) -> None:
        self._now = now
        await self._backstage.set_clock(now)

    # -- calling -----------------------------------------------------------------------------

    async def _get(self, path: str, **parameters: str) -> Any:
        answer = await self._client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    async def _get_if(self, asked: bool, path: str, **parameters: str) -> Any:
        return await self._get(path, **parameters) if asked else []

    async def _do(self, path: str, body: Mapping[str, Any]) -> Result:
        return await self._judge(await self._client.post(path, json=body))

    async def _judge(self, answer: httpx.Response, *, nobody: Result = Result.LOCK_LOST) -> Result:
        match answer.status_code:
            case 200 | 204:
                await self._backstage.run_due()
                return Result.DONE
            case 404:
                return Result.GONE
            case 400:
                return nobody
            case 500:
                missing = "Cannot find task" in answer.json()["message"]
                return Result.GONE if missing else Result.REFUSED
        raise AssertionError(f"{answer.request.url}: {answer.status_code} {answer.text}")
