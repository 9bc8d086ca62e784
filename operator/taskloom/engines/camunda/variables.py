"""Camunda's typed variables to JSON and back: pure.

An engine that has Spin keeps objects as JSON, which models read as maps and lists; without it they
are handed over as they are, and Java keeps them in a form of its own that only its own API reads.
"""

import json
from collections.abc import Mapping
from typing import Any

from taskloom.engines.camunda.java_objects import NotJava, read_java
from taskloom.errors import Invalid

Typed = Mapping[str, Any]

START_ID = "taskloomStartId"
"""The variable that keeps a start id where the business key is another."""

_LONGEST_STRING = 4_000  # what its column takes
_INTEGER = 2**31
_LONG = 2**63
_JSON = "application/json"
_JAVA = "application/x-java-serialized-object"


def write_variables(variables: Mapping[str, Any], *, spin: bool) -> dict[str, Typed]:
    """Give variables the types that the engine keeps; `Invalid` names what it cannot keep."""
    return {name: write_variable(name, value, spin=spin) for name, value in variables.items()}


def write_variable(name: str, value: Any, *, spin: bool) -> Typed:
    """Give one variable its type."""
    match value:
        case None | bool():
            return {"type": "Null" if value is None else "Boolean", "value": value}
        case int():
            return _write_integer(value, spin=spin)
        case float():
            return {"type": "Double", "value": _finite(name, value)}
        case str():
            return _write_text(name, value, spin=spin)
        case list() | tuple() | Mapping():
            return _write_object(name, value, spin=spin)
    if isinstance(value, bytes | bytearray | memoryview):
        raise Invalid(
            f"The variable {name} holds bytes: the engine is given JSON only. "
            "Keep them elsewhere and give it their address.",
            field=name,
        )
    raise Invalid(f"The variable {name} holds a {type(value).__name__}, no JSON.", field=name)


def read_variables(variables: Mapping[str, Typed]) -> dict[str, Any]:
    """Give variables as JSON values; what we keep there for ourselves is left out."""
    return {name: read_variable(typed) for name, typed in variables.items() if name != START_ID}


def read_variable(typed: Typed) -> Any:
    """Give one variable as a JSON value.

    Dates are texts; bytes are their base64; of a file it is told what it is, not what it holds.
    """
    value, info = typed.get("value"), typed.get("valueInfo") or {}
    match typed.get("type"):
        case "Json":
            return _parsed(value)
        case "Object" if info.get("serializationDataFormat") == _JSON:
            return _parsed(value)
        case "Object" if info.get("serializationDataFormat") == _JAVA and isinstance(value, str):
            return _read_java_or_leave(value)
        case "File":
            return {"filename": info.get("filename"), "mimeType": info.get("mimeType")}
    return value


def _parsed(value: Any) -> Any:
    """Read a text of JSON; the engine has read it already where it was asked to."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _read_java_or_leave(value: str) -> Any:
    try:
        return read_java(value)
    except NotJava:
        return value


def _write_integer(value: int, *, spin: bool) -> Typed:
    if -_INTEGER <= value < _INTEGER:
        return {"type": "Integer", "value": value}
    if -_LONG <= value < _LONG:
        return {"type": "Long", "value": value}
    # larger than any type of its own, so it is an object
    return _as_json(value, "java.math.BigInteger") if spin else {"value": value}


def _write_text(name: str, value: str, *, spin: bool) -> Typed:
    # PostgreSQL keeps no NUL in a text; as JSON it is written otherwise
    if len(value) <= _LONGEST_STRING and "\x00" not in value:
        return {"type": "String", "value": value}
    if spin:
        return _as_json(value, "java.lang.String")
    if "\x00" in value:
        return {"type": "String", "value": value}
    raise Invalid(
        f"The variable {name} is a text of {len(value):,} characters: an engine without Spin keeps "
        f"{_LONGEST_STRING:,} at most. Put it into an object, or install Spin in the engine.",
        field=name,
    )


def _write_object(name: str, value: Any, *, spin: bool) -> Typed:
    java_type = "java.util.LinkedHashMap" if isinstance(value, Mapping) else "java.util.ArrayList"
    try:
        return _as_json(value, java_type) if spin else {"value": json.loads(_dumps(value))}
    except (TypeError, ValueError) as exc:
        raise Invalid(f"The variable {name} is no JSON: {exc}.", field=name) from exc


def _as_json(value: Any, java_type: str) -> Typed:
    info = {"objectTypeName": java_type, "serializationDataFormat": _JSON}
    return {"type": "Object", "value": _dumps(value), "valueInfo": info}


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _finite(name: str, value: float) -> float:
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN is not itself
        raise Invalid(f"The variable {name} is {value}, which JSON does not have.", field=name)
    return value
