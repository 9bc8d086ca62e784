"""Values in a query, read by the type of the field they are held against."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from taskloom.domain.json_text import storable
from taskloom.errors import Invalid

Value = str | int | float | bool | uuid.UUID | datetime | None

_INT_MAX = 2**31 - 1  # the width of the integer columns
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FieldType(StrEnum):
    """What a field holds."""

    UUID = "uuid"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATETIME = "date-time"
    ENUM = "enum"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field that can be asked about; `values` are those of an enum."""

    type: FieldType
    values: tuple[str, ...] = ()


def read_value(known: Field, raw: Any, path: str, *, lenient: bool) -> Value:
    """Read a value for a field; `lenient` takes numbers and booleans written as text.

    Raises `Invalid` naming `path` and the form that is expected.
    """
    if raw is None:
        return None
    value = _READERS[known.type](raw, lenient)
    if value is None or (known.type is FieldType.ENUM and value not in known.values):
        form = f"one of {', '.join(known.values)}" if known.values else _FORMS[known.type]
        raise Invalid(f"{path} must be {form}.", field=path)
    return value


def _uuid(raw: Any, _lenient: bool) -> Value:
    # UUID() alone would also take braces, "urn:uuid:" and stray dashes
    if not isinstance(raw, str) or len(raw) != 36 or not raw.isascii():
        return None
    try:
        value = uuid.UUID(raw)
    except ValueError:
        return None
    return value if str(value) == raw.lower() else None


def _text(raw: Any, _lenient: bool) -> Value:
    return raw if isinstance(raw, str) and len(raw) <= 10_000 and storable(raw) else None


def _integer(raw: Any, lenient: bool) -> Value:
    if lenient and isinstance(raw, str) and len(raw) <= 12:
        try:
            raw = int(raw)
        except ValueError:
            return None
    if isinstance(raw, bool) or not isinstance(raw, int):
        return None
    return raw if -_INT_MAX - 1 <= raw <= _INT_MAX else None


def _number(raw: Any, lenient: bool) -> Value:
    if lenient and isinstance(raw, str) and len(raw) <= 40:
        try:
            raw = float(raw)
        except ValueError:
            return None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return raw if -1e300 < raw < 1e300 else None


def _boolean(raw: Any, lenient: bool) -> Value:
    if lenient and raw in ("true", "false"):
        return bool(raw == "true")
    return raw if isinstance(raw, bool) else None


def _datetime(raw: Any, _lenient: bool) -> Value:
    """Read ISO 8601, in UTC unless it says otherwise, or milliseconds since the epoch."""
    try:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return _EPOCH + timedelta(milliseconds=raw)
        if not isinstance(raw, str) or len(raw) > 40:
            return None
        value = datetime.fromisoformat(raw)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _json(_raw: Any, _lenient: bool) -> Value:
    return None


_READERS = {
    FieldType.UUID: _uuid,
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATETIME: _datetime,
    FieldType.ENUM: _text,
    FieldType.JSON: _json,
}

_FORMS = {
    FieldType.UUID: "a UUID such as 0199a3c0-5d2e-7cc4-9f0a-3b2f6d1e8a77",
    FieldType.TEXT: "text of at most 10,000 characters, without NUL and lone surrogates",
    FieldType.INTEGER: "a whole number of 32 bits",
    FieldType.NUMBER: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.DATETIME: "a date and time such as 2026-11-24T10:00:00Z",
    FieldType.ENUM: "text",
    FieldType.JSON: "null: JSON fields can only be asked with exists, eq null and neq null",
}
