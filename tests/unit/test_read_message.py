"""A message becomes an event as its source's format says, or it is told what it lacks."""

import uuid
from typing import Any

import pytest

from taskloom.domain.events import NewEvent
from taskloom.errors import Invalid, Permanent
from taskloom.flow.read_message import Message, read_message
from taskloom.resources.event_source import Format

ID = uuid.UUID(int=1)
PAYLOAD = rb'{"b": 1.50, "10":1e21,"a":-0, "n":12345678901234567890, "s":"\u0000\ud800 \u00e4"}'


def read(body: bytes, headers: dict[str, str] | None = None, **form: Any) -> NewEvent:
    """Read a message by a format."""
    return read_message(
        Message(body=body, headers=headers or {}),
        Format.model_validate(form),
        event_id=ID,
        origin="source:default/in",
        idempotency_key="given",
    )


def json_by(expression: str, body: bytes = b'{"type": "paid", "id": "e1"}') -> NewEvent:
    """Read JSON whose key an expression gives."""
    return read(body, {"x-kind": "paid"}, type="JSON", key={"expression": expression})


def test_a_task_event_is_taken_as_it_says() -> None:
    """Its members become the event's, the payload's text unchanged; other members are nothing."""
    body = b'{"key":"paid","source":"till","description":"d","more":[],"payload":' + PAYLOAD + b"}"

    expected = NewEvent(
        id=ID,
        key="paid",
        payload=PAYLOAD.decode(),
        source="till",
        description="d",
        origin="source:default/in",
        idempotency_key="given",
    )
    assert expected == read(body)


def test_a_task_event_can_be_all_but_its_key() -> None:
    """What it does not say is empty."""
    event = read(b'{"key": "paid", "payload": null}')

    assert ("{}", None, None) == (event.payload, event.source, event.description)


def test_a_sources_key_stands_in_for_the_messages_own() -> None:
    """The message needs none then, and one that it has is passed over."""
    for body in (b"{}", b'{"key": "other"}', b'{"key": 7}'):
        assert "paid" == read(body, key={"literal": "paid"}).key


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "cannot be read"),
        (b"[]", "must be an object"),
        (b"{}", "key must be a non-empty string"),
        (b'{"key": ""}', "key must be a non-empty string"),
        (b'{"key": "k", "payload": []}', "payload must be an object"),
        (b'{"key": "k", "key": "k"}', "twice"),
        (b'{"key": "k", "payload": {"n": NaN}}', "NaN"),
        (b'{"key": "\\u0000"}', "without NUL"),
        (b'{"key": "k"}\xff', "UTF-8"),
    ],
)
def test_what_is_no_task_event_is_refused(body: bytes, said: str) -> None:
    """The reason names what is wrong."""
    with pytest.raises(Invalid, match=said):
        read(body)


@pytest.mark.parametrize(
    "body", [PAYLOAD, b"[1, 2]", b'"text"', b"0", b"null", b"[" * 100 + b"]" * 100]
)
def test_any_json_is_payload(body: bytes) -> None:
    """All of a JSON message is the payload, as it came but for the space around it."""
    event = read(b"\n " + body + b"\r\n", type="JSON", key={"literal": "paid"})

    assert ("paid", body.decode()) == (event.key, event.payload)
    assert (None, None) == (event.source, event.description)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{} {}", b"\xef\xbb\xbf{}", b"[NaN]", b"[" * 101 + b"]" * 101]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """It is invalid, never an event."""
    with pytest.raises(Invalid):
        read(body, type="JSON", key={"literal": "paid"})


def test_a_header_gives_the_key() -> None:
    """Its name's case does not matter, nor the space around its value."""
    event = read(b"{}", {"x-kind": " paid "}, type="JSON", key={"header": "X-Kind"})

    assert "paid" == event.key


@pytest.mark.parametrize(
    "headers", [{}, {"x-kind": " "}, {"x-kind": "k" * 256}, {"x-kind": "Ã¤"}, {"x-kind": "a\tb"}]
)
def test_a_header_that_gives_no_key_is_named(headers: dict[str, str]) -> None:
    """Missing, empty, too long or not plain ASCII: the reason names the header."""
    with pytest.raises(Invalid, match="The header X-Kind must hold") as caught:
        read(b"{}", headers, type="JSON", key={"header": "X-Kind"})

    assert "X-Kind" == caught.value.field


@pytest.mark.parametrize(
    "expression",
    [
        "message.body.type",
        "message.headers['x-kind']",
        "has(message.body.kind) ? message.body.kind : 'paid'",
    ],
)
def test_an_expression_gives_the_key(expression: str) -> None:
    """It sees the body and the headers."""
    assert "paid" == json_by(expression).key


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("message.body.kind", 'key cannot be read: no such field: "kind"'),
        ("message.headers['x-none']", 'key cannot be read: no such field: "x-none"'),
        ("message.body", "must be a string"),
        ("7", "must be a string"),
        ("''", "of 1 to 255 characters"),
        ("message.body.nul", "without NUL"),
        ("message.body.long", "of 1 to 255 characters"),
    ],
)
def test_an_expression_that_gives_no_key_is_told(expression: str, said: str) -> None:
    """The reason says what it gave or why it failed."""
    body = b'{"nul": "\\u0000", "long": "' + b"k" * 256 + b'"}'

    with pytest.raises(Invalid, match=said):
        json_by(expression, body)


def test_an_expression_over_a_body_that_is_no_object_fails_alone() -> None:
    """A list has no fields: the message is refused, and nothing breaks."""
    with pytest.raises(Invalid, match="key cannot be read"):
        json_by("message.body.type", b"[1]")


def test_an_expression_gives_the_idempotency_key() -> None:
    """It goes before the sender's own; both formats know it."""
    by_id: dict[str, Any] = {"idempotency_key": "message.body.id"}
    task_event = read(b'{"key": "k", "id": "e1"}', **by_id)
    json = read(b'{"id": "e1"}', type="JSON", key={"literal": "k"}, **by_id)

    assert ["e1", "e1"] == [task_event.idempotency_key, json.idempotency_key]


@pytest.mark.parametrize("body", [b'{"key": "k"}', b'{"key": "k", "id": 7}'])
def test_a_message_without_its_idempotency_key_is_refused(body: bytes) -> None:
    """It could be taken in twice."""
    with pytest.raises(Invalid, match="The event's idempotency key"):
        read(body, idempotency_key="message.body.id")


def test_json_without_a_key_will_never_work() -> None:
    """No source is made without one; it is told as what is not the message's fault."""
    with pytest.raises(Permanent, match="lacks `key`"):
        read(b"{}", type="JSON")
