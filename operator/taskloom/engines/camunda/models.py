"""The engine's answers as values of the port: pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from taskloom.engines.camunda.variables import START_ID, read_variables
from taskloom.ports.engine import (
    ActivityRecord,
    EngineUserTask,
    ExternalTask,
    Incident,
    Instance,
    InstanceState,
)

Json = Mapping[str, Any]

NO_INSTANCE = ""
"""Where the work of an incident belongs to no instance, as a start that failed."""

# the tags of BPMN by the engine's types, where these say more than the tag
_TAGS = {
    "noneEndEvent": "endEvent",
    "errorEndEvent": "endEvent",
    "messageEndEvent": "endEvent",
    "signalEndEvent": "endEvent",
    "escalationEndEvent": "endEvent",
    "compensationEndEvent": "endEvent",
    "cancelEndEvent": "endEvent",
    "terminateEndEvent": "endEvent",
    "startTimerEvent": "startEvent",
    "messageStartEvent": "startEvent",
    "signalStartEvent": "startEvent",
    "errorStartEvent": "startEvent",
    "escalationStartEvent": "startEvent",
    "conditionalStartEvent": "startEvent",
    "intermediateTimer": "intermediateCatchEvent",
    "intermediateMessageCatch": "intermediateCatchEvent",
    "intermediateSignalCatch": "intermediateCatchEvent",
    "intermediateConditional": "intermediateCatchEvent",
    "intermediateLinkCatch": "intermediateCatchEvent",
    "intermediateCatchEvent": "intermediateCatchEvent",
    "intermediateNoneThrowEvent": "intermediateThrowEvent",
    "intermediateMessageThrowEvent": "intermediateThrowEvent",
    "intermediateSignalThrow": "intermediateThrowEvent",
    "intermediateEscalationThrowEvent": "intermediateThrowEvent",
    "intermediateCompensationThrowEvent": "intermediateThrowEvent",
}


def read_time(text: str) -> datetime:
    """Read the engine's date and time: ``2026-11-24T10:00:00.000+0000``."""
    return datetime.fromisoformat(text).astimezone(UTC)


def write_time(moment: datetime) -> str:
    """Write a date and time as the engine reads it, to the millisecond below."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "+0000"


def to_instance(entry: Json) -> Instance:
    """Read an entry of the engine's history."""
    ended = entry.get("endTime")
    state = InstanceState.ACTIVE
    if ended is not None:
        completed = entry.get("state") == "COMPLETED"
        state = InstanceState.COMPLETED if completed else InstanceState.TERMINATED
    return Instance(
        id=entry["id"],
        root_id=entry.get("rootProcessInstanceId") or entry["id"],
        workflow_key=entry["processDefinitionKey"],
        version=int(entry["processDefinitionVersion"]),
        business_key=entry.get("businessKey"),
        state=state,
        started_at=read_time(entry["startTime"]),
        ended_at=None if ended is None else read_time(ended),
    )


def to_external_task(entry: Json, root_id: str) -> ExternalTask:
    """Read a locked task."""
    variables = entry.get("variables") or {}
    return ExternalTask(
        id=entry["id"],
        topic=entry["topicName"],
        element_id=entry["activityId"],
        instance_id=entry["processInstanceId"],
        root_instance_id=root_id,
        workflow_key=entry["processDefinitionKey"],
        business_key=entry.get("businessKey"),
        variables=read_variables(variables),
        retries=entry.get("retries"),
        start_id=variables.get(START_ID, {}).get("value") or entry.get("businessKey"),
    )


def to_user_task(
    entry: Json, root_id: str, groups: Sequence[str], users: Sequence[str]
) -> EngineUserTask:
    """Read an open user task, given who may do it."""
    return EngineUserTask(
        id=entry["id"],
        element_id=entry["taskDefinitionKey"],
        instance_id=entry["processInstanceId"],
        root_instance_id=root_id,
        name=entry.get("name"),
        description=entry.get("description"),
        assignee=entry.get("assignee"),
        candidate_groups=tuple(groups),
        candidate_users=tuple(users),
        form_key=entry.get("formKey"),
        priority=int(entry.get("priority") or 0),
        due_date=_due(entry.get("due")),
        created_at=read_time(entry["created"]),
    )


def to_activity(entry: Json) -> ActivityRecord:
    """Read a step of an instance's history."""
    ended = entry.get("endTime")
    state = "active"
    if ended is not None:
        state = "cancelled" if entry.get("canceled") else "completed"
    return ActivityRecord(
        instance_id=entry["processInstanceId"],
        element_id=entry["activityId"],
        element_type=_tag(entry["activityType"]),
        name=entry.get("activityName"),
        started_at=read_time(entry["startTime"]),
        ended_at=None if ended is None else read_time(ended),
        state=state,
    )


def to_incident(entry: Json, root_id: str) -> Incident:
    """Read an open incident: it is where the work waits, though what failed may lie behind it."""
    return Incident(
        id=entry["id"],
        instance_id=entry["processInstanceId"] or NO_INSTANCE,
        root_instance_id=root_id,
        element_id=entry.get("activityId") or entry.get("failedActivityId") or "",
        message=entry.get("incidentMessage") or "",
        created_at=read_time(entry["incidentTimestamp"]),
    )


def version_of(definition_id: str) -> int | None:
    """Read the version from a definition's id, ``key:version:id``; None where that was too long."""
    parts = definition_id.rsplit(":", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else None


def _tag(activity_type: str) -> str:
    return (
        "boundaryEvent"
        if activity_type.startswith("boundary")
        else _TAGS.get(activity_type, activity_type)
    )


def _due(text: str | None) -> str | None:
    if text is None:
        return None
    moment = read_time(text)
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
