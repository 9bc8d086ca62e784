"""Instances are started, each start id once.

The business key is the start id, unless the request has one of its own; then a variable keeps the
start id.  Either is found in the history again, so a start whose answer was lost is not repeated.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from taskloom.engines.camunda.client import Client, segment
from taskloom.engines.camunda.definitions import Definitions
from taskloom.engines.camunda.lineage import Lineage
from taskloom.engines.camunda.models import to_instance, write_time
from taskloom.engines.camunda.refusals import Answer, may_be_duplicate, refusal
from taskloom.engines.camunda.variables import START_ID, write_variables
from taskloom.errors import NotFound, TaskloomError, Temporary
from taskloom.ports.engine import Instance, InstanceState, StartRequest

_AT_ONCE = 8


class Starts:
    """Starts instances and finds those that were started."""

    def __init__(
        self, client: Client, definitions: Definitions, lineage: Lineage, *, spin: bool
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._lineage = lineage
        self._spin = spin

    async def start(self, request: StartRequest) -> Instance:
        """Start an instance, or give the one that its start id already has."""
        if not request.fresh:
            before = await self._find([request])
            if request.start_id in before:
                return before[request.start_id]
        return await self._start(request)

    async def start_many(
        self, requests: Sequence[StartRequest]
    ) -> Sequence[Instance | TaskloomError]:
        """Start instances side by side, after one look for all that may have been started."""
        before = await self._find([request for request in requests if not request.fresh])
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(request: StartRequest) -> Instance | TaskloomError:
            if request.start_id in before:
                return before[request.start_id]
            async with turn:
                try:
                    return await self._start(request)
                except TaskloomError as exc:
                    return exc

        results = await asyncio.gather(*(one(request) for request in requests))
        for result in results:
            if isinstance(result, Temporary):
                raise result  # those that did start are found the next time
        return results

    async def repeated(self, within: timedelta) -> Mapping[str, Sequence[Instance]]:
        """Find the start ids that more than one running instance has, the oldest of each first."""
        since = (self._client.now() or datetime.now(UTC)) - within
        query = {
            "startedAfter": write_time(since),
            "unfinished": True,
            "rootProcessInstances": True,
        }
        by_id: dict[tuple[str, str], list[Instance]] = {}
        named = await self._start_ids()
        for instance in await self._history(query):
            start_id = named.get(instance.id) or instance.business_key
            if start_id is not None and instance.id == instance.root_id:
                by_id.setdefault((instance.workflow_key, start_id), []).append(instance)
        return {start_id: found for (_, start_id), found in by_id.items() if len(found) > 1}

    async def _start(self, request: StartRequest) -> Instance:
        answer = await self._client.call(
            "POST", self._path(request), json_body=self._body(request), again=False
        )
        if answer.ok:
            return await self._started(request, answer)
        if may_be_duplicate(answer):
            found = await self._find([request])
            if request.start_id in found:
                return found[request.start_id]
        if answer.status == 404 or "no deployed process definition found" in answer.message:
            raise NotFound(
                f"There is no workflow {request.workflow_key}"
                + (
                    f" with the definition {request.definition_id}."
                    if request.definition_id
                    else ""
                )
                + f" The engine says: {answer.message}"
            )
        raise refusal(answer)

    def _path(self, request: StartRequest) -> str:
        if request.definition_id is not None:
            return f"/process-definition/{segment(request.definition_id)}/start"
        path = f"/process-definition/key/{segment(request.workflow_key)}"
        if self._client.tenant is not None:
            path += f"/tenant-id/{segment(self._client.tenant)}"
        return f"{path}/start"

    def _body(self, request: StartRequest) -> dict[str, Any]:
        variables = write_variables(request.variables, spin=self._spin)
        if _keeps_start_id(request):
            variables[START_ID] = {"type": "String", "value": request.start_id}
        return {"businessKey": _business_key(request), "variables": variables}

    async def _started(self, request: StartRequest, answer: Answer) -> Instance:
        body, now = answer.body, self._client.now() or datetime.now(UTC)
        self._lineage.note(body["id"], body["id"], body["definitionId"])
        return Instance(
            id=body["id"],
            root_id=body["id"],
            workflow_key=request.workflow_key,
            version=await self._definitions.version(body["definitionId"]),
            business_key=_business_key(request),
            state=InstanceState.COMPLETED if body.get("ended") else InstanceState.ACTIVE,
            started_at=now,
            ended_at=now if body.get("ended") else None,
        )

    async def _find(self, requests: Sequence[StartRequest]) -> dict[str, Instance]:
        """Find what these have started, by start id, the first where there are several."""
        found: dict[str, Instance] = {}
        by_business_key = [r for r in requests if not _keeps_start_id(r)]
        if by_business_key:
            wanted = {(r.workflow_key, r.start_id) for r in by_business_key}
            for instance in await self._history(
                {
                    "processInstanceBusinessKeyIn": [r.start_id for r in by_business_key],
                    "processDefinitionKeyIn": sorted({r.workflow_key for r in by_business_key}),
                }
            ):
                # asked again of what came: a filter that an engine does not know it leaves out
                if (instance.workflow_key, instance.business_key) in wanted:
                    found.setdefault(str(instance.business_key), instance)
        for request in requests:
            if _keeps_start_id(request):
                value = {"name": START_ID, "operator": "eq", "value": request.start_id}
                query = {"variables": [value], "processDefinitionKey": request.workflow_key}
                for instance in await self._history(query):
                    found.setdefault(request.start_id, instance)
        return found

    async def _history(self, query: Mapping[str, Any]) -> list[Instance]:
        entries = await self._client.every("/history/process-instance", self._in_order(query))
        for entry in entries:
            self._lineage.note_entry(entry)
        return [to_instance(entry) for entry in entries]

    def _in_order(self, query: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **self._client.of_tenant(query),
            "sorting": [
                {"sortBy": "startTime", "sortOrder": "asc"},
                {"sortBy": "instanceId", "sortOrder": "asc"},
            ],
        }

    async def _start_ids(self) -> dict[str, str]:
        """Read which start ids the variables of running instances keep, by instance."""
        variables = await self._client.every(
            "/variable-instance",
            {
                "variableName": START_ID,
                "sorting": [{"sortBy": "activityInstanceId", "sortOrder": "asc"}],
            },
        )
        return {each["processInstanceId"]: str(each["value"]) for each in variables}


def _keeps_start_id(request: StartRequest) -> bool:
    return request.business_key not in {None, request.start_id}


def _business_key(request: StartRequest) -> str:
    return request.start_id if request.business_key is None else request.business_key
