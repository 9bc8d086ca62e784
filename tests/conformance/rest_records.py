"""What the Camunda 7 REST API writes and reads, as the stage sees it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.conformance.stage import IncidentSeen, InstanceSeen, PersonalTask, StepSeen

_STATES = {"ACTIVE": "active", "COMPLETED": "completed"}


def typed(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Wrap variables for the API; their types are left to the engine."""
    return {name: {"value": value} for name, value in variables.items()}


def read_time(text: str) -> datetime:
    """Read ``2030-01-01T00:00:00.000+0000``."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def to_instance(record: Mapping[str, Any]) -> InstanceSeen:
    """Read a historic process instance."""
    return InstanceSeen(
        id=record["id"],
        root=record["rootProcessInstanceId"],
        process_id=record["processDefinitionKey"],
        business_key=record["businessKey"],
        state=_STATES.get(record["state"], "terminated"),
    )


def to_step(record: Mapping[str, Any], root: str) -> StepSeen:
    """Read a historic activity instance."""
    state = "active" if record["endTime"] is None else "completed"
    return StepSeen(
        key=record["id"],
        root=root,
        element=record["activityId"],
        state="cancelled" if record["canceled"] else state,
    )


def to_personal_task(
    task: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], root: str
) -> PersonalTask:
    """Read a task and its identity links."""
    fields = {
        "name": task["name"],
        "description": task["description"],
        "assignee": task["assignee"],
        "formKey": task["formKey"],
        "priority": None if task["priority"] == 50 else task["priority"],
        "due": task["due"] and f"{read_time(task['due']):%Y-%m-%dT%H:%M:%SZ}",
        "users": sorted(link["userId"] for link in candidates if link["userId"]),
        "groups": sorted(link["groupId"] for link in candidates if link["groupId"]),
    }
    return PersonalTask(
        id=task["id"],
        root=root,
        element=task["taskDefinitionKey"],
        fields={name: value for name, value in fields.items() if value not in (None, [], "")},
    )


def to_incident(record: Mapping[str, Any], root: str) -> IncidentSeen:
    """Read an incident."""
    return IncidentSeen(id=record["id"], root=root, element=record["activityId"])


def to_variables(records: Sequence[Mapping[str, Any]], root: str) -> Mapping[str, Any]:
    """Read those of historic variables that are the process instance's own."""
    return {name: each["value"] for name, each in own_variables(records, root).items()}


def own_variables(
    records: Sequence[Mapping[str, Any]], root: str
) -> Mapping[str, Mapping[str, Any]]:
    """Choose those of historic variables that are the process instance's own, by name."""
    return {
        each["name"]: each
        for each in sorted(records, key=lambda each: str(each["name"]))
        if each["executionId"] == root and each["state"] == "CREATED"
    }
