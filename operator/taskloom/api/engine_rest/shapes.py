"""Our rows as Camunda's JSON, key for key; what does not exist here is null."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from taskloom.api.engine_rest.dates import write_date
from taskloom.api.engine_rest.variables import write_variable, write_variables
from taskloom.domain.workflows import Workflow
from taskloom.flow.workflows import EXECUTED
from taskloom.ports.engine import InstanceState
from taskloom.ports.hosted_engine import (
    ActivityRow,
    DefinitionRow,
    IncidentRow,
    InstanceRow,
    Place,
    UserTaskRow,
    VariableRow,
    WorkItem,
)

Json = dict[str, Any]
_ENDINGS = {
    InstanceState.ACTIVE: "ACTIVE",
    InstanceState.COMPLETED: "COMPLETED",
    InstanceState.TERMINATED: "EXTERNALLY_TERMINATED",
}
# How Camunda calls events, by element and the kind of event (None: a plain one)
_EVENTS: Mapping[str, Mapping[str | None, str]] = {
    "startEvent": {
        "timer": "startTimerEvent",
        "message": "messageStartEvent",
        "signal": "signalStartEvent",
        "escalation": "escalationStartEvent",
        "error": "errorStartEvent",
    },
    "intermediateCatchEvent": {
        "timer": "intermediateTimer",
        "message": "intermediateMessageCatch",
        "signal": "intermediateSignalCatch",
    },
    "intermediateThrowEvent": {
        None: "intermediateNoneThrowEvent",
        "message": "intermediateMessageThrowEvent",
        "signal": "intermediateSignalThrow",
        "escalation": "intermediateEscalationThrowEvent",
    },
    "boundaryEvent": {
        "timer": "boundaryTimer",
        "message": "boundaryMessage",
        "signal": "boundarySignal",
        "error": "boundaryError",
        "escalation": "boundaryEscalation",
    },
    "endEvent": {
        None: "noneEndEvent",
        "message": "messageEndEvent",
        "signal": "signalEndEvent",
        "error": "errorEndEvent",
        "escalation": "escalationEndEvent",
        "terminate": "terminateEndEvent",
    },
}


def business_key(place: Place) -> str | None:
    """Give the business key, unless a start without one got it here."""
    key = place.business_key
    return None if key is None or key.startswith(EXECUTED) else key


def work_item(item: WorkItem) -> Json:
    """Show an external task."""
    return {
        "activityId": item.element_id,
        "activityInstanceId": f"{item.element_id}:{item.id}",
        "errorMessage": item.error,
        "executionId": item.id,
        "id": item.id,
        "lockExpirationTime": write_date(item.available_at) if _is_held(item) else None,
        "createTime": write_date(item.created_at),
        "processDefinitionId": item.place.definition_id,
        "processDefinitionKey": item.place.workflow_key,
        "processDefinitionVersionTag": None,
        "processInstanceId": item.place.instance_id,
        "retries": item.retries,
        "suspended": False,
        "workerId": item.worker_id,
        "topicName": item.topic,
        "tenantId": None,
        "priority": 0,
        "businessKey": business_key(item.place),
    }


def fetched_item(item: WorkItem, variables: Mapping[str, Any], *, plain: bool) -> Json:
    """Show an external task to the worker that has it now."""
    return work_item(item) | {
        "errorDetails": item.error_details,
        "variables": write_variables(variables, plain=plain),
        "extensionProperties": item.properties,
    }


def definition(row: DefinitionRow, workflow: Workflow | None) -> Json:
    """Show a deployed version; `workflow` is what it is a version of."""
    return {
        "id": row.id,
        "key": row.workflow_key,
        "category": None,
        "description": None if workflow is None else workflow.description,
        "name": None if workflow is None else workflow.name,
        "version": row.version,
        "resource": f"{row.workflow_key}.bpmn",
        "deploymentId": row.id,
        "diagram": None,
        "suspended": workflow is not None and workflow.suspended,
        "tenantId": None,
        "versionTag": None,
        "historyTimeToLive": None,
        "startableInTasklist": True,
    }


def deployment(row: DefinitionRow, workflow: Workflow | None) -> Json:
    """Show a deployment: each has one definition here, and its id."""
    return {
        "links": [],
        "id": row.id,
        "name": row.workflow_key if workflow is None else workflow.name,
        "source": None,
        "deploymentTime": write_date(row.deployed_at),
        "tenantId": None,
    }


def instance(place: Place, *, ended: bool) -> Json:
    """Show an instance as it runs."""
    return {
        "links": [],
        "id": place.instance_id,
        "definitionId": place.definition_id,
        "businessKey": business_key(place),
        "caseInstanceId": None,
        "ended": ended,
        "suspended": False,
        "tenantId": None,
        "definitionKey": place.workflow_key,
    }


def past_instance(row: InstanceRow, reason: str | None = None) -> Json:
    """Show an instance as history has it."""
    return {
        "id": row.place.instance_id,
        "businessKey": business_key(row.place),
        "processDefinitionId": row.place.definition_id,
        "processDefinitionKey": row.place.workflow_key,
        "processDefinitionName": None,
        "processDefinitionVersion": row.version,
        "startTime": write_date(row.started_at),
        "endTime": _date(row.ended_at),
        "removalTime": None,
        "durationInMillis": _duration(row.started_at, row.ended_at),
        "startUserId": None,
        "startActivityId": None,
        "deleteReason": reason,
        "rootProcessInstanceId": row.place.root_id,
        "superProcessInstanceId": row.caller_id,
        "superCaseInstanceId": None,
        "caseInstanceId": None,
        "tenantId": None,
        "state": _ENDINGS[row.state],
        "restartedProcessInstanceId": None,
    }


def user_task(row: UserTaskRow) -> Json:
    """Show an open user task."""
    return {
        "id": row.id,
        "name": row.name,
        "assignee": row.assignee,
        "created": write_date(row.created_at),
        "due": _due(row.due_date),
        "followUp": None,
        "lastUpdated": None,
        "delegationState": None,
        "description": row.description,
        "executionId": row.place.instance_id,
        "owner": None,
        "parentTaskId": None,
        "priority": row.priority,
        "processDefinitionId": row.place.definition_id,
        "processInstanceId": row.place.instance_id,
        "taskDefinitionKey": row.element_id,
        "caseExecutionId": None,
        "caseInstanceId": None,
        "caseDefinitionId": None,
        "suspended": False,
        "formKey": row.form_key,
        "camundaFormRef": None,
        "tenantId": None,
        "taskState": "Created",
    }


def identity_links(row: UserTaskRow) -> list[Json]:
    """Show who may do a user task."""
    groups = [_link(group=each) for each in row.candidate_groups]
    users = [_link(user=each) for each in row.candidate_users]
    assignee = [] if row.assignee is None else [_link(user=row.assignee, kind="assignee")]
    return groups + users + assignee


def activity(row: ActivityRow) -> Json:
    """Show a step of the history."""
    task = row.activity_id if row.element_type == "userTask" else None
    return {
        "id": f"{row.element_id}:{row.number}",
        "parentActivityInstanceId": row.place.instance_id,
        "activityId": row.element_id,
        "activityName": row.name,
        "activityType": _EVENTS.get(row.element_type, {}).get(row.event, row.element_type),
        "processDefinitionKey": row.place.workflow_key,
        "processDefinitionId": row.place.definition_id,
        "processInstanceId": row.place.instance_id,
        "executionId": row.activity_id or row.place.instance_id,
        "taskId": task,
        "calledProcessInstanceId": None,
        "calledCaseInstanceId": None,
        "assignee": None,
        "startTime": write_date(row.started_at),
        "endTime": _date(row.ended_at),
        "durationInMillis": _duration(row.started_at, row.ended_at),
        "canceled": row.state == "cancelled",
        "completeScope": False,
        "tenantId": None,
        "removalTime": None,
        "rootProcessInstanceId": row.place.root_id,
    }


def incident(row: IncidentRow) -> Json:
    """Show an open incident."""
    return {
        "id": row.id,
        "processDefinitionId": row.place.definition_id,
        "processInstanceId": row.place.instance_id,
        "executionId": row.activity_id,
        "incidentTimestamp": write_date(row.created_at),
        "incidentType": "failedExternalTask" if row.timer is None else "failedJob",
        "activityId": row.element_id,
        "failedActivityId": None,
        "causeIncidentId": row.id,
        "rootCauseIncidentId": row.id,
        "configuration": row.activity_id if row.timer is None else str(row.timer),
        "incidentMessage": row.message,
        "tenantId": None,
        "jobDefinitionId": None,
        "annotation": None,
    }


def variable(row: VariableRow, *, plain: bool) -> Json:
    """Show a variable as history has it."""
    return write_variable(row.value, plain=plain) | {
        "id": f"{row.place.instance_id}:{row.name}",
        "name": row.name,
        "processDefinitionKey": row.place.workflow_key,
        "processDefinitionId": row.place.definition_id,
        "processInstanceId": row.place.instance_id,
        "executionId": row.place.instance_id,
        "activityInstanceId": row.place.instance_id,
        "caseDefinitionKey": None,
        "caseDefinitionId": None,
        "caseInstanceId": None,
        "caseExecutionId": None,
        "taskId": None,
        "errorMessage": None,
        "tenantId": None,
        "state": "CREATED",
        "createTime": None,
        "removalTime": None,
        "rootProcessInstanceId": row.place.root_id,
    }


def _is_held(item: WorkItem) -> bool:
    """Tell whether a task was locked or put off; that time may be over."""
    return item.worker_id is not None or item.retries is not None


def _link(*, user: str | None = None, group: str | None = None, kind: str = "candidate") -> Json:
    return {"userId": user, "groupId": group, "type": kind}


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else write_date(moment)


def _duration(began: datetime, ended: datetime | None) -> int | None:
    return None if ended is None else max(0, round((ended - began).total_seconds() * 1000))


def _due(text: str | None) -> str | None:
    """Write a due date as a date, if the model's text is one."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return write_date(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
