"""Checks an object's metadata as the API server does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from taskloom.resources.fields import DNS_LABEL, DNS_SUBDOMAIN
from taskloom.resources.problems import FieldProblem
from taskloom.resources.schema import Schema
from taskloom.resources.structural import check, unknown_fields, with_defaults

_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_TIME: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$",
}
_ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}
_OWNER: Schema = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
        "apiVersion": _TEXT,
        "blockOwnerDeletion": {"type": "boolean"},
        "controller": {"type": "boolean"},
        "kind": _TEXT,
        "name": _TEXT,
        "uid": _TEXT,
    },
}
_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "annotations": _ANYTHING,
        "creationTimestamp": _TIME,
        "deletionGracePeriodSeconds": _WHOLE,
        "deletionTimestamp": _TIME,
        "finalizers": {"type": "array", "items": _TEXT},
        "generateName": _TEXT,
        "generation": _WHOLE,
        "labels": _ANYTHING,
        "managedFields": {"type": "array", "items": _ANYTHING | {"type": "object"}},
        "name": _ANYTHING,
        "namespace": _ANYTHING,
        "ownerReferences": {"type": "array", "items": _OWNER},
        "resourceVersion": _TEXT,
        "selfLink": _TEXT,
        "uid": _TEXT,
    },
}
_CHECKED_BY_HAND = ("annotations", "labels", "name", "namespace")
_NAME = re.compile(DNS_SUBDOMAIN.removesuffix("$"))
_LABEL = re.compile(DNS_LABEL.removesuffix("$"))
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_MAX_ANNOTATIONS = 256 * 1024

_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character"
)
_NAMESPACE_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
    " and must start and end with an alphanumeric character"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character"
)


def check_metadata(metadata: Any) -> Iterator[FieldProblem]:
    """Yield what is wrong with an object's metadata."""
    if not isinstance(metadata, dict):
        yield FieldProblem(field="metadata", message="Required value: must be a map with a name")
        return
    yield from unknown_fields(_SCHEMA, metadata, "metadata")
    rest = {name: value for name, value in metadata.items() if name not in _CHECKED_BY_HAND}
    yield from check(_SCHEMA, with_defaults(_SCHEMA, rest), "metadata")
    yield from _check_name(metadata.get("name"), "metadata.name", _NAME, 253, _NAME_RULE)
    if metadata.get("namespace") not in (None, ""):
        yield from _check_name(
            metadata["namespace"], "metadata.namespace", _LABEL, 63, _NAMESPACE_RULE
        )
    yield from _check_labels(metadata.get("labels"))
    yield from _check_annotations(metadata.get("annotations"))
    finalizers = metadata.get("finalizers")
    for finalizer in finalizers if isinstance(finalizers, list) else ():
        if isinstance(finalizer, str):
            yield from _check_qualified(finalizer, "metadata.finalizers")


def as_stored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, as the API server does; a label that is null it stores empty."""
    stored = {name: value for name, value in metadata.items() if value not in (None, "")}
    for name in ("annotations", "labels"):
        if name in stored:
            stored[name] = {
                key: "" if value is None else value for key, value in stored[name].items()
            }
    return stored


def _check_name(
    value: Any, field: str, pattern: re.Pattern[str], longest: int, rule: str
) -> Iterator[FieldProblem]:
    if value is None or value == "":
        yield FieldProblem(field=field, message="Required value: name or generateName is required")
    elif not isinstance(value, str):
        yield FieldProblem(field=field, message=f'Invalid value: must be a string, not "{value}"')
    elif len(value) > longest:
        yield FieldProblem(
            field=field, message=f"Invalid value: must be no more than {longest} bytes"
        )
    elif not pattern.fullmatch(value):
        yield FieldProblem(field=field, message=f'Invalid value: "{value}": {rule}')


def _check_labels(labels: Any) -> Iterator[FieldProblem]:
    yield from _check_map(labels, "metadata.labels")
    if not isinstance(labels, dict):
        return
    for key, value in labels.items():
        yield from _check_qualified(key, "metadata.labels")
        if not isinstance(value, str):
            continue
        if len(value) > 63:
            yield FieldProblem(
                field="metadata.labels",
                message=f'Invalid value: "{value[:63]}...": must be no more than 63 bytes',
            )
        elif value and not _QUALIFIED.fullmatch(value):
            yield FieldProblem(
                field="metadata.labels", message=f'Invalid value: "{value}": {_LABEL_RULE}'
            )


def _check_annotations(annotations: Any) -> Iterator[FieldProblem]:
    yield from _check_map(annotations, "metadata.annotations")
    if not isinstance(annotations, dict):
        return
    for key in annotations:
        # An annotation's prefix may be written in upper case, a label's may not.
        yield from _check_qualified(key.lower(), "metadata.annotations", shown=key)
    size = sum(
        len(key.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
        for key, value in annotations.items()
        if isinstance(key, str) and isinstance(value, str)
    )
    if size > _MAX_ANNOTATIONS:
        yield FieldProblem(
            field="metadata.annotations",
            message=f"Too long: may not be more than {_MAX_ANNOTATIONS} bytes",
        )


def _check_map(value: Any, field: str) -> Iterator[FieldProblem]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield FieldProblem(field=field, message="Invalid value: must be a map of strings")
        return
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            yield FieldProblem(
                field=f"{field}[{key}]", message="Invalid value: must be a string; put it in quotes"
            )


def _check_qualified(key: str, field: str, *, shown: str | None = None) -> Iterator[FieldProblem]:
    prefix, slash, name = key.rpartition("/")
    value = f'Invalid value: "{shown or key}"'
    if slash and not (_NAME.fullmatch(prefix) and len(prefix) <= 253):
        yield FieldProblem(field=field, message=f"{value}: prefix part {_NAME_RULE}")
    elif not _QUALIFIED.fullmatch(name) or len(name) > 63:
        yield FieldProblem(field=field, message=f"{value}: {_QUALIFIED_RULE}")
