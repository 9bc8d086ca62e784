"""Tasks: to list, to look at, to change and to delete."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import ConfigDict, WithJsonSchema

from taskloom.api.calls import Count, call, choice_of, chosen, filter_over, where_over
from taskloom.api.door import Caller, Door, json_response
from taskloom.api.services import Api
from taskloom.api.user_tasks import UserTaskView
from taskloom.api.views import View
from taskloom.domain.permissions import Permission
from taskloom.domain.query_tree import Filter, Queryable, Where
from taskloom.domain.query_values import Field, FieldType, read_value
from taskloom.domain.tasks import Priority, Task, TaskStatus
from taskloom.errors import NotFound
from taskloom.flow.delete_tasks import delete_task, delete_tasks
from taskloom.flow.render import task_to_json, user_task_to_json
from taskloom.flow.update_tasks import update_task, update_tasks
from taskloom.store.transaction import Transaction

router = APIRouter(tags=["tasks"], route_class=Door)

TASKS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "key": Field(type=FieldType.TEXT),
        "name": Field(type=FieldType.TEXT),
        "description": Field(type=FieldType.TEXT),
        "status": Field(type=FieldType.ENUM, values=tuple(TaskStatus)),
        "priority": Field(type=FieldType.ENUM, values=tuple(Priority)),
        "severity": Field(type=FieldType.TEXT),
        "type": Field(type=FieldType.TEXT),
        "startDate": Field(type=FieldType.DATETIME),
        "dueDate": Field(type=FieldType.DATETIME),
        "endDate": Field(type=FieldType.DATETIME),
        "assigneeId": Field(type=FieldType.TEXT),
        "metadata": Field(type=FieldType.JSON),
        "externalId": Field(type=FieldType.TEXT),
        "notes": Field(type=FieldType.TEXT),
        "createdOn": Field(type=FieldType.DATETIME),
        "modifiedOn": Field(type=FieldType.DATETIME),
        "createdBy": Field(type=FieldType.TEXT),
        "modifiedBy": Field(type=FieldType.TEXT),
    },
    relations=("userTasks",),
)


class TaskChange(View):
    """What can be changed of a task; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"status": "in progress", "notes": "Called."}}
    )

    key: str = ""
    name: str | None = None
    description: str | None = None
    status: Literal["pending", "in progress", "completed"] = "pending"
    priority: Literal["low", "medium", "high"] = "medium"
    severity: str | None = None
    type: str | None = None
    start_date: str | None = None
    due_date: str | None = None
    end_date: str | None = None
    assignee_id: str | None = None
    metadata: dict[str, Any] | None = None
    notes: str | None = None


class TaskView(View):
    """A task."""

    id: UUID | None = None
    key: str | None = None
    name: str | None = None
    description: str | None = None
    status: Literal["pending", "in progress", "completed"] | None = None
    priority: Literal["low", "medium", "high"] | None = None
    severity: str | None = None
    type: str | None = None
    start_date: str | None = None
    due_date: str | None = None
    end_date: str | None = None
    assignee_id: str | None = None
    metadata: dict[str, Any] | None = None
    external_id: str | None = None
    notes: str | None = None
    created_on: str | None = None
    modified_on: str | None = None
    created_by: str | None = None
    modified_by: str | None = None
    deleted: bool | None = None
    deleted_on: str | None = None
    deleted_by: str | None = None
    user_tasks: list[UserTaskView] | None = None


_Cascade = Annotated[
    bool, Query(description="Delete its user tasks and end its process instance as well.")
]
_Change = Annotated[
    dict[str, Any], Body(), WithJsonSchema(TaskChange.model_json_schema(by_alias=True))
]


