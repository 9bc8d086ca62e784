"""The full samples show every field of every kind, and are accepted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskloom.resources.base import Resource
from taskloom.resources.kinds import KINDS
from taskloom.resources.schema import structural_schema
from taskloom.resources.validate import validate

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples" / "full"


def documents(kind: str) -> list[Any]:
    """Read the full samples of a kind."""
    return list(yaml.safe_load_all((SAMPLES / f"{kind.lower()}.yaml").read_text()))


def fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every field of a schema."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(child, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


def used(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field that a value sets."""
    if isinstance(value, list):
        for item in value:
            yield from used(schema["items"], item, f"{path}[]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in schema.get("properties", {}):
                yield f"{path}.{name}"
                yield from used(schema["properties"][name], item, f"{path}.{name}")


def elsewhere(path: str) -> bool:
    """Tell whether a field is shown by the samples of an EventSource, which shares it."""
    shared = (".sasl.oauth", ".sqs.auth.", ".nats.auth", ".nats.tls")
    return any(part in path for part in shared) or path.endswith(".sasl.awsRegion")


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_samples_of_a_kind_set_every_field(kind: str) -> None:
    """Whoever looks for a field finds it in a sample."""
    schema = structural_schema(KINDS[kind])["properties"]["spec"]
    set_fields = {path for document in documents(kind) for path in used(schema, document["spec"])}
    missing = set(fields(schema)) - set_fields
    if kind == "EventSink":
        missing = {path for path in missing if not elsewhere(path)}

    assert set() == missing


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_samples_of_a_kind_are_accepted(kind: str) -> None:
    """A sample can be taken as it stands."""
    for document in documents(kind):
        made = validate(document)

        assert isinstance(made, Resource), made
        assert kind == made.kind


def test_all_samples_may_be_applied_together() -> None:
    """No two are the same object, so `kubectl apply --recursive` takes them in any order."""
    named = [
        (document["kind"], document["metadata"]["name"])
        for path in SAMPLES.parent.glob("**/*.yaml")
        for document in yaml.safe_load_all(path.read_text())
    ]

    assert len(named) == len(set(named))
