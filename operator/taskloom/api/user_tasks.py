"""The user tasks of a task: to list, to complete and to delete."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Response

from taskloom.api.calls import Count, call, choice_of, chosen, filter_over, where_over
from taskloom.api.door import Caller, Door, json_response
from taskloom.api.services import Api
from taskloom.api.views import View
from taskloom.domain.permissions import Permission
from taskloom.domain.query_tree import Filter, Queryable, Where
from taskloom.domain.query_values import Field, FieldType
from taskloom.domain.tasks import Priority, UserTaskStatus
from taskloom.errors import NotFound
from taskloom.flow.complete_user_task import complete_user_task
from taskloom.flow.delete_tasks import delete_user_task, delete_user_tasks
from taskloom.flow.render import user_task_to_json
from taskloom.store.transaction import Transaction

router = APIRouter(tags=["user tasks"], route_class=Door)

USER_TASKS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "taskId": Field(type=FieldType.UUID),
        "externalId": Field(type=FieldType.TEXT),
        "key": Field(type=FieldType.TEXT),
        "name": Field(type=FieldType.TEXT),
        "description": Field(type=FieldType.TEXT),
        "status": Field(type=FieldType.ENUM, values=tuple(UserTaskStatus)),
        "priority": Field(type=FieldType.ENUM, values=tuple(Priority)),
        "severity": Field(type=FieldType.TEXT),
        "type": Field(type=FieldType.TEXT),
        "startDate": Field(type=FieldType.DATETIME),
        "dueDate": Field(type=FieldType.DATETIME),
        "endDate": Field(type=FieldType.DATETIME),
        "assigneeId": Field(type=FieldType.TEXT),
        "candidates": Field(type=FieldType.JSON),
        "formKey": Field(type=FieldType.TEXT),
        "metadata": Field(type=FieldType.JSON),
        "createdOn": Field(type=FieldType.DATETIME),
        "modifiedOn": Field(type=FieldType.DATETIME),
        "createdBy": Field(type=FieldType.TEXT),
        "modifiedBy": Field(type=FieldType.TEXT),
    }
)


class UserTaskView(View):
    """A step of a task's workflow that waits for a person."""

    id: UUID | None = None
    task_id: UUID | None = None
    external_id: str | None = None
    key: str | None = None
    name: str | None = None
    description: str | None = None
    status: Literal["pending", "in progress", "completed", "cancelled"] | None = None
    priority: Literal["low", "medium", "high"] | None = None
    severity: str | None = None
    type: str | None = None
    start_date: str | None = None
    due_date: str | None = None
    end_date: str | None = None
    assignee_id: str | None = None
    candidates: dict[str, Any] | None = None
    form_key: str | None = None
    metadata: dict[str, Any] | None = None
    created_on: str | None = None
    modified_on: str | None = None
    created_by: str | None = None
    modified_by: str | None = None
    deleted: bool | None = None
    deleted_on: str | None = None
    deleted_by: str | None = None


@router.get(
    "/tasks/{task_id:uuid}/user-tasks",
    response_model=list[UserTaskView],
    **call(Permission.VIEW_USER_TASKS, "List a task's user tasks", asks="filter"),
)
async def list_user_tasks(
    api: Api, task_id: UUID, query: Annotated[Filter, filter_over(USER_TASKS)]
) -> Response:
    """List the user tasks of one task."""
    async with api.flow.tasks.begin() as tx:
        await _check_task(tx, task_id)
        found = await tx.user_tasks.list(task_id, query)
    return json_response([chosen(user_task_to_json(item), query) for item in found])


@router.get(
    "/tasks/{task_id:uuid}/user-tasks/count",
    response_model=Count,
    **call(Permission.VIEW_USER_TASKS, "Count a task's user tasks", asks="where"),
)
async def count_user_tasks(
    api: Api, task_id: UUID, where: Annotated[Where, where_over(USER_TASKS)]
) -> Response:
    """Count the user tasks of one task that match."""
    async with api.flow.tasks.begin() as tx:
        await _check_task(tx, task_id)
        count = await tx.user_tasks.count(task_id, where)
    return json_response({"count": count})


@router.get(
    "/tasks/{task_id:uuid}/user-tasks/{user_task_id:uuid}",
    response_model=UserTaskView,
    **call(Permission.VIEW_USER_TASKS, "Look at a user task", asks="filter"),
)
async def get_user_task(
    api: Api,
    task_id: UUID,
    user_task_id: UUID,
    query: Annotated[Filter, choice_of(USER_TASKS)],
) -> Response:
    """Show one user task, on its own task's path only."""
    async with api.flow.tasks.begin() as tx:
        await _check_task(tx, task_id)
        found = await tx.user_tasks.get(task_id, user_task_id)
    if found is None:
        raise NotFound(f"The task {task_id} has no user task {user_task_id}.")
    return json_response(chosen(user_task_to_json(found), query))


@router.patch(
    "/tasks/{task_id:uuid}/user-tasks/{user_task_id:uuid}/complete",
    status_code=204,
    **call(Permission.COMPLETE_USER_TASKS, "Complete a user task"),
)
async def patch_complete(
    api: Api,
    caller: Caller,
    task_id: UUID,
    user_task_id: UUID,
    variables: Annotated[
        dict[str, Any] | None,
        Body(description="Variables for the workflow, if it needs any.", examples=[{}]),
    ] = None,
) -> None:
    """Complete a user task: its workflow goes on, and subscribers are told."""
    await complete_user_task(api.flow, task_id, user_task_id, variables or {}, by=caller.subject)


@router.delete(
    "/tasks/{task_id:uuid}/user-tasks/{user_task_id:uuid}",
    status_code=204,
    **call(Permission.DELETE_USER_TASKS, "Delete a user task"),
)
async def delete_one(api: Api, caller: Caller, task_id: UUID, user_task_id: UUID) -> None:
    """Delete one user task of a task."""
    await delete_user_task(api.flow, task_id, user_task_id, by=caller.subject)


@router.delete(
    "/tasks/{task_id:uuid}/user-tasks",
    response_model=Count,
    **call(Permission.DELETE_USER_TASKS, "Delete a task's user tasks"),
)
async def delete_all(api: Api, caller: Caller, task_id: UUID) -> Response:
    """Delete the user tasks of this task, and of no other."""
    count = await delete_user_tasks(api.flow, task_id, by=caller.subject)
    return json_response({"count": count})


async def _check_task(tx: Transaction, task_id: UUID) -> None:
    if await tx.tasks.get(task_id) is None:
        raise NotFound(f"There is no task {task_id}.")
