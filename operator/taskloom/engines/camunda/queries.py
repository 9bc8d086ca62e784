"""What is asked of the engine: instances, their history, incidents, counts."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskloom.engines.camunda.client import PAGE, Client, segment
from taskloom.engines.camunda.lineage import Lineage, find_instances
from taskloom.engines.camunda.models import NO_INSTANCE, to_activity, to_incident, to_instance
from taskloom.engines.camunda.refusals import refusal
from taskloom.errors import NotFound
from taskloom.ports.engine import ActivityRecord, Incident, Instance

Json = dict[str, Any]
_BY_OCCURRENCE = [{"sortBy": "occurrence", "sortOrder": "asc"}]


class Queries:
    """Reads, and the two commands of an operator: delete, and try again."""

    def __init__(self, client: Client, lineage: Lineage) -> None:
        self._client = client
        self._lineage = lineage

    async def instances(self, instance_ids: Sequence[str]) -> list[Instance]:
        """Give instances and those that they called."""
        found: list[Json] = []
        seen: set[str] = set()
        waiting = list(dict.fromkeys(instance_ids))
        while waiting:
            entries = await find_instances(self._client, waiting)
            seen.update(entry["id"] for entry in entries)
            found += entries
            waiting = []
            for entry in entries:
                self._lineage.note_entry(entry)
                if await self._lineage.calls(entry["id"]):
                    waiting += [
                        id_ for id_ in await self._called_by(entry["id"]) if id_ not in seen
                    ]
        instances = [to_instance(entry) for entry in found]
        return sorted(instances, key=lambda each: (each.started_at, each.id != each.root_id))

    async def history(self, root_ids: Sequence[str]) -> list[ActivityRecord]:
        """Give the steps of root instances and of what they called."""
        waiting = list(dict.fromkeys(root_ids))[::-1]
        steps: list[ActivityRecord] = []
        while waiting:
            for entry in await self._client.every(
                "/history/activity-instance",
                {"processInstanceId": waiting.pop(), "sorting": _BY_OCCURRENCE},
            ):
                steps.append(to_activity(entry))
                if entry.get("calledProcessInstanceId") is not None:
                    waiting.append(entry["calledProcessInstanceId"])
        # the engine's order is that of each path: what ran side by side is told apart by time
        return sorted(steps, key=lambda step: step.started_at)

    async def incidents(self, root_ids: Sequence[str] | None) -> list[Incident]:
        """Give open incidents where they arose, not again in those who called."""
        entries = []
        if root_ids is None:
            entries = await self._all_incidents()
        else:
            for instance_id in await self._lineage.below(root_ids):
                entries += await self._client.get(
                    "/incident", processInstanceId=instance_id, sortBy="incidentTimestamp",
                    sortOrder="asc",
                )  # fmt: skip
        own = [entry for entry in entries if entry["id"] == entry["causeIncidentId"]]
        ids = [entry["processInstanceId"] or NO_INSTANCE for entry in own]
        roots = await self._lineage.roots_of(ids)
        return [to_incident(entry, roots[id_]) for entry, id_ in zip(own, ids, strict=True)]

    async def retry_incident(self, incident_id: str, retries: int) -> None:
        """Give the failed work more tries, which closes its incident."""
        answer = await self._client.call("GET", f"/incident/{segment(incident_id)}")
        if answer.status == 404:
            raise NotFound(f"There is no incident {incident_id}.")
        if not answer.ok:
            raise refusal(answer)
        kind, work = answer.body["incidentType"], answer.body.get("configuration") or ""
        tries = {"retries": max(1, retries)}
        if kind == "failedExternalTask":
            await self._client.demand(
                "PUT", f"/external-task/{segment(work)}/retries", json_body=tries
            )
        elif kind == "failedJob":
            await self._client.demand("PUT", f"/job/{segment(work)}/retries", json_body=tries)
        else:  # somebody's own kind: to be closed is all that can be done with it
            await self._client.demand("DELETE", f"/incident/{segment(incident_id)}")

    async def delete(self, instance_id: str) -> None:
        """End an instance and those it called; one that is not there is ended."""
        answer = await self._client.call(
            "DELETE",
            f"/process-instance/{segment(instance_id)}",
            query={"failIfNotExists": False, "skipCustomListeners": True},
        )
        if not answer.ok and answer.status != 404:
            raise refusal(answer)

    async def running(self, workflow_key: str) -> int:
        """Count the running instances of all versions."""
        counted = await self._client.get(
            "/process-instance/count",
            processDefinitionKey=workflow_key,
            tenantIdIn=self._client.tenant,
        )
        return int(counted["count"])

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the running instances of every workflow."""
        counts: dict[str, int] = {}
        for entry in await self._client.get("/process-definition/statistics"):
            definition = entry["definition"]
            if self._client.tenant in {None, definition.get("tenantId")} and entry["instances"]:
                key = definition["key"]
                counts[key] = counts.get(key, 0) + int(entry["instances"])
        return counts

    async def _called_by(self, instance_id: str) -> list[str]:
        calls = await self._client.every(
            "/history/activity-instance",
            {
                "processInstanceId": instance_id,
                "activityType": "callActivity",
                "sorting": _BY_OCCURRENCE,
            },
        )
        called = (call.get("calledProcessInstanceId") for call in calls)
        return [id_ for id_ in called if id_ is not None]

    async def _all_incidents(self) -> list[Json]:
        entries: list[Json] = []
        while True:
            page = await self._client.get(
                "/incident",
                sortBy="incidentTimestamp",
                sortOrder="asc",
                firstResult=len(entries),
                maxResults=PAGE,
                tenantIdIn=self._client.tenant,
            )
            entries += page
            if len(page) < PAGE:
                return entries
