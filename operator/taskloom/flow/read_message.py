"""A message of an event source becomes an event, as the source's format says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import read_json, read_members, storable
from taskloom.domain.task_event import MAX_KEY, TaskEvent, read_task_event
from taskloom.errors import Invalid, Permanent
from taskloom.resources.cel import compile_expression
from taskloom.resources.event_source import Format, FormatKey

MAX_IDEMPOTENCY_KEY = 255


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
) -> NewEvent:
    """Read a message; `idempotency_key` is the sender's own, if the format names none.

    Raises `Invalid` saying what the message lacks.
    """
    if form.type == "TaskEvent":
        members = read_members(message.body)
        value: Any = {name: member for name, (member, _) in members.items()}
        seen = {"body": value, "headers": message.headers}
        said = read_task_event(members, key=_key(form.key, seen))
    elif form.type == "JSON":
        value = read_json(message.body)
        seen = {"body": value, "headers": message.headers}
        said = _whole(message.body, _key(form.key, seen))
    else:
        raise Permanent("This version does not read CloudEvents: send a TaskEvent or JSON.")
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
