"""An event as its sender writes it: {key, payload, source, description}."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskloom.domain.json_text import storable
from taskloom.errors import Invalid

MAX_KEY = 255
MAX_SOURCE = 255
MAX_DESCRIPTION = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """What the sender says; `payload` is JSON text, kept as it came."""

    key: str
    payload: str
    source: str | None
    description: str | None


def read_task_event(members: Mapping[str, tuple[Any, str]], *, key: str | None = None) -> TaskEvent:
    """Read a JSON object's members, each its value and its text; unknown ones are passed over.

    A `key` that is given stands in for the object's own.  Raises `Invalid` naming the field.
    """
    if key is None:
        key = _text(members, "key", MAX_KEY)
        if not key:
            raise Invalid("key must be a non-empty string.", field="key")
    payload, text = members.get("payload", (None, ""))
    if payload is None:
        payload, text = {}, "{}"
    if not isinstance(payload, dict):
        raise Invalid("payload must be an object.", field="payload")
    return TaskEvent(
        key=key,
        payload=text,
        source=_text(members, "source", MAX_SOURCE),
        description=_text(members, "description", MAX_DESCRIPTION),
    )


def _text(members: Mapping[str, tuple[Any, str]], name: str, longest: int) -> str | None:
    value, _ = members.get(name, (None, "null"))
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or not storable(value):
        raise Invalid(
            f"{name} must be a string of at most {longest:,} characters, "
            "without NUL and lone surrogates.",
            field=name,
        )
    return value
