"""A workflow's input schema, held against what it is started with."""

from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from taskloom.errors import Unprocessable


def check_schema(schema: Any) -> None:
    """Raise `Unprocessable` if this is no JSON Schema."""
    if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
        raise Unprocessable("inputSchema's $schema must be a string.", field="inputSchema")
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as exc:
        where = "/".join(str(part) for part in exc.absolute_path)
        raise Unprocessable(
            f"inputSchema is not a valid JSON Schema, at {where or 'its root'}: {exc.message}.",
            field="inputSchema",
        ) from exc


def check_input(schema: Any, value: Any) -> None:
    """Raise `Unprocessable` if `value` does not fit; a ``$ref`` never goes to the network."""
    validator = validator_for(schema, default=Draft202012Validator)
    nothing_remote: Registry[Any] = Registry()
    try:
        errors = sorted(validator(schema, registry=nothing_remote).iter_errors(value), key=_place)
    except Unresolvable as exc:
        raise Unprocessable(
            f"inputSchema refers to {exc.ref}, which is not part of it: put it under $defs.",
            field="inputSchema",
        ) from exc
    except (RecursionError, ArithmeticError) as exc:
        raise Unprocessable(
            "inputSchema cannot be applied to this input: it refers to itself without end, "
            "or a number is out of bounds.",
            field="inputSchema",
        ) from exc
    if errors:
        said = "; ".join(f"{_place(error)}: {error.message}" for error in errors[:5])
        raise Unprocessable(f"The input does not fit the workflow's schema: {said}", field="input")


def _place(error: ValidationError) -> str:
    return "input" + "".join(f"/{part}" for part in error.absolute_path)
