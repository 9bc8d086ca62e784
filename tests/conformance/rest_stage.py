"""A stage on the Camunda 7 REST API: Camunda, Operaton, or whatever else speaks it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.conformance.model import Model
from tests.conformance.stage import (
    BEGINNING,
    LATE,
    IncidentSeen,
    InstanceSeen,
    PersonalTask,
    Result,
    Scene,
    StepSeen,
    Work,
)
from tests.real.engines.engine import RealEngine

_STATES = {"ACTIVE": "active", "COMPLETED": "completed"}
_ASCENDING = {"sortOrder": "asc"}
_TRIES = 100
"""How many jobs may follow each other at one moment."""


@asynccontextmanager
async def real_stage(engine: RealEngine) -> AsyncIterator["RestStage"]:
    """Give the stage of an engine that is run by hand, and leave it as empty as it was."""
    async with httpx.AsyncClient(
        base_url=engine.url,
        trust_env=False,
        verify=False,
        timeout=30,
    ) as client:

        async def set_clock(time: datetime) -> None:
            instant = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
            answer = await client.put(engine.clock_url, content=instant)
            answer.raise_for_status()

        stage = RestStage(client, set_clock)
        try:
            yield stage
        finally:
            await stage.clear()


class RestStage:
    """An engine that nobody else uses, with a clock that can be set.

    `client` has the base of its API.
    Its jobs are run by this stage: timers when they are due, asynchronous ones at once.
    """

    def __init__(
        self, client: httpx.AsyncClient, set_clock: Callable[[datetime], Awaitable[None]]
    ) -> None:
        self._client = client
        self._set_clock = set_clock
        self._now = BEGINNING
        self._deployments: list[str] = []
        self._processes: list[str] = []
        self._candidates: dict[str, Mapping[str, Any]] = {}  # of user tasks: they never change

    async def deploy(self, models: Sequence[Model]) -> Result:
        """Deploy models together."""
        await self._set_clock(self._now)
        files = {model.name: (model.name, model.bpmn) for model in models}
        answer = await self._client.post(
            "/deployment/create", data={"deployment-name": models[0].name}, files=files
        )
        if answer.status_code == 400:
            return Result.REFUSED
        answer.raise_for_status()
        self._deployments.append(answer.json()["id"])
        self._processes += [m.process_id for m in models if m.process_id not in self._processes]
        return Result.DONE

    async def start(
        self, process_id: str, business_key: str, variables: Mapping[str, Any]
    ) -> Result:
        """Start an instance by the id of its process."""
        body = {"businessKey": business_key, "variables": _typed(variables)}
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
        body = {"workerId": worker, "variables": _typed(variables)}
        return await self._do(f"/external-task/{task}/complete", body)

    async def fail(self, task: str, worker: str, *, retries: int, after: timedelta) -> Result:
        """Fail an external task."""
        body = {
            "workerId": worker,
            "errorMessage": "it failed",
            "retries": retries,
            "retryTimeout": after // timedelta(milliseconds=1),
        }
        return await self._do(f"/external-task/{task}/failure", body)

    async def bpmn_error(
        self, task: str, worker: str, code: str, message: str, variables: Mapping[str, Any]
    ) -> Result:
        """Throw a BPMN error at an external task."""
        body = {
            "workerId": worker,
            "errorCode": code,
            "errorMessage": message,
            "variables": _typed(variables),
        }
        return await self._do(f"/external-task/{task}/bpmnError", body)

    async def extend_lock(self, task: str, worker: str, lock: timedelta) -> Result:
        """Hold an external task longer."""
        body = {"workerId": worker, "newDuration": lock // timedelta(milliseconds=1)}
        return await self._do(f"/external-task/{task}/extendLock", body)

    async def complete_user_task(self, task: str, variables: Mapping[str, Any]) -> Result:
        """Complete a user task."""
        return await self._do(f"/task/{task}/complete", {"variables": _typed(variables)})

    async def correlate(
        self,
        message: str,
        *,
        business_key: str | None,
        correlation: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> Result:
        """Hand a message to the one who waits for it."""
        body: dict[str, Any] = {"messageName": message, "processVariables": _typed(variables)}
        if business_key is not None:
            body["businessKey"] = business_key
        if correlation:
            body["correlationKeys"] = _typed(correlation)
        answer = await self._client.post("/message", json=body)
        return await self._judge(answer, nobody=Result.REFUSED)

    async def signal(self, name: str, variables: Mapping[str, Any]) -> Result:
        """Tell a signal to all who wait for it."""
        return await self._do("/signal", {"name": name, "variables": _typed(variables)})

    async def retry(self, incident: str) -> Result:
        """Give what has stopped one more try."""
        found = (await self._get(f"/incident/{incident}"))["incidentType"]
        work = (await self._get(f"/incident/{incident}"))["configuration"]
        kind = "job" if found == "failedJob" else "external-task"
        answer = await self._client.put(f"/{kind}/{work}/retries", json={"retries": 1})
        return await self._judge(answer)

    async def delete(self, instance: str) -> Result:
        """Delete an instance."""
        return await self._judge(await self._client.delete(f"/process-instance/{instance}"))

    async def forward(self, span: timedelta) -> None:
        """Let time pass, and fire every timer at its time."""
        until = self._now + span
        while True:
            waiting = await self._get("/job", withRetriesLeft="true")
            due = min((_time(job["dueDate"]) for job in waiting if job["dueDate"]), default=None)
            if due is None or due > until:
                break
            await self._set(max(self._now, due + LATE))
            if not await self._settle():
                break
        await self._set(max(self._now, until))

    async def look(self) -> Scene:
        """See where everything stands."""
        instances = await self._instances()
        root_of = {each.id: each.root for each in instances}
        steps, tasks, incidents, variables = await asyncio.gather(
            self._get("/history/activity-instance", sortBy="occurrence", **_ASCENDING),
            self._get("/task", sortBy="created", **_ASCENDING),
            self._get("/incident"),
            self._get("/history/variable-instance"),
        )
        return Scene(
            instances=instances,
            steps=[
                _step(record, root_of[record["processInstanceId"]])
                for record in steps
                if record["processInstanceId"] in root_of
            ],
            user_tasks=[await self._user_task(t, root_of[t["processInstanceId"]]) for t in tasks],
            incidents=[
                IncidentSeen(
                    id=each["id"],
                    root=root_of[each["processInstanceId"]],
                    element=each["activityId"],
                )
                for each in incidents
                if each["id"] == each["rootCauseIncidentId"]  # callers have one for it, too
            ],
            variables={
                root: _variables(variables, root) for id_, root in root_of.items() if id_ == root
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
        return [
            InstanceSeen(
                id=each["id"],
                root=each["rootProcessInstanceId"],
                process_id=each["processDefinitionKey"],
                business_key=each["businessKey"],
                state=_STATES.get(each["state"], "terminated"),
            )
            for each in found
        ]

    async def _user_task(self, task: Mapping[str, Any], root: str) -> PersonalTask:
        if task["id"] not in self._candidates:
            links = await self._get(f"/task/{task['id']}/identity-links", type="candidate")
            self._candidates[task["id"]] = {
                "users": sorted(link["userId"] for link in links if link["userId"]),
                "groups": sorted(link["groupId"] for link in links if link["groupId"]),
            }
        return PersonalTask(
            id=task["id"],
            root=root,
            element=task["taskDefinitionKey"],
            fields=_set(
                name=task["name"],
                description=task["description"],
                assignee=task["assignee"],
                formKey=task["formKey"],
                priority=None if task["priority"] == 50 else task["priority"],
                due=task["due"] and f"{_time(task['due']):%Y-%m-%dT%H:%M:%SZ}",
                **self._candidates[task["id"]],
            ),
        )

    async def _set(self, now: datetime) -> None:
        self._now = now
        await self._set_clock(now)

    # -- calling -----------------------------------------------------------------------------

    async def _get(self, path: str, **parameters: str) -> Any:
        answer = await self._client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    async def _do(self, path: str, body: Mapping[str, Any]) -> Result:
        return await self._judge(await self._client.post(path, json=body))

    async def _judge(self, answer: httpx.Response, *, nobody: Result = Result.LOCK_LOST) -> Result:
        match answer.status_code:
            case 200 | 204:
                await self._settle()
                return Result.DONE
            case 404:
                return Result.GONE
            case 400:
                return nobody
            case 500:
                missing = "Cannot find task" in answer.json()["message"]
                return Result.GONE if missing else Result.REFUSED
        raise AssertionError(f"{answer.request.url}: {answer.status_code} {answer.text}")

    async def _settle(self) -> bool:
        """Run what is due until nothing is; a job that fails is tried until it is an incident."""
        ran = False
        for _ in range(_TRIES):
            due = await self._get("/job", executable="true", sortBy="jobDueDate", **_ASCENDING)
            if not due:
                return ran
            ran = True
            answer = await self._client.post(f"/job/{due[0]['id']}/execute")
            assert answer.status_code in {204, 404, 500}, answer.text
        raise AssertionError("There is no end of jobs that are due.")


def _typed(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: {"value": value} for name, value in variables.items()}


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def _variables(records: Sequence[Mapping[str, Any]], root: str) -> Mapping[str, Any]:
    return {
        each["name"]: each["value"]
        for each in sorted(records, key=lambda each: str(each["name"]))
        if each["executionId"] == root and each["state"] == "CREATED"
    }


def _step(record: Mapping[str, Any], root: str) -> StepSeen:
    state = "active" if record["endTime"] is None else "completed"
    return StepSeen(
        key=record["id"],
        root=root,
        element=record["activityId"],
        state="cancelled" if record["canceled"] else state,
    )


def _set(**fields: Any) -> Mapping[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], "")}
