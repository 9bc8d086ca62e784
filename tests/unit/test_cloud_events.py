"""CloudEvents are read in structured and binary mode, or it is told what they lack."""

import base64
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.cloud_events import identity
from taskloom.domain.events import NewEvent
from taskloom.errors import Invalid
from taskloom.flow.admit import NoEvent
from taskloom.flow.admit import admit as read_incoming
from taskloom.flow.read_message import Message, read_message
from taskloom.ports.connector import Incoming
from taskloom.resources.event_source import EventSourceSpec, Format
from taskloom.testing.connectors import source_row

ID = uuid.UUID(int=1)
DATA = r'{"b": 1.50, "10":1e21,"n":12345678901234567890, "s":"\u0000\ud800 \u00e4"}'
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}
ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "type": "order.paid",
    "source": "/till/3",
    "id": "e1",
    "subject": "order 7",
    "time": "2026-11-24T10:00:00.123+01:00",
    "partitionkey": "k1",
}


def read(
    body: bytes | str, headers: dict[str, str] | None = None, once: str | None = None, **form: Any
) -> NewEvent:
    """Read a CloudEvent."""
    return read_message(
        Message(body=body if isinstance(body, bytes) else body.encode(), headers=headers or {}),
        Format.model_validate({"type": "CloudEvents", **form}),
        event_id=ID,
        origin="source:default/in",
        idempotency_key=once,
    )


def structured(data: str | None = None, **more: Any) -> str:
    """Write a CloudEvent as JSON; `data` is its JSON text, an attribute of None is left out."""
    members = {name: v for name, v in (ATTRIBUTES | more).items() if v is not None}
    text = json.dumps(members)
    return text if data is None else f'{text[:-1]}, "data": {data}}}'


def binary(prefix: str = "ce_", content_type: str | None = None, **more: Any) -> dict[str, str]:
    """Write the same attributes as headers."""
    members = {name: v for name, v in (ATTRIBUTES | more).items() if v is not None}
    headers = {prefix + name: value for name, value in members.items()}
    return headers if content_type is None else {**headers, "content-type": content_type}


EXPECTED = NewEvent(
    id=ID,
    key="order.paid",
    payload=DATA,
    source="/till/3",
    description="order 7",
    origin="source:default/in",
    idempotency_key="/till/3 e1",
)


@pytest.mark.parametrize(
    "headers",
    [
        STRUCTURED,
        {"content-type": "Application/CloudEvents+JSON"},
        {"content-type": "application/json"},
        {},
        {**STRUCTURED, **binary("ce-", type="other", id="e2", specversion="0.3")},
    ],
)
def test_structured_mode_is_one_object(headers: dict[str, str]) -> None:
    """It says so, or has no attributes in headers; the object's own count where both have them."""
    assert EXPECTED == read(structured(DATA), headers)


@pytest.mark.parametrize("prefix", ["ce_", "ce-", "cloudevents:", "cloudevents_"])
@pytest.mark.parametrize("content_type", [None, "application/json", "application/x+json; a=b"])
def test_binary_mode_has_attributes_in_headers(prefix: str, content_type: str | None) -> None:
    """Of Kafka, of HTTP and NATS, of older bindings: the event is the same."""
    assert EXPECTED == read(DATA, binary(prefix, content_type))


def test_the_transports_key_goes_before_source_and_id() -> None:
    """A partition's offset names the message; an expression goes before both."""
    expression = "message.attributes.source + message.attributes.id"

    keys = [
        read(structured()).idempotency_key,
        read(structured(), once="t/0/7").idempotency_key,
        read(structured(), once="t/0/7", idempotency_key=expression).idempotency_key,
    ]

    assert ["/till/3 e1", "t/0/7", "/till/3e1"] == keys


def test_source_and_id_are_one_name() -> None:
    """No two pairs share one, and a long one is a hash of at most 255 characters."""
    pairs = [("a", "b c"), ("a b", "c"), ("a%20b", "c"), ("a", "b%20c"), ("a ", "b c")]
    pairs += [("s" * 2000, "a"), ("s" * 2000, "b"), ("ä" * 200, "i" * 54), ("ä" * 200, "i" * 55)]

    names = [identity(*pair) for pair in pairs]

    assert len(set(names)) == len(pairs)
    assert max(len(name) for name in names) == 255
    assert [False] * 5 + [True, True, False, True] == [n.startswith("sha256:") for n in names]


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (None, "{}"),
        ("null", "{}"),
        ("[1, 2.50]", '{"data": [1, 2.50]}'),
        ('"text"', '{"data": "text"}'),
        ("0", '{"data": 0}'),
        ("{}", "{}"),
    ],
)
def test_data_that_are_no_object_are_put_into_one(data: str | None, payload: str) -> None:
    """A payload is an object: other JSON is its `data`, in both modes alike."""
    assert payload == read(structured(data)).payload
    assert payload == read(data or "", binary()).payload


