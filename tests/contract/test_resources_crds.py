"""The generated definitions: checked in, structural, bounded, complete."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskloom.resources.base import Resource
from taskloom.resources.cel import compile_expression
from taskloom.resources.crd import custom_resource_definition, file_name, main, render
from taskloom.resources.kinds import KINDS
from taskloom.resources.reference import main as write_reference
from taskloom.resources.schema import structural_schema
from taskloom.resources.structural import check, check_rules, unknown_fields, with_defaults

ROOT = Path(__file__).parents[2]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a schema."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[]")


def spec_and_status(kind: type[Resource]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk what a kind's users and controllers write."""
    properties = structural_schema(kind)["properties"]
    yield from nodes(properties["spec"], "spec")
    yield from nodes(properties["status"], "status")


def test_the_checked_in_definitions_are_what_the_models_make(tmp_path: Path) -> None:
    """Nobody edits crds/ by hand, and nothing stale lies there."""
    main(["--output", str(tmp_path)])

    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_text() for file in (ROOT / "crds").iterdir()}


def test_the_checked_in_reference_is_what_the_models_make(tmp_path: Path) -> None:
    """Nobody edits the resource reference by hand."""
    write_reference(["--output", str(tmp_path / "resources.md")])

    made = (tmp_path / "resources.md").read_text()
    assert made == (ROOT / "docs/reference/resources.md").read_text()


@EVERY_KIND
def test_a_definition_is_yaml_without_anchors(kind: type[Resource]) -> None:
    """The file reads back as the definition, and is named for it."""
    text = render(kind)

    assert custom_resource_definition(kind) == yaml.safe_load(text)
    assert not re.search(r"(^|\s)[&*]id\d", text)
    assert file_name(kind) == f"taskloom.dev_{kind.names.plural}.yaml"


@EVERY_KIND
def test_a_schema_is_structural(kind: type[Resource]) -> None:
    """Every node has one type and none of what structural schemas forbid."""
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "nullable"}
    for path, node in spec_and_status(kind):
        assert node["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert not forbidden & set(node), path
        assert not isinstance(node.get("additionalProperties"), bool), path


@EVERY_KIND
def test_every_field_is_described(kind: type[Resource]) -> None:
    """`kubectl explain` has something to say everywhere, in one line."""
    for path, node in spec_and_status(kind):
        if not path.endswith("]"):
            assert node.get("description"), path
            assert "\n" not in node["description"], path


@EVERY_KIND
def test_everything_is_bounded(kind: type[Resource]) -> None:
    """Every string, list, map and number has a bound, or CEL's cost would be refused."""
    for path, node in spec_and_status(kind):
        bounds = {
            "string": ("maxLength", "enum", "format"),
            "array": ("maxItems",),
            "integer": ("maximum", "format"),
        }.get(node["type"], ())
        assert not bounds or any(bound in node for bound in bounds), path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@EVERY_KIND
def test_defaults_are_written_in_full(kind: type[Resource]) -> None:
    """A default is valid as it stands and leaves nothing for further defaulting."""
    for path, node in spec_and_status(kind):
        if "default" in node:
            assert node["default"] == with_defaults(node, node["default"]), path
            assert not list(check(node, node["default"], path)), path
            assert not list(unknown_fields(node, node["default"], path)), path
            assert not list(check_rules(node, node["default"], path)), path


@EVERY_KIND
def test_every_rule_compiles_and_points_at_a_field(kind: type[Resource]) -> None:
    """A rule is CEL with a message; its fieldPath exists."""
    for path, node in spec_and_status(kind):
        for rule in node.get("x-kubernetes-validations", ()):
            assert compile_expression(rule["rule"], ("self", "oldSelf")), path
            assert rule["message"], path
            if "fieldPath" in rule:
                assert rule["fieldPath"].removeprefix(".") in node["properties"], path


@EVERY_KIND
def test_map_lists_require_their_keys(kind: type[Resource]) -> None:
    """A list by key needs the key in every item."""
    for path, node in spec_and_status(kind):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


@EVERY_KIND
def test_paths_of_columns_and_selectors_exist(kind: type[Resource]) -> None:
    """What is printed, selected and scaled by is in the schema."""
    known = {f".{path}" for path, _ in spec_and_status(kind)} | {".metadata.creationTimestamp"}
    paths = [*(column.path for column in kind.columns), *kind.selectable]
    paths += list((kind.scale or {}).values())
    for path in paths:
        if "?(@" not in path:
            assert path in known


@EVERY_KIND
def test_lists_end_with_ready_reason_and_age(kind: type[Resource]) -> None:
    """`kubectl get` shows the main datum, Ready, Reason, Age, and Message when wide."""
    plain = [column.name for column in kind.columns if column.priority == 0]
    wide = [column.name for column in kind.columns if column.priority == 1]

    assert "Ready" in plain
    assert "Reason" in plain
    assert plain[0] not in {"Ready", "Reason", "Age"}
    assert plain[-1] == "Age"
    assert "Message" in wide


def test_short_names_are_the_documented_ones() -> None:
    """Short names are API."""
    expected = {"capp", "whsub", "evsrc", "evsink", "bpwf", "evmap", "taskmap", "tcmd"}

    assert expected == {kind.names.short for kind in KINDS.values()}
