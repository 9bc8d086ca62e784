"""Checks a value against a structural schema as the API server does.

Defaults first, then types and bounds, then CEL rules.
"""

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from taskloom.errors import Invalid
from taskloom.resources.cel import compile_expression
from taskloom.resources.problems import FieldProblem
from taskloom.resources.schema import Schema

_SHOWN = 128
_MISSING: Any = object()


def with_defaults(schema: Schema, value: Any) -> Any:
    """Copy `value` with the schema's defaults filled in and nulls, which count as absent, dropped.

    In lists and in free-form parts a null stays a null.
    """
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        inner = schema.get("additionalProperties")
        made = {
            name: with_defaults(properties.get(name, inner or {}), item)
            for name, item in value.items()
            if item is not None or (name not in properties and inner is None)
        }
        for name, child in properties.items():
            if name not in made and "default" in child:
                made[name] = with_defaults(child, copy.deepcopy(child["default"]))
        return made
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(schema["items"], item) for item in value]
    return value


def check(schema: Schema, value: Any, path: str) -> Iterator[FieldProblem]:
    """Yield what is wrong with the types and bounds of `value`."""
    kind = schema["type"]
    if not _is_of_type(kind, value):
        yield _wrong(
            path,
            f"Invalid value: {_type_of(value)}: {path} in body must be of type {kind}: "
            f"{_type_of(value)}",
            shapeless=True,
        )
        return
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(item) for item in schema["enum"])
        yield _wrong(
            path,
            f"Unsupported value: {_show(value)}: supported values: {supported}",
            shapeless=True,
        )
        return
    if kind == "string":
        yield from _check_string(schema, value, path)
    elif kind in ("integer", "number"):
        yield from _check_number(schema, value, path)
    elif kind == "array":
        yield from _check_list(schema, value, path)
    elif kind == "object":
        yield from _check_object(schema, value, path)


def check_rules(
    schema: Schema, value: Any, path: str, *, old: Any = _MISSING, sound: bool = True
) -> Iterator[FieldProblem]:
    """Yield the CEL rules that `value` breaks; rules about `oldSelf` need `old`.

    A rule that cannot be judged counts as broken, unless the value is known not to be `sound`:
    then what keeps it from being judged has been told already.
    """
    for rule in schema.get("x-kubernetes-validations", ()):
        yield from _check_rule(rule, value, path, old, sound=sound)
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name in value:
                before = old.get(name, _MISSING) if isinstance(old, dict) else _MISSING
                yield from check_rules(
                    child, value[name], f"{path}.{name}", old=before, sound=sound
                )
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from check_rules(schema["items"], item, f"{path}[{index}]", sound=sound)


def _check_rule(
    rule: Schema, value: Any, path: str, old: Any, *, sound: bool
) -> Iterator[FieldProblem]:
    if "oldSelf" in rule["rule"] and old is _MISSING:
        return
    bindings = {"self": value} if old is _MISSING else {"self": value, "oldSelf": old}
    place = path + rule.get("fieldPath", "")
    try:
        if not compile_expression(rule["rule"], ("self", "oldSelf")).holds(bindings):
            yield _wrong(place, f"Invalid value: {rule['message']}")
    except Invalid as error:
        if sound:
            yield _wrong(place, f"Invalid value: {rule['message']} ({error.message})")


def unknown_fields(schema: Schema, value: Any, path: str) -> Iterator[FieldProblem]:
    """Yield the fields that the schema does not know, as strict validation refuses them."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict) and "additionalProperties" not in schema:
        properties = schema.get("properties", {})
        for name, item in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name not in properties:
                yield _wrong(here, f'unknown field "{here}"')
            else:
                yield from unknown_fields(properties[name], item, here)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from unknown_fields(schema["items"], item, f"{path}[{index}]")


def _check_string(schema: Schema, value: str, path: str) -> Iterator[FieldProblem]:
    if len(value) > schema.get("maxLength", len(value)):
        yield _wrong(
            path, f"Too long: may not be more than {schema['maxLength']} bytes", shapeless=True
        )
    if len(value) < schema.get("minLength", 0):
        yield _wrong(
            path,
            f"Invalid value: {_show(value)}: {path} in body should be at least "
            f"{schema['minLength']} chars long",
        )
    pattern = schema.get("pattern")
    if pattern is not None and not _pattern(pattern).search(value):
        yield _wrong(
            path, f"Invalid value: {_show(value)}: {path} in body should match '{pattern}'"
        )


def _check_number(schema: Schema, value: float, path: str) -> Iterator[FieldProblem]:
    for bound, words, broken in (
        ("minimum", "greater than or equal to", value < schema.get("minimum", value)),
        ("maximum", "less than or equal to", value > schema.get("maximum", value)),
    ):
        if broken:
            yield _wrong(
                path,
                f"Invalid value: {_show(value)}: {path} in body should be {words} {schema[bound]}",
            )


def _check_list(schema: Schema, value: list[Any], path: str) -> Iterator[FieldProblem]:
    if len(value) > schema.get("maxItems", len(value)):
        yield _wrong(
            path,
            f"Too many: {len(value)}: must have at most {schema['maxItems']} items",
            shapeless=True,
        )
    if len(value) < schema.get("minItems", 0):
        yield _wrong(
            path,
            f"Invalid value: {len(value)}: {path} in body should have at least "
            f"{schema['minItems']} items",
        )
    for index, item in enumerate(value):
        yield from check(schema["items"], item, f"{path}[{index}]")
    yield from _check_duplicates(schema, value, path)


def _check_duplicates(schema: Schema, value: list[Any], path: str) -> Iterator[FieldProblem]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    times: dict[str, int] = {}
    for index, item in enumerate(value):
        identity = item
        if list_type == "map" and isinstance(item, dict):
            identity = {key: item.get(key) for key in keys}
        shown = json.dumps(identity, sort_keys=True)
        times[shown] = times.get(shown, 0) + 1
        if times[shown] == 2:
            yield _wrong(f"{path}[{index}]", f"Duplicate value: {_show(identity)}")


def _check_object(schema: Schema, value: dict[str, Any], path: str) -> Iterator[FieldProblem]:
    for name in schema.get("required", ()):
        if name not in value:
            yield _wrong(f"{path}.{name}" if path else name, "Required value", shapeless=True)
    if len(value) > schema.get("maxProperties", len(value)):
        yield _wrong(
            path,
            f"Too many: {len(value)}: must have at most {schema['maxProperties']} items",
            shapeless=True,
        )
        return
    properties = schema.get("properties", {})
    for name, child in properties.items():
        if name in value:
            yield from check(child, value[name], f"{path}.{name}" if path else name)
    inner = schema.get("additionalProperties")
    if inner is not None:
        for name, item in value.items():
            yield from check(inner, item, f"{path}.{name}")


def _is_of_type(kind: str, value: Any) -> bool:
    if kind == "integer":
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    types: dict[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, types[kind])


def _type_of(value: Any) -> str:
    names = (
        (type(None), "null"),
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    )
    return json.dumps(next((name for type_, name in names if isinstance(value, type_)), "object"))


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of ours; `$` is the very end, as in Go."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), re.ASCII)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _wrong(path: str, message: str, *, shapeless: bool = False) -> FieldProblem:
    return FieldProblem(field=path, message=message, shapeless=shapeless)