@pytest.mark.parametrize(
    ("content_type", "data", "payload"),
    [
        ("text/plain", "a\x00\r\nä".encode(), {"data": "a\x00\r\nä"}),
        ("application/xml; charset=utf-8", b"<a/>", {"data": "<a/>"}),
        ("image/svg+xml", b"<svg/>", {"data": "<svg/>"}),
        ("text/plain", b"\xff\xfe", {"data_base64": "//4="}),
        ("text/plain; charset=latin-1", b"\xe4", {"data_base64": "5A=="}),
        ("application/octet-stream", b"\x00\x01", {"data_base64": "AAE="}),
        ("application/json", b'{"n": 1}', {"n": 1}),
        ("", b"[1]", {"data": [1]}),
        ("text/plain", b"", {}),
    ],
)
def test_data_of_other_types_are_kept(
    content_type: str, data: bytes, payload: dict[str, Any]
) -> None:
    """Text as text, anything else as base64; the same out of data_base64 of a JSON object."""
    encoded = base64.b64encode(data).decode()
    whole = structured(datacontenttype=content_type or None, data_base64=encoded)

    assert payload == json.loads(read(data, binary("ce-", content_type or None)).payload)
    assert payload == json.loads(read(whole).payload)


def test_http_headers_are_percent_encoded() -> None:
    """As the binding says, and perhaps quoted; those of Kafka are as they are."""
    encoded = {"subject": '"Euro%20%E2%82%AC \\"x\\""', "source": "/a%25b%zz"}

    by_http = read("{}", binary("ce-", **encoded))
    by_kafka = read("{}", binary("ce_", **encoded))

    assert ('Euro € "x"', "/a%b%zz") == (by_http.description, by_http.source)
    assert (encoded["subject"], encoded["source"]) == (by_kafka.description, by_kafka.source)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize(
    "value", [None, "", 7, True, ["a"], {"a": 1}, "\x00", "\ud800", "x" * 2049]
)
def test_a_required_attribute_that_is_missing_or_wrong_is_named(name: str, value: Any) -> None:
    """Wherever it was to be found."""
    with pytest.raises(Invalid, match=name) as caught:
        read(structured(DATA, **{name: value}))
    assert name == caught.value.field

    if value is None or isinstance(value, str):
        with pytest.raises(Invalid, match=f"ce_{name}"):
            read(DATA, binary("ce_", **{name: value}))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"specversion": "0.3"}, 'specversion is "0.3": send "1.0"'),
        ({"specversion": "1.1"}, "specversion"),
        ({"subject": 7}, "subject"),
        ({"subject": "s" * 10_001}, "subject"),
        ({"datacontenttype": 7}, "datacontenttype"),
        ({"dataschema": []}, "dataschema"),
        ({"time": "yesterday"}, "time must be a time"),
        ({"time": "2026-13-01T00:00:00Z"}, "time"),
        ({"time": 1700000000}, "time"),
        ({"type": "t" * 256}, "at most 255 characters"),
        ({"data_base64": "a"}, "data_base64 is not base64"),
        ({"data_base64": "ä==="}, "data_base64"),
        ({"data_base64": "\ud800"}, "data_base64"),
        ({"data_base64": 7}, "data_base64"),
        ({"data_base64": "eyJh"}, "JSON cannot be read"),
        ({"data": 0, "data_base64": "AA=="}, "both data and data_base64"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, Any], said: str) -> None:
    """The reason names the member."""
    with pytest.raises(Invalid, match=said):
        read(structured(**more))


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        ("", {}, "cannot be read"),
        ("", STRUCTURED, "cannot be read"),
        ("[]", STRUCTURED, "must be an object"),
        ("{}", {}, "neither in the JSON nor in headers"),
        ('{"key": "k", "payload": {}}', {}, "neither in the JSON nor in headers"),
        ('{"id": "a", "id": "b"}', {}, "twice"),
        (structured(DATA + ', "data": {}'), {}, "twice"),
        (structured("[" * 100 + "]" * 100), {}, "deeper than 100"),
        ("[" * 101 + "]" * 101, binary(), "deeper than 100"),
        ("{", binary(), "cannot be read"),
        ("NaN", binary(), "NaN"),
        (b"{}\xff", binary(), "UTF-8"),
        ("{}", binary(content_type="application/json; charset=utf-16"), "JSON in UTF-8"),
        ("{}", binary("ce-", source="%FF"), "ce-source is not UTF-8"),
        ("{}", binary("ce-", source="%00"), "without NUL"),
        ("{}", {"ce_id": "e1"}, "lacks the attribute ce_specversion"),
        ("{}", {"content-type": "application/cloudevents+avro"}, "not as application"),
        ("[]", {"content-type": "application/cloudevents-batch+json"}, "not as application"),
    ],
)
def test_what_is_no_cloud_event_is_refused(
    body: str | bytes, headers: dict[str, str], said: str
) -> None:
    """Broken, deep, of another encoding or form."""
    with pytest.raises(Invalid, match=said):
        read(body, headers)


