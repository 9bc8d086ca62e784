"""POST /events/trigger as bare ASGI: the one call that is made thousands of times a second."""

from pydantic import WithJsonSchema
from starlette.types import Receive, Scope, Send

from taskloom.api.bodies import check_json, header_map, read_body
from taskloom.api.door import admit, idempotency_key
from taskloom.api.services import ApiServices
from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import read_members
from taskloom.domain.permissions import Permission
from taskloom.domain.task_event import MAX_DESCRIPTION, MAX_KEY, MAX_SOURCE, read_task_event
from taskloom.ids import new_id

PATH = "/events/trigger"

EVENT_SCHEMA = WithJsonSchema(
    {
        "title": "NewEvent",
        "type": "object",
        "required": ["key"],
        "properties": {
            "key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
            "payload": {"type": "object", "additionalProperties": True},
            "source": {"type": "string", "maxLength": MAX_SOURCE, "nullable": True},
            "description": {"type": "string", "maxLength": MAX_DESCRIPTION, "nullable": True},
        },
        "example": {
            "key": "purchase.requested",
            "payload": {"amount": 1200, "item": "A desk"},
            "source": "shop",
            "description": "Ann asked for a desk",
        },
    }
)
"""What an event looks like at the door."""

EVENT_ID_HEADER = "taskloom-event-id"
_EVENT_ID = EVENT_ID_HEADER.encode()
_END = {"type": "http.response.body", "body": b""}


class Trigger:
    """Takes one event in, and answers once it is durable."""

    def __init__(self, services: ApiServices) -> None:
        """Work with these."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 204 with the event's id in a header, or raise what is wrong."""
        services = self._services
        headers = header_map(scope)
        await admit(services, headers, Permission.TRIGGER_EVENTS)
        check_json(headers)
        body = await read_body(receive, headers, services.max_body_bytes)
        ingested = await services.ingest(read_event(body, headers.get("idempotency-key")))
        event_id = (_EVENT_ID, str(ingested.event_id).encode())
        await send({"type": "http.response.start", "status": 204, "headers": [event_id]})
        await send(_END)


def read_event(body: bytes, once: str | None) -> NewEvent:
    """Read {key, payload, source, description}; other members are passed over.

    `once` is the caller's idempotency key.
    The payload's text is kept as it came.  Raises `Invalid` naming the field.
    """
    said = read_task_event(read_members(body))
    return NewEvent(
        id=new_id(),
        key=said.key,
        payload=said.payload,
        source=said.source,
        description=said.description,
        # a key is the caller's own, and callers are told apart by their source
        origin="api" if said.source is None else f"api:{said.source}",
        idempotency_key=idempotency_key(once),
    )