@router.get(
    "/tasks",
    response_model=list[TaskView],
    **call(Permission.VIEW_TASKS, "List tasks", asks="filter"),
)
async def list_tasks(api: Api, query: Annotated[Filter, filter_over(TASKS)]) -> Response:
    """List tasks, oldest first unless an order is asked for; `include` adds their userTasks."""
    async with api.flow.tasks.begin() as tx:
        tasks = await tx.tasks.list(query)
        rows = await _rows(tx, tasks, query)
    return json_response(rows)


@router.get(
    "/tasks/count",
    response_model=Count,
    **call(Permission.VIEW_TASKS, "Count tasks", asks="where"),
)
async def count_tasks(api: Api, where: Annotated[Where, where_over(TASKS)]) -> Response:
    """Count the tasks that match."""
    async with api.flow.tasks.begin() as tx:
        count = await tx.tasks.count(where)
    return json_response({"count": count})


@router.get(
    "/tasks/{task_id:uuid}",
    response_model=TaskView,
    **call(Permission.VIEW_TASKS, "Look at a task", asks="filter"),
)
async def get_task(api: Api, task_id: UUID, query: Annotated[Filter, choice_of(TASKS)]) -> Response:
    """Show one task."""
    async with api.flow.tasks.begin() as tx:
        task = await tx.tasks.get(task_id)
        if task is None:
            raise NotFound(f"There is no task {task_id}.")
        rows = await _rows(tx, [task], query)
    return json_response(rows[0])


@router.patch(
    "/tasks/{task_id:uuid}",
    status_code=204,
    **call(Permission.UPDATE_TASKS, "Change a task"),
)
async def patch_task(api: Api, caller: Caller, task_id: UUID, change: _Change) -> None:
    """Change a task; its status goes to its open user tasks.  A completed task is refused."""
    _check_values(change)
    await update_task(api.flow, task_id, change, by=caller.subject)


@router.patch(
    "/tasks",
    response_model=Count,
    **call(Permission.UPDATE_TASKS, "Change many tasks", asks="where"),
)
async def patch_tasks(
    api: Api, caller: Caller, change: _Change, where: Annotated[Where, where_over(TASKS)]
) -> Response:
    """Change every task that matches; if one of them is completed, none is changed."""
    _check_values(change)
    count = await update_tasks(api.flow, where, change, by=caller.subject)
    return json_response({"count": count})


@router.delete(
    "/tasks/{task_id:uuid}",
    status_code=204,
    **call(Permission.DELETE_TASKS, "Delete a task"),
)
async def delete_one(api: Api, caller: Caller, task_id: UUID, cascade: _Cascade = False) -> None:
    """Delete a task."""
    await delete_task(api.flow, task_id, cascade=cascade, by=caller.subject)


@router.delete(
    "/tasks",
    response_model=Count,
    **call(Permission.DELETE_TASKS, "Delete many tasks", asks="where"),
)
async def delete_many(
    api: Api,
    caller: Caller,
    where: Annotated[Where, where_over(TASKS)],
    cascade: _Cascade = False,
) -> Response:
    """Delete every task that matches: without `where`, all of them."""
    count = await delete_tasks(api.flow, where, cascade=cascade, by=caller.subject)
    return json_response({"count": count})


async def _rows(tx: Transaction, tasks: Sequence[Task], query: Filter) -> list[dict[str, Any]]:
    rows = [chosen(task_to_json(task), query) for task in tasks]
    if "userTasks" in query.include and tasks:
        by_task: dict[UUID, list[dict[str, Any]]] = {task.id: [] for task in tasks}
        for item in await tx.user_tasks.of_tasks(list(by_task)):
            by_task[item.task_id].append(user_task_to_json(item))
        for task, row in zip(tasks, rows, strict=True):
            row["userTasks"] = by_task[task.id]
    return rows


def _check_values(change: Mapping[str, Any]) -> None:
    """Refuse what no column holds: dates out of range, NUL and lone surrogates in text."""
    for name, value in change.items():
        known = TASKS.fields.get(name)
        if known is not None and known.type is not FieldType.JSON:
            read_value(known, value, name, lenient=False)
