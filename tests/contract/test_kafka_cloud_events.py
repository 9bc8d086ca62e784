"""CloudEvents in the two modes of Kafka's binding, off a real broker, as a source reads them."""

import json

from taskloom.domain.events import NewEvent
from taskloom.flow.admit import NoEvent, admit
from taskloom.resources.event_source import EventSourceSpec
from taskloom.testing.connectors import source_row
from tests.contract.test_kafka_source import WaitingContext, running, until
from tests.real.kafka.broker import RealKafka

ATTRIBUTES = {
    "specversion": "1.0",
    "type": "order.paid",
    "source": "/till/ä%20",
    "id": "e1",
    "subject": "order 7",
}
HEADERS = [(f"ce_{name}", value.encode()) for name, value in ATTRIBUTES.items()]


async def test_cloud_events_are_read_in_both_modes(kafka: RealKafka, topic: str) -> None:
    """Twice the same, then one without data, then one that lacks its attributes."""
    part = {"bootstrapServers": [kafka.plaintext], "topics": [topic], "initialOffset": "Earliest"}
    spec = {"kafka": part, "format": {"type": "CloudEvents"}}
    await kafka.create_topic(topic)
    structured = json.dumps(ATTRIBUTES | {"data": {"n": 1}}).encode()
    kind = ("Content-Type", b"application/cloudevents+json; charset=UTF-8")
    await kafka.produce(topic, structured, headers=[kind])
    typed = [*HEADERS, ("content-type", b"application/json")]
    await kafka.produce(topic, b'{"n": 1}', headers=typed)
    await kafka.produce(topic, None, key=b"k", headers=HEADERS)
    await kafka.produce(topic, b'{"n": 1}', headers=HEADERS[:2])
    row = source_row(spec, name=topic)
    context = WaitingContext(row)

    async with running(context):
        await until(lambda: len(context.kept) == 4)

    *events, last = [
        admit(row, EventSourceSpec.model_validate(spec), message) for message in context.kept
    ]
    expected = [
        ("order.paid", payload, "/till/ä%20", "order 7", f"{topic}/0/{offset}")
        for offset, payload in enumerate(('{"n": 1}', '{"n": 1}', "{}"))
    ]
    assert expected == [
        (event.key, event.payload, event.source, event.description, event.idempotency_key)
        for event in events
        if isinstance(event, NewEvent)
    ]
    assert NoEvent("The CloudEvent lacks the attribute ce_id.") == last
