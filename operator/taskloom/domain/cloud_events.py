"""CloudEvents 1.0 as they come: one JSON object, or attributes in headers beside the data.

Structured mode is what says ``content-type: application/cloudevents+json``, and any JSON object
without attributes in its headers.  In binary mode the attributes are headers: ``ce_type`` of Kafka,
``ce-type`` of HTTP and NATS, ``cloudEvents:type`` of older bindings; the body is the data.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from taskloom.domain.json_text import read_json, read_members, storable
from taskloom.domain.task_event import MAX_DESCRIPTION, MAX_KEY
from taskloom.errors import Invalid

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
ANY_STRUCTURED: Final = "application/cloudevents"
"""What the media types of all structured forms begin with."""
MAX_REFERENCE: Final = 2048
"""Characters of an event's source, and of its id."""

_REQUIRED: Final = ("specversion", "id", "source", "type")
_LONGEST: Final = {
    "specversion": 16,
    "id": MAX_REFERENCE,
    "source": MAX_REFERENCE,
    "type": MAX_REFERENCE,
    "subject": MAX_DESCRIPTION,
    "datacontenttype": MAX_REFERENCE,
    "dataschema": MAX_REFERENCE,
    "time": 64,
}
_DATA: Final = frozenset({"data", "data_base64"})
_PREFIXES: Final = ("ce_", "ce-", "cloudevents:", "cloudevents_")
_OF_HTTP: Final = "ce-"
_LONGEST_IDENTITY: Final = 255
_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_ESCAPED = re.compile(r"\\(.)")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w-]+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """A CloudEvent; `payload` is JSON text of an object, the data's own where it is one.

    `attributes` are its own and its extensions; `data` is the data's value: JSON's, a string of
    text, or the base64 of anything else.  `body` is the message's: the whole object in structured
    mode, the data in binary mode.
    """

    type: str
    source: str
    subject: str | None
    identity: str
    payload: str
    attributes: Mapping[str, Any]
    data: Any
    body: Any


def read_cloud_event(body: bytes, headers: Mapping[str, str]) -> CloudEvent:
    """Read a message, whose headers have their names in lower case; `Invalid` names what it lacks.

    In structured mode attributes in headers are passed over: the object has them, too.
    """
    kind = media_type(headers.get("content-type", ""))
    if kind.startswith(ANY_STRUCTURED):
        if kind != STRUCTURED:
            raise Invalid(f"CloudEvents are read as {STRUCTURED} here, not as {kind[:100]}.")
        return _structured(body)
    prefix = prefix_of(headers)
    return _structured(body) if prefix is None else _binary(prefix, headers, body)


def prefix_of(headers: Mapping[str, str]) -> str | None:
    """Tell what the attributes in headers begin with; None if there are none of them."""
    for prefix in _PREFIXES:
        if any(prefix + name in headers for name in _REQUIRED):
            return prefix
    return None


@lru_cache(maxsize=64)
def media_type(content_type: str) -> str:
    """Give the media type of a Content-Type, in lower case and without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def check_type(event: CloudEvent) -> str:
    """Give the type as an event's key; `Invalid` if it is too long for one."""
    if len(event.type) > MAX_KEY:
        raise Invalid(
            f"The CloudEvent's type is the event's key, of at most {MAX_KEY} characters: "
            "send a shorter one, or set this source's format.key.",
            field="type",
        )
    return event.type


def identity(source: str, event_id: str) -> str:
    """Name an event by its source and id, which are its own together; a hash of both if long."""
    escaped = source.replace("%", "%25").replace(" ", "%20")
    whole = f"{escaped} {event_id}"
    if len(whole) <= _LONGEST_IDENTITY:
        return whole
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


def _structured(body: bytes) -> CloudEvent:
    members = read_members(body)
    whole = {name: value for name, (value, _) in members.items()}
    attributes = {
        name: value
        for name, value in whole.items()
        if name not in _DATA
        and (name in _LONGEST or isinstance(value, str | int))
        and value is not None
    }
    if not any(name in attributes for name in _REQUIRED):
        raise Invalid(
            "The message is no CloudEvent: it has its attributes neither in the JSON nor in "
            "headers (ce_type, ce-type).",
            field="specversion",
        )
    _check(attributes, "")
    data, text = members.get("data", (None, ""))
    encoded = whole.get("data_base64")
    if encoded is not None:
        if data is not None:
            raise Invalid("The CloudEvent has both data and data_base64: send one.", field="data")
        data, payload = _data_of(attributes.get("datacontenttype"), _decoded(encoded))
    else:
        payload = _as_object(data, text)
    return _event(attributes, data, payload, whole)


