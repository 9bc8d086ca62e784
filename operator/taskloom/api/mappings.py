"""Which workflow an event or a task starts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Response

from taskloom.api.calls import call
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api
from taskloom.api.views import Input, Key, View
from taskloom.domain.permissions import Permission
from taskloom.flow.mappings import map_event, map_task

router = APIRouter(tags=["mappings"], route_class=Door)


class NewEventMapping(Input):
    """Start a workflow for every event of a key; `*` is every event."""

    event_key: Key
    workflow_key: Key


class EventMappingView(View):
    """An event mapping."""

    id: UUID
    event_key: str
    workflow_key: str


class NewTaskMapping(Input):
    """Start a workflow for every task of a key."""

    task_key: Key
    workflow_key: Key


class TaskMappingView(View):
    """A task mapping."""

    id: UUID
    task_key: str
    workflow_key: str


@router.post(
    "/events/mapping",
    response_model=EventMappingView,
    **call(Permission.MANAGE_MAPPINGS, "Map an event key to a workflow"),
)
async def post_event_mapping(
    api: Api,
    new: Annotated[
        NewEventMapping,
        Body(examples=[{"eventKey": "purchase.requested", "workflowKey": "purchase-request"}]),
    ],
) -> Response:
    """Start a workflow for events of a key from now on; the same again changes nothing."""
    mapping = await map_event(api.flow, new.event_key, new.workflow_key)
    return json_response(
        {
            "id": str(mapping.id),
            "eventKey": mapping.event_key,
            "workflowKey": mapping.workflow_key,
        }
    )


@router.post(
    "/tasks/mapping",
    response_model=TaskMappingView,
    **call(Permission.MANAGE_MAPPINGS, "Map a task key to a workflow"),
)
async def post_task_mapping(
    api: Api,
    new: Annotated[
        NewTaskMapping,
        Body(examples=[{"taskKey": "approve-purchase", "workflowKey": "approval"}]),
    ],
) -> Response:
    """Start a workflow for tasks of a key from now on, in place of any other."""
    mapping = await map_task(api.flow, new.task_key, new.workflow_key)
    return json_response(
        {
            "id": str(mapping.id),
            "taskKey": mapping.task_key,
            "workflowKey": mapping.workflow_key,
        }
    )
