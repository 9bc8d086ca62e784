"""The description of every call, at /openapi.json and in ``docs/openapi.json``.

Written as OpenAPI 3.0.3, which the page at /docs and most generators read.
``python -m taskloom.api.openapi --output docs/openapi.json`` writes the file.
"""

import argparse
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from taskloom.api.problems import MEDIA_TYPE
from taskloom.api.trigger import EVENT_ID_HEADER, EVENT_SCHEMA, PATH
from taskloom.domain.permissions import Permission, codes

_DESCRIPTION = """Events come in, BPMN workflows start, tasks are made, and everything is told.

Send `Authorization: Bearer <JWT>`; the token's claim `permissions` is a list of codes
(`*` is all of them).
What each call needs stands with it as `x-permission-codes`.
Every error is `application/problem+json`.
Ids are UUIDs: a path with anything else in its place is not found.
"""

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong, and what to do (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "example": "urn:taskloom:problem:invalid"},
        "title": {"type": "string", "example": "Bad Request"},
        "status": {"type": "integer", "example": 400},
        "detail": {"type": "string", "example": "key must be a non-empty string."},
        "instance": {"type": "string", "example": "/events/trigger"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string", "example": "key"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_WORDS = {
    "400": "The request is malformed: the detail names the part",
    "401": "The token is missing or not valid",
    "403": "The token lacks the permission",
    "404": "There is no such thing",
    "409": "The present state of things does not allow it",
    "413": "The body is larger than 1 MiB",
    "415": "The body is not application/json",
    "422": "Well-formed, but it cannot be done",
    "503": "A part that is needed does not answer: try again after Retry-After seconds",
    "default": "Any other problem",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Describe every call of the application."""
    document = get_openapi(
        title="Taskloom",
        version=version("taskloom"),
        description=_DESCRIPTION,
        license_info={"name": "MIT"},
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    document["openapi"] = "3.0.3"
    document["paths"] = {PATH: {"post": _trigger()}, **document["paths"]}
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    for path, method, operation in _operations(document):
        _complete(path, method, operation)
    plain: dict[str, Any] = _to_3_0(document)
    return plain


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Declare how a call is authenticated and every problem that it may answer."""
    operation["operationId"] = _operation_id(path, method)
    responses = operation["responses"]
    statuses = {"default"}
    if "x-permission-codes" in operation:
        operation["security"] = [{"token": []}]
        statuses |= {"400", "401", "403", "503"}
        names = " or ".join(f"`{code}`" for code in operation["x-permission-codes"])
        operation["description"] = f"{operation.get('description', '')}\n\nPermission: {names}."
    else:
        operation["security"] = []
    if "{" in path:
        statuses |= {"404"}
    if "requestBody" in operation:
        statuses |= {"409", "413", "415", "422"}
    if method in {"patch", "delete"}:
        statuses |= {"409"}
    if responses.get("422", {}).get("description") == "Validation Error":
        del responses["422"]  # the framework's own form, which is never sent
    for status in sorted(statuses - set(responses)):
        responses[status] = {
            "description": _WORDS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _operation_id(path: str, method: str) -> str:
    words = [word for word in path.replace("{", "").replace("}", "").split("/") if word]
    return "_".join([method, *words]).replace("-", "_").replace(".", "_")


def _trigger() -> dict[str, Any]:
    return {
        "tags": ["events"],
        "summary": "Send an event",
        "description": (
            "Take an event in: 204 says that it is durable. "
            "The workflows mapped to its key start from the queue."
        ),
        "x-permission-codes": list(codes(Permission.TRIGGER_EVENTS)),
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "An event with the same key and source is taken in once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": EVENT_SCHEMA.json_schema}},
        },
        "responses": {
            "204": {
                "description": "The event is durable",
                "headers": {
                    EVENT_ID_HEADER: {
                        "description": "The event's id: the first one's, if it came before.",
                        "schema": {"type": "string", "format": "uuid"},
                    }
                },
            }
        },
    }


def _to_3_0(value: Any) -> Any:
    """Say in OpenAPI 3.0 what the framework says in 3.1: null, const and examples."""
    if isinstance(value, list):
        return [_to_3_0(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _to_3_0(item) for name, item in value.items()}
    if isinstance(plain.get("anyOf"), list):
        options = [option for option in plain["anyOf"] if option != {"type": "null"}]
        if len(options) < len(plain["anyOf"]):
            plain["nullable"] = True
            del plain["anyOf"]
            if len(options) == 1 and "$ref" not in options[0]:
                plain = {**options[0], **plain}
            else:
                plain["anyOf"] = options
        if isinstance(plain.get("enum"), list):
            plain["enum"] = [*plain["enum"], None]
    if isinstance(plain.get("const"), str):
        plain["enum"] = [plain.pop("const")]
    if isinstance(plain.get("examples"), list):
        examples = plain.pop("examples")
        plain.setdefault("example", examples[0])
    return plain


def main() -> None:
    """Write the description to a file."""
    from taskloom.api.app import make_api  # noqa: PLC0415 - the application uses this module

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True)
    text = json.dumps(make_api().openapi(), indent=2, ensure_ascii=False)
    parser.parse_args().output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