def _binary(prefix: str, headers: Mapping[str, str], body: bytes) -> CloudEvent:
    attributes: dict[str, Any] = {
        name.removeprefix(prefix): value
        for name, value in headers.items()
        if name.startswith(prefix) and len(name) > len(prefix)
    }
    if prefix == _OF_HTTP:
        attributes = {name: _of_http(name, value) for name, value in attributes.items()}
    if "content-type" in headers:
        attributes["datacontenttype"] = headers["content-type"]
    _check(attributes, prefix)
    data, payload = _data_of(attributes.get("datacontenttype"), body)
    return _event(attributes, data, payload, data)


def _event(attributes: Mapping[str, Any], data: Any, payload: str, body: Any) -> CloudEvent:
    return CloudEvent(
        type=attributes["type"],
        source=attributes["source"],
        subject=attributes.get("subject") or None,
        identity=identity(attributes["source"], attributes["id"]),
        payload=payload,
        attributes=attributes,
        data=data,
        body=body,
    )


def _check(attributes: Mapping[str, Any], prefix: str) -> None:
    """Raise `Invalid`, naming the attribute, unless all are what the specification says."""
    for name in _REQUIRED:
        if attributes.get(name) is None:
            raise Invalid(f"The CloudEvent lacks the attribute {prefix}{name}.", field=name)
    for name, longest in _LONGEST.items():
        value = attributes.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > longest or not storable(value):
            raise Invalid(
                f"The CloudEvent's attribute {prefix}{name} must be a string of at most "
                f"{longest:,} characters, without NUL and lone surrogates.",
                field=name,
            )
        if not value and name in _REQUIRED:
            raise Invalid(
                f"The CloudEvent's attribute {prefix}{name} must not be empty.", field=name
            )
    version, time = attributes["specversion"], attributes.get("time")
    if version != "1.0":
        raise Invalid(
            f'The CloudEvent\'s attribute {prefix}specversion is "{version}": send "1.0".',
            field="specversion",
        )
    if time and _TIME.fullmatch(time) is None:
        raise Invalid(
            f"The CloudEvent's attribute {prefix}time must be a time of RFC 3339, "
            "such as 2026-11-24T10:00:00Z.",
            field="time",
        )


def _of_http(name: str, value: str) -> str:
    """Read a header's value: it may be quoted, and what is not plain ASCII is percent-encoded."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid(
            f"The CloudEvent's attribute ce-{name} is not UTF-8 where it is percent-encoded.",
            field=name,
        ) from error


def _decoded(encoded: Any) -> bytes:
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded.encode("utf-8", "surrogatepass"), validate=True)
        except binascii.Error:
            pass
    raise Invalid("The CloudEvent's data_base64 is not base64.", field="data_base64")


def _data_of(content_type: str | None, data: bytes) -> tuple[Any, str]:
    """Give the value of data that are bytes, and the payload; without a type they are JSON."""
    if not data:
        return None, "{}"
    kind, charset = _kind_of(content_type or "application/json")
    if kind == "json" and charset:
        value = read_json(data)
        return value, _as_object(value, data.decode().strip(" \t\r\n"))
    if kind == "json":
        raise Invalid("The CloudEvent's data must be JSON in UTF-8.", field="datacontenttype")
    if kind == "text" and charset:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            pass  # it is kept all the same
        else:
            return text, json.dumps({"data": text})
    encoded = base64.b64encode(data).decode()
    return encoded, json.dumps({"data_base64": encoded})


@lru_cache(maxsize=64)
def _kind_of(content_type: str) -> tuple[str, bool]:
    """Tell what a type is (json, text or bytes), and whether it is in UTF-8."""
    kind = media_type(content_type)
    named = _CHARSET.search(content_type)
    charset = named is None or named[1].lower() in {"utf-8", "utf8", "us-ascii"}
    if kind in {"application/json", "text/json"} or kind.endswith("+json"):
        return "json", charset
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return "text", charset
    return "bytes", charset


def _as_object(value: Any, text: str) -> str:
    """Give the JSON of an object: the data's own text, or one that holds it as ``data``."""
    if value is None:
        return "{}"
    return text if isinstance(value, dict) else f'{{"data": {text}}}'
