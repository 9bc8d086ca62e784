"""Accepts or refuses a manifest, alike with and without a cluster."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from taskloom.resources.base import API_VERSION, GROUP, Resource
from taskloom.resources.kinds import KINDS
from taskloom.resources.metadata import as_stored, check_metadata
from taskloom.resources.problems import FieldProblem
from taskloom.resources.schema import structural_schema
from taskloom.resources.structural import check, check_rules, unknown_fields, with_defaults

_FRAME = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def is_ours(document: Mapping[str, Any]) -> bool:
    """Tell whether a document claims to be one of our resources."""
    version = document.get("apiVersion")
    return isinstance(version, str) and version.partition("/")[0] == GROUP


def validate(
    document: Mapping[str, Any], *, old: Mapping[str, Any] | None = None
) -> Resource | list[FieldProblem]:
    """Read one document, or say what is wrong with it, as ``kubectl apply`` would.

    `old` is the document that stands for the same object: with it, the rules about changes hold.
    A status is left aside: nobody writes it by applying.
    """
    kind = KINDS.get(str(document.get("kind")))
    if document.get("apiVersion") != API_VERSION or kind is None:
        shown = f'"{document.get("kind")}" in version "{document.get("apiVersion")}"'
        return [FieldProblem(field="kind", message=f"no matches for kind {shown}")]
    problems = [
        *(
            FieldProblem(field=str(name), message=f'unknown field "{name}"')
            for name in document
            if name not in _FRAME
        ),
        *check_metadata(document.get("metadata")),
        *_check_spec(kind, document.get("spec"), old),
    ]
    if problems:
        return problems
    try:
        return kind.model_validate(_object(kind, document))
    except ValidationError as error:
        return list(_translated(error))


def default_spec(kind: type[Resource], spec: Any) -> Any:
    """Fill a spec's defaults in."""
    return with_defaults(structural_schema(kind)["properties"]["spec"], spec)


def _check_spec(
    kind: type[Resource], spec: Any, old: Mapping[str, Any] | None
) -> Iterator[FieldProblem]:
    if spec is None:
        yield FieldProblem(field="spec", message="Required value")
        return
    schema = structural_schema(kind)["properties"]["spec"]
    yield from unknown_fields(schema, spec, "spec")
    full = with_defaults(schema, spec)
    problems = list(check(schema, full, "spec"))
    yield from problems
    if any(problem.shapeless for problem in problems):
        return  # the API server too leaves the rules aside until the value has its shape
    sound = not problems
    if old is None:
        yield from check_rules(schema, full, "spec", sound=sound)
    else:
        before = with_defaults(schema, old.get("spec"))
        yield from check_rules(schema, full, "spec", old=before, sound=sound)


def _object(kind: type[Resource], document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind.names.kind,
        "metadata": as_stored(document["metadata"]),
        "spec": default_spec(kind, document["spec"]),
    }


def _translated(error: ValidationError) -> Iterator[FieldProblem]:
    for detail in error.errors(include_input=False, include_url=False):
        path = ""
        for part in detail["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
        yield FieldProblem(field=path, message=f"Invalid value: {detail['msg']}")
