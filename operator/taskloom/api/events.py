"""Events that came in: to list and to look at."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response

from taskloom.api.calls import Count, call, choice_of, chosen, filter_over, where_over
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api
from taskloom.api.views import View
from taskloom.domain.events import Event
from taskloom.domain.permissions import Permission
from taskloom.domain.query_tree import Filter, Queryable, Where
from taskloom.domain.query_values import Field, FieldType
from taskloom.errors import NotFound
from taskloom.flow.render import instant_to_json

router = APIRouter(tags=["events"], route_class=Door)

EVENTS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "key": Field(type=FieldType.TEXT),
        "payload": Field(type=FieldType.JSON),
        "source": Field(type=FieldType.TEXT),
        "description": Field(type=FieldType.TEXT),
        "createdOn": Field(type=FieldType.DATETIME),
    }
)


class EventView(View):
    """An event as it came in."""

    id: UUID | None = None
    key: str | None = None
    payload: dict[str, Any] | None = None
    source: str | None = None
    description: str | None = None
    created_on: str | None = None


@router.get(
    "/events",
    response_model=list[EventView],
    **call(Permission.VIEW_EVENTS, "List events", asks="filter"),
)
async def list_events(api: Api, query: Annotated[Filter, filter_over(EVENTS)]) -> Response:
    """List the events that came in, oldest first unless an order is asked for."""
    async with api.flow.tasks.begin() as tx:
        events = await tx.events.list(query)
    return json_response([chosen(event_to_json(event), query) for event in events])


@router.get(
    "/events/count",
    response_model=Count,
    **call(Permission.VIEW_EVENTS, "Count events", asks="where"),
)
async def count_events(api: Api, where: Annotated[Where, where_over(EVENTS)]) -> Response:
    """Count the events that match."""
    async with api.flow.tasks.begin() as tx:
        count = await tx.events.count(where)
    return json_response({"count": count})


@router.get(
    "/events/{event_id:uuid}",
    response_model=EventView,
    **call(Permission.VIEW_EVENTS, "Look at an event", asks="filter"),
)
async def get_event(
    api: Api, event_id: UUID, query: Annotated[Filter, choice_of(EVENTS)]
) -> Response:
    """Show one event."""
    async with api.flow.tasks.begin() as tx:
        event = await tx.events.get(event_id)
    if event is None:
        raise NotFound(f"There is no event {event_id}.")
    return json_response(chosen(event_to_json(event), query))


def event_to_json(event: Event) -> dict[str, Any]:
    """Give an event's JSON; its payload as it came."""
    return {
        "id": str(event.id),
        "key": event.key,
        "payload": msgspec.Raw(event.payload.encode("utf-8", "surrogatepass")),
        "source": event.source,
        "description": event.description,
        "createdOn": instant_to_json(event.created_on),
    }
