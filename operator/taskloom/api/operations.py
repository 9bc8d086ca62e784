"""What operators ask: the resources' statuses, an event's whole way, what an event would do."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import ConfigDict

from taskloom.api.calls import call
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api
from taskloom.api.trigger import EVENT_SCHEMA, read_event
from taskloom.api.views import View
from taskloom.domain.permissions import Permission
from taskloom.flow.explain import explain_event
from taskloom.flow.render import instant_to_json
from taskloom.flow.retry_event import retry_event
from taskloom.flow.trace import trace_event
from taskloom.store.resources import StoredResource, read

router = APIRouter(tags=["operation"], route_class=Door)


class ResourceView(View):
    """A declared resource and what became of it."""

    kind: str
    namespace: str
    name: str
    generation: int
    place: str | None
    created_on: str
    spec: dict[str, Any]
    status: dict[str, Any]


class TraceView(View):
    """An event's way: its routes with their instances and tasks, and what was told of it."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    key: str
    source: str | None
    origin: str
    created_on: str
    routes: list[dict[str, Any]]
    outgoing: list[dict[str, Any]]


class RetriedView(View):
    """How much is tried again."""

    starts: int
    incidents: int


class Explanation(View):
    """What each mapping would make of an event."""

    key: str
    routes: list[dict[str, Any]]


@router.get(
    "/resources",
    response_model=list[ResourceView],
    **call(Permission.VIEW_RESOURCES, "List declared resources and their statuses"),
)
async def list_resources(
    api: Api,
    kind: Annotated[str | None, Query(description="Only this kind.")] = None,
    namespace: Annotated[str | None, Query(description="Only this namespace.")] = None,
    name: Annotated[str | None, Query(description="Only this name.")] = None,
) -> Response:
    """List what a folder or a cluster declares, by kind, namespace and name."""
    async with api.flow.tasks.begin() as tx:
        resources = await tx.resources.all()
    return json_response(
        [
            _resource_to_json(resource)
            for resource in resources
            if kind in (None, resource.kind)
            and namespace in (None, resource.namespace)
            and name in (None, resource.name)
        ]
    )


@router.get(
    "/events/{event_id:uuid}/trace",
    response_model=TraceView,
    **call(Permission.VIEW_EVENTS, "Trace an event"),
)
async def get_trace(api: Api, event_id: UUID) -> Response:
    """Show the whole way of an event: mappings, instances, commands, tasks, deliveries."""
    return json_response(await trace_event(api.flow, event_id))


@router.post(
    "/events/{event_id:uuid}/retry",
    response_model=RetriedView,
    **call(Permission.TRIGGER_EVENTS, "Try again what failed of an event"),
)
async def post_retry(api: Api, event_id: UUID) -> Response:
    """Give starts that failed and incidents another try; what is done stays done."""
    retried = await retry_event(api.flow, event_id)
    return json_response({"starts": retried.starts, "incidents": retried.incidents})


@router.post(
    "/explain",
    response_model=Explanation,
    **call(Permission.VIEW_EVENTS, "Explain what an event would do"),
)
async def post_explanation(
    request: Request,
    api: Api,
    _event: Annotated[dict[str, Any], Body(), EVENT_SCHEMA],
) -> Response:
    """Say which workflows an event would start, with which variables, without starting any."""
    event = read_event(request.state.body, None)
    return json_response(await explain_event(api.flow, event))


def _resource_to_json(resource: StoredResource) -> dict[str, Any]:
    return {
        "kind": resource.kind,
        "namespace": resource.namespace,
        "name": resource.name,
        "generation": resource.generation,
        "place": resource.place,
        "createdOn": instant_to_json(resource.created_on),
        "spec": read(resource.spec),
        "status": read(resource.status),
    }
