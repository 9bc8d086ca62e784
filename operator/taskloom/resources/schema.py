"""The structural schema of a kind, as a CustomResourceDefinition wants it.

No ``$ref``, no ``anyOf`` for optional fields, no ``additionalProperties: false``:
Kubernetes prunes unknown fields or, with strict validation, refuses them by itself.
"""

from functools import cache
from typing import Any

from taskloom.resources.base import Part, Resource

Schema = dict[str, Any]

_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
    "required",
)


@cache
def structural_schema(kind: type[Resource]) -> Schema:
    """Build the openAPIV3Schema of a kind; treat the result as read-only."""
    return {
        "type": "object",
        "description": _sentence(kind.__doc__ or ""),
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": "Version of the schema that this object is written in.",
            },
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object"},
            "spec": part_schema(_spec_type(kind)),
            "status": part_schema(kind.status_type),
        },
    }


def part_schema(part: type[Part]) -> Schema:
    """Build the structural schema of a part."""
    whole = part.model_json_schema(by_alias=True, mode="validation")
    return _structural(whole, whole.get("$defs", {}))


def _spec_type(kind: type[Resource]) -> type[Part]:
    annotation = kind.model_fields["spec"].annotation
    if not (isinstance(annotation, type) and issubclass(annotation, Part)):
        raise TypeError(f"the spec of {kind.__name__} must be a Part")
    return annotation


def _structural(node: Schema, definitions: Schema) -> Schema:
    node = _resolve(node, definitions)
    made: Schema = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        made |= {"type": "string", "enum": [node["const"]]}
    if "description" in made:
        made["description"] = _sentence(made["description"])
    if "default" in made:
        made["default"] = _without_nulls(made["default"])
        if made["default"] is None:
            del made["default"]
    if "enum" in made:
        made["enum"] = sorted(made["enum"])
    if "properties" in node:
        made["properties"] = {
            name: _structural(child, definitions) for name, child in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if "items" in node:
        made["items"] = _structural(node["items"], definitions)
    made |= {key: value for key, value in node.items() if key.startswith("x-")}
    return made


def _resolve(node: Schema, definitions: Schema) -> Schema:
    """Replace a reference or an optional by what it stands for; what stands beside it wins."""
    while "$ref" in node or "anyOf" in node:
        beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
        else:
            (target,) = (option for option in node["anyOf"] if option != {"type": "null"})
        node = target | beside
    return node


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _sentence(text: str) -> str:
    return " ".join(text.split())
