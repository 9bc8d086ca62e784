"""How an outgoing event is written for a sink."""

import json
from datetime import UTC

from taskloom.delivery.request import render_envelope
from taskloom.domain.deliveries import SinkDelivery
from taskloom.domain.events import TellableEvent, as_binding
from taskloom.domain.json_text import storable
from taskloom.domain.sources import EventSink
from taskloom.errors import Invalid
from taskloom.ports.sink import Record
from taskloom.resources.cel import compile_expression

MOST_KEY = 1024


def record_of(sink: EventSink, delivery: SinkDelivery) -> Record:
    """Write a delivery as the sink's format says; `Invalid` if its key cannot be had.

    TaskEvent is the body that webhooks get; CloudEvents is one in structured mode, whose data is
    the payload.  The headers say which: ``content-type``, ``webhook-id``, ``webhook-attempt``.
    """
    event = delivery.event
    if sink.spec["format"]["type"] == "CloudEvents":
        body, content_type = cloud_event(event), "application/cloudevents+json"
    else:
        body, content_type = render_envelope(event).exact, "application/json"
    return Record(
        id=event.id,
        key=key_of(sink, event),
        body=body.encode(),
        headers={
            "content-type": content_type,
            "webhook-id": str(event.id),
            "webhook-attempt": str(delivery.attempt),
        },
    )


def cloud_event(event: TellableEvent) -> str:
    """Write an event as a CloudEvent 1.0 in structured mode."""
    attributes = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": event.source or "taskloom",
        "type": event.key,
        "time": event.created_on.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    return f'{json.dumps(attributes)[:-1]}, "data": {event.payload}}}'


def key_of(sink: EventSink, event: TellableEvent) -> str:
    """Evaluate the sink's key; the event's own if it names none."""
    expression = (sink.spec.get("kafka") or {}).get("key")
    if expression is None:
        return event.key
    binding = as_binding(event.key, json.loads(event.payload), event.source)
    value = compile_expression(expression, ("event",)).evaluate({"event": binding})
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if not 0 < len(text) <= MOST_KEY or not storable(text):
        raise Invalid(
            f"The record's key, which this sink reads by `{expression}`, must have 1 to {MOST_KEY} "
            "characters, without NUL and lone surrogates: mend spec.kafka.key."
        )
    return text
