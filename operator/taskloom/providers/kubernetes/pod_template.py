"""The template that the pods of dedicated sources are made from."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from taskloom.errors import Invalid
from taskloom.providers.kubernetes.objects import DEPLOYMENTS, Body

CONTAINER = "connectors"
"""The container that the source runs in, if one has that name."""


def read_template(text: str) -> Body:
    """Read the manifest that pods are made from; `Invalid` says what it lacks."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise Invalid(f"it is no YAML{where}") from error
    if len(documents) != 1:
        raise Invalid(f"it must hold one document, not {len(documents)}")
    body = _without_nulls(documents[0])
    if not isinstance(body, Mapping) or (body.get("apiVersion"), body.get("kind")) != (
        DEPLOYMENTS.api_version,
        DEPLOYMENTS.kind,
    ):
        raise Invalid("it must be a Deployment of apps/v1")
    value: Any = body
    for field in ("spec", "template", "spec"):
        value = value.get(field)
        if not isinstance(value, Mapping):
            raise Invalid(f"it lacks `{field}` on the way to spec.template.spec.containers")
    containers = value.get("containers")
    if (
        not isinstance(containers, list)
        or not containers
        or not all(isinstance(c, Mapping) and isinstance(c.get("name"), str) for c in containers)
    ):
        raise Invalid("spec.template.spec.containers must be a list of containers with names")
    return body


def container_of(containers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give the container that the source runs in: the one so named, else the first."""
    named = [container for container in containers if container["name"] == CONTAINER]
    return named[0] if named else containers[0]


def _without_nulls(value: Any) -> Any:
    """Drop what is null: to apply it would mean to want it empty."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
