"""Typed variables between Camunda's JSON and plain values.

Values are JSON inside.  What comes out has the type that its value says: a number that fits is an
Integer, else a Long; objects and lists are Json; a text in Camunda's form of dates is a Date.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from taskloom.api.engine_rest.dates import is_date
from taskloom.api.engine_rest.faults import Fault
from taskloom.domain.json_text import read_json
from taskloom.errors import Invalid

_JSON_FORMAT = "application/json"
_INTEGER, _LONG = 1 << 31, 1 << 63


def read_variables(given: Any, *, doing: str = "") -> dict[str, Any]:
    """Read ``{name: {value, type, valueInfo}}``; None is none.  `doing` begins the complaint."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong(doing, "variables must be an object of {value, type} by name")
    return {name: read_variable(name, typed, doing=doing) for name, typed in given.items()}


def read_variable(name: str, typed: Any, *, doing: str = "") -> Any:
    """Read ``{value, type, valueInfo}``."""
    if not isinstance(typed, dict):
        raise _wrong(doing, f"The variable '{name}' must be an object with value and type")
    value, kind = typed.get("value"), typed.get("type")
    if kind is None:
        return value
    info = typed.get("valueInfo") or {}
    read = _READERS.get(str(kind).lower())
    if read is None:
        raise _wrong(doing, _refusal(str(kind)))
    if value is None:
        return None
    try:
        return read(value, info)
    except Invalid as exc:
        message = f"Cannot convert value '{value}' of type '{kind}': {exc.message}"
        raise _wrong(doing, message) from exc


def write_variables(variables: Mapping[str, Any], *, plain: bool = False) -> dict[str, Any]:
    """Write variables with their types; `plain` gives the values of Json as JSON, not as text."""
    return {name: write_variable(value, plain=plain) for name, value in variables.items()}


def write_variable(value: Any, *, plain: bool = False) -> dict[str, Any]:
    """Write a variable with its type."""
    kind = type_of(value)
    if kind == "Json" and not plain:
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return {"type": kind, "value": value, "valueInfo": {}}


def type_of(value: Any) -> str:
    """Say which of Camunda's types a value has."""
    match value:
        case None:
            return "Null"
        case bool():
            return "Boolean"
        case int():
            return _type_of_integer(value)
        case float():
            return "Double"
        case str():
            return "Date" if is_date(value) else "String"
        case _:
            return "Json"


def _type_of_integer(value: int) -> str:
    if -_INTEGER <= value < _INTEGER:
        return "Integer"
    # beyond what Java's numbers hold it is written as JSON does
    return "Long" if -_LONG <= value < _LONG else "Json"


def _text(value: Any, _info: Mapping[str, Any]) -> str:
    if not isinstance(value, str):
        raise Invalid("it is no text")
    return value


def _boolean(value: Any, _info: Mapping[str, Any]) -> bool:
    if not isinstance(value, bool):
        raise Invalid("it is neither true nor false")
    return value


def _whole(bits: int) -> Callable[[Any, Mapping[str, Any]], int]:
    def read(value: Any, _info: Mapping[str, Any]) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid("it is no whole number")
        if not -(1 << bits) <= value < (1 << bits):
            raise Invalid(f"it has more than {bits} bits")
        return value

    return read


def _double(value: Any, _info: Mapping[str, Any]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid("it is no number")
    return float(value)


def _null(_value: Any, _info: Mapping[str, Any]) -> None:
    return None


def _json(value: Any, _info: Mapping[str, Any]) -> Any:
    return read_json(value) if isinstance(value, str) else value


def _object(value: Any, info: Mapping[str, Any]) -> Any:
    given = info.get("serializationDataFormat")
    if isinstance(value, str) and given != _JSON_FORMAT:
        raise Invalid(f"only objects serialized as {_JSON_FORMAT} can be read, not {given}")
    return _json(value, info)


def _date(value: Any, _info: Mapping[str, Any]) -> str:
    if not isinstance(value, str) or not is_date(value):
        raise Invalid("write it as 2026-11-24T10:00:00.000+0000")
    return value


_READERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "short": _whole(15),
    "integer": _whole(31),
    "long": _whole(63),
    "double": _double,
    "null": _null,
    "json": _json,
    "object": _object,
    "date": _date,
}


def _refusal(kind: str) -> str:
    if kind.lower() in {"bytes", "file", "xml"}:
        return f"Variables of type '{kind}' cannot be kept here: values are JSON"
    return f"Unsupported value type '{kind}'"


def _wrong(doing: str, message: str) -> Fault:
    return Fault(400, "InvalidRequestException", f"{doing}: {message}" if doing else message)
