"""Generates the resource reference: ``python -m taskloom.resources.reference --output FILE``."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from taskloom.resources.base import API_VERSION, Resource
from taskloom.resources.cel import MAX_DEPTH, MAX_GROWING_TEXT, MAX_VALUES
from taskloom.resources.kinds import KINDS
from taskloom.resources.schema import Schema, structural_schema

_INTRODUCTION = f"""\
<!-- Generated from the models in operator/taskloom/resources.
Change those, then run `make generate`. -->

# Resources

All kinds belong to `{API_VERSION}`, live in a namespace, and are in the category `taskloom`.
The same YAML is read from a folder and from a cluster, and accepted or refused alike.
A field is optional unless it is marked required.

## Expressions

Filters and mapping expressions are [CEL](https://cel.dev), as in Kubernetes.
The variable `event` holds `key`, `payload` and `source`; `message` holds `body` and `headers`.

- A filter that fails, such as one that reads a field the payload lacks, lets nothing through;
  the reason is kept and shown by `taskloom trace`.
  Ask with `has(event.payload.amount)` first.
- Numbers are as JSON has them: `5` is an integer, `5.0` a double.
  They compare with each other and do not add: write `double(event.payload.amount) * 1.2`.
  An integer beyond 64 bits is read as a double.
- An expression is nested at most 32 levels deep and makes at most 10,000 iterations.
- It reads values of at most {MAX_VALUES:,} parts nested at most {MAX_DEPTH} levels deep.
  Only the parts that it names count: a filter on `event.key` bears any payload.
- An expression with several comprehensions and a `+` reads at most {MAX_GROWING_TEXT:,} characters.

## Folders

`*.yaml`, `*.yml` and `*.json` files are read, subfolders and links included;
names that begin with a dot are left out.
A file may hold several documents and lists, and ConfigMaps and Secrets beside our kinds;
other kinds are left aside with a note.

- A file that cannot be read leaves what it held last in force, and is named with its line.
- An object that is not valid leaves its last valid form in force, and says so in its conditions.
- An object is deleted when its document is gone from a folder that can be read.
- Generated credentials are written to `<data-dir>/credentials/<namespace>/<secret>/<key>`
  with mode 0600; what exists there is adopted.
"""


def render_reference() -> str:
    """Write the reference of all kinds as Markdown."""
    return "\n".join([_INTRODUCTION, *(_kind(kind) for kind in KINDS.values())])


def _kind(kind: type[Resource]) -> str:
    schema = structural_schema(kind)
    lines = [
        f"## {kind.names.kind}",
        "",
        schema["description"],
        "",
        f"Short name: `{kind.names.short}`.",
        "",
        *_table("spec", schema["properties"]["spec"]),
        *_rules(schema["properties"]["spec"]),
        *_table("status", schema["properties"]["status"]),
    ]
    return "\n".join(lines)


def _table(root: str, schema: Schema) -> list[str]:
    rows = [f"| `{path}` | {kind} | {text} |" for path, kind, text in _rows(root, schema)]
    return ["| Field | Type | Meaning |", "|---|---|---|", *rows, ""]


def _rows(path: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", [])
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, _type(child), _meaning(child, required=name in required)
        inner, suffix = child, ""
        if child.get("type") == "array":
            inner, suffix = child["items"], "[]"
        yield from _rows(here + suffix, inner)


def _type(schema: Schema) -> str:
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    return str(schema["type"])


def _meaning(schema: Schema, *, required: bool) -> str:
    parts = [schema.get("description", "")]
    if required:
        parts.append("**Required.**")
    values = schema.get("enum") or schema.get("items", {}).get("enum")
    if values:
        parts.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    bounds = _bounds(schema)
    if bounds:
        parts.append(f"{bounds}.")
    default = schema.get("default")
    if default is not None and not isinstance(default, dict):
        parts.append(f"Default: `{json.dumps(default) if default != '' else ''}`.")
    return " ".join(part for part in parts if part).replace("|", "\\|")


def _bounds(schema: Schema) -> str:
    units: list[tuple[str, str, str]] = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ]
    for low, high, unit in units:
        least: Any = schema.get(low)
        if least and high in schema and (schema[high] != 2_147_483_647):
            return f"From {least} to {schema[high]}{unit}"
        if high in schema and schema[high] != 2_147_483_647:
            return f"At most {schema[high]}{unit}"
    return ""


def _rules(schema: Schema) -> list[str]:
    messages = [f"- `{path}`: {message}." for path, message in _messages("spec", schema)]
    return ["Rules:", "", *messages, ""] if messages else []


def _messages(path: str, schema: Schema) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield path, rule["message"]
    for name, child in schema.get("properties", {}).items():
        inner, suffix = (child["items"], "[]") if child.get("type") == "array" else (child, "")
        yield from _messages(f"{path}.{name}{suffix}", inner)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the reference to a file."""
    parser = argparse.ArgumentParser(
        prog="python -m taskloom.resources.reference",
        description="Write the reference of all kinds as Markdown.",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    file: Path = parser.parse_args(arguments).output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
