"""A message of an event source becomes an event, as the source's format says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from taskloom.domain.cloud_events import check_type, read_cloud_event
from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import read_json, read_members, storable
from taskloom.domain.task_event import MAX_KEY, TaskEvent, read_task_event
from taskloom.errors import Invalid, Permanent
from taskloom.flow.adapt import MAX_IDEMPOTENCY_KEY, adapt, payload_text
from taskloom.ports.adapter import Adapter
from taskloom.resources.cel import compile_expression
from taskloom.resources.event_source import Format, FormatKey

_Read = tuple[TaskEvent, Mapping[str, Any], str | None]
"""What a message says, what expressions see of it, and its own idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What came; the names of its headers are in lower case."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_message(
    message: Message,
    form: Format,
    *,
    event_id: UUID,
    origin: str,
    idempotency_key: str | None = None,
    adapters: Mapping[str, Adapter] | None = None,
) -> NewEvent:
    """Read a message; `idempotency_key` is the sender's own, if the format names none.

    A CloudEvent without one is named by its source and id.
    `adapters` are those that the format may name; the installed ones by default.
    Raises `Invalid` saying what the message lacks, and `Temporary` if this process lacks the
    format's adapter.
    """
    if form.type == "TaskEvent":
        members = read_members(message.body)
        value: Any = {name: member for name, (member, _) in members.items()}
        seen: Mapping[str, Any] = {"body": value, "headers": message.headers}
        said = read_task_event(members, key=_key(form.key, seen))
    elif form.type == "JSON":
        value = read_json(message.body)
        seen = {"body": value, "headers": message.headers}
        said = _whole(message.body, _key(form.key, seen))
    else:
        if form.type == "CloudEvents":
            said, seen, own = _cloud_event(message, form)
        else:
            said, seen, own = _by_adapter(message, form, adapters)
        idempotency_key = own if idempotency_key is None else idempotency_key
    if form.idempotency_key is not None:
        idempotency_key = _evaluate(
            form.idempotency_key, seen, "idempotency key", MAX_IDEMPOTENCY_KEY
        )
    return NewEvent(
        id=event_id,
        key=said.key,
        payload=said.payload,
        source=said.source,
        description=said.description,
        origin=origin,
        idempotency_key=idempotency_key,
    )


def _cloud_event(message: Message, form: Format) -> _Read:
    came = read_cloud_event(message.body, message.headers)
    seen = {
        "body": came.body,
        "headers": message.headers,
        "attributes": came.attributes,
        "data": came.data,
    }
    said = TaskEvent(
        key=_key(form.key, seen) or check_type(came),
        payload=came.payload,
        source=came.source,
        description=came.subject,
    )
    return said, seen, came.identity


def _by_adapter(message: Message, form: Format, adapters: Mapping[str, Adapter] | None) -> _Read:
    name = form.adapter or ""
    adapted = adapt(name, message.body, message.headers, adapters)
    seen = {"body": adapted.payload, "headers": message.headers}
    said = TaskEvent(
        key=_key(form.key, seen) or adapted.key,
        payload=payload_text(name, adapted),
        source=adapted.source,
        description=adapted.description,
    )
    return said, seen, adapted.idempotency_key


def _whole(body: bytes, key: str | None) -> TaskEvent:
    if key is None:
        raise Permanent("This source's format lacks `key`: JSON does not say of itself what it is.")
    text = body.decode().strip(" \t\r\n")
    return TaskEvent(key=key, payload=text, source=None, description=None)


def _key(form: FormatKey | None, seen: Mapping[str, Any]) -> str | None:
    if form is None:
        return None
    if form.header is not None:
        return _header(seen["headers"], form.header)
    if form.expression is not None:
        return _evaluate(form.expression, seen, "key", MAX_KEY)
    return form.literal


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower(), "").strip()
    if not 0 < len(value) <= MAX_KEY or not value.isascii() or not value.isprintable():
        raise Invalid(
            f"The header {name} must hold the event's key: "
            f"1 to {MAX_KEY} printable ASCII characters.",
            field=name,
        )
    return value


def _evaluate(expression: str, seen: Mapping[str, Any], noun: str, longest: int) -> str:
    try:
        value = compile_expression(expression, ("message",)).evaluate({"message": seen})
    except Invalid as error:
        raise Invalid(f"The event's {noun} cannot be read: {error.message}.") from error
    if not isinstance(value, str) or not 0 < len(value) <= longest or not storable(value):
        raise Invalid(
            f"The event's {noun}, which this source reads by `{expression}`, must be a string of "
            f"1 to {longest} characters, without NUL and lone surrogates."
        )
    return value