def test_unset_attributes_are_none() -> None:
    """Null in JSON, and empty ones that need not be there."""
    event = read(
        structured(subject="", time="", datacontenttype=None)[:-1] + ', "dataschema":null}'
    )

    assert ("order.paid", None) == (event.key, event.description)


@pytest.mark.parametrize(
    "expression",
    [
        "message.attributes.partitionkey",
        "message.attributes['partitionkey']",
        "message.data.kind",
    ],
)
def test_expressions_see_attributes_and_data(expression: str) -> None:
    """Extensions, too, in both modes; `type` may be longer than a key then."""
    data = '{"kind": "k1"}'
    form: dict[str, Any] = {"key": {"expression": expression}}

    assert "k1" == read(structured(data, type="t" * 300), **form).key
    assert "k1" == read(data, binary(type="t" * 300), **form).key


def test_expressions_see_the_message() -> None:
    """The body is the whole object in structured mode, the data in binary mode."""
    by_body: dict[str, Any] = {"key": {"expression": "message.body.type"}}

    assert "order.paid" == read(structured(), **by_body).key
    assert "inner" == read('{"type": "inner"}', binary(), **by_body).key
    assert "order.paid" == read("{}", binary(), key={"header": "ce_type"}).key


def test_values_that_are_no_attributes_are_passed_over() -> None:
    """An extension is a string, a number without fraction, or true or false; others are nothing."""
    text = structured(DATA, flag=True, count=7, odd={"a": 1}, part=1.5)

    assert EXPECTED == read(text)
    seen = "string(message.attributes.flag) + string(message.attributes.count)"
    absent = "has(message.attributes.odd) || has(message.attributes.part) ? 'yes' : 'no'"
    assert "true7" == read(text, key={"expression": seen}).key
    assert "no" == read(text, key={"expression": absent}).key


def test_a_message_without_a_payload_is_a_cloud_event_by_its_headers() -> None:
    """Kafka's null is no data; without attributes in headers it is no event."""
    kafka = {"bootstrapServers": ["k:9092"], "topics": ["t"]}
    spec = {"kafka": kafka, "format": {"type": "CloudEvents"}}

    def come(headers: dict[str, str]) -> Any:
        message = Incoming(body=None, headers=headers, idempotency_key="t/0/1")
        return read_incoming(source_row(spec), EventSourceSpec.model_validate(spec), message)

    assert ("order.paid", "{}", "t/0/1") == (
        come(binary()).key,
        come(binary()).payload,
        come(binary()).idempotency_key,
    )
    assert NoEvent("The message has no payload.") == come({"content-type": "text/plain"})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from([*ATTRIBUTES, "data", "data_base64", "datacontenttype", "dataschema"])
_TYPES = st.sampled_from(
    [
        "",
        "application/json",
        "text/plain",
        "image/png",
        "application/cloudevents+json",
        ";",
        "a/b;c",
    ]
)


@given(st.dictionaries(_NAMES, _VALUES), _TYPES)
def test_any_object_is_a_cloud_event_or_invalid(members: dict[str, Any], kind: str) -> None:
    """Nothing else comes of it, and what it makes can be stored."""
    body = json.dumps(ATTRIBUTES | members).encode()

    _holds(body, {"content-type": kind} if kind else {})


@given(st.binary(max_size=50), st.dictionaries(_NAMES, st.text()), st.sampled_from(["ce_", "ce-"]))
def test_any_message_is_a_cloud_event_or_invalid(
    body: bytes, members: dict[str, str], prefix: str
) -> None:
    """In binary mode, too."""
    _holds(body, binary(prefix, **members))
    _holds(body, {**binary(prefix), "content-type": members.get("datacontenttype", "")})


def _holds(body: bytes, headers: dict[str, str]) -> None:
    try:
        event = read(body, headers)
    except Invalid:
        return
    assert isinstance(json.loads(event.payload), dict)
    assert 0 < len(event.key) <= 255
    assert event.idempotency_key is not None
    assert 0 < len(event.idempotency_key) <= 255
    for text in (event.key, event.source, event.description, event.idempotency_key):
        assert text is None or not set(text) & {"\x00", "\ud800"}
