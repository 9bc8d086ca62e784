"""Tasks and user tasks as JSON, with the original's field names: in answers and in events."""

import json
from datetime import UTC, datetime
from typing import Any

from taskloom.domain.tasks import Task, UserTask


def task_to_json(task: Task) -> dict[str, Any]:
    """Give a task's JSON."""
    return {
        "id": str(task.id),
        "key": task.key,
        "name": task.name,
        "description": task.description,
        "status": task.status,
        "priority": task.priority,
        "severity": task.severity,
        "type": task.type,
        "startDate": instant_to_json(task.start_date),
        "dueDate": instant_to_json(task.due_date),
        "endDate": instant_to_json(task.end_date),
        "assigneeId": task.assignee_id,
        "metadata": None if task.metadata is None else json.loads(task.metadata),
        "externalId": task.external_id,
        "notes": task.notes,
        **_audit(task),
    }


def user_task_to_json(task: UserTask) -> dict[str, Any]:
    """Give a user task's JSON."""
    return {
        "id": str(task.id),
        "taskId": str(task.task_id),
        "externalId": task.external_id,
        "key": task.key,
        "name": task.name,
        "description": task.description,
        "status": task.status,
        "priority": task.priority,
        "severity": task.severity,
        "type": task.type,
        "startDate": instant_to_json(task.start_date),
        "dueDate": instant_to_json(task.due_date),
        "endDate": instant_to_json(task.end_date),
        "assigneeId": task.assignee_id,
        "candidates": None if task.candidates is None else json.loads(task.candidates),
        "formKey": task.form_key,
        "metadata": None if task.metadata is None else json.loads(task.metadata),
        **_audit(task),
    }


def instant_to_json(moment: datetime | None) -> str | None:
    """Write an instant as JavaScript's toISOString does: UTC, milliseconds, Z."""
    if moment is None:
        return None
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _audit(row: Task | UserTask) -> dict[str, Any]:
    return {
        "createdOn": instant_to_json(row.created_on),
        "modifiedOn": instant_to_json(row.modified_on),
        "createdBy": row.created_by,
        "modifiedBy": row.modified_by,
        "deleted": row.deleted,
        "deletedOn": instant_to_json(row.deleted_on),
        "deletedBy": row.deleted_by,
    }
