"""ConfigMap and Secret documents, as the API server reads them."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from taskloom.reconcilers.snapshot import DataObject, Place
from taskloom.resources.metadata import check_metadata
from taskloom.resources.problems import FieldProblem

_FRAME = {"apiVersion", "kind", "metadata", "immutable"}
_FIELDS = {
    "ConfigMap": _FRAME | {"data", "binaryData"},
    "Secret": _FRAME | {"data", "stringData", "type"},
}
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def read_data_object(
    document: Mapping[str, Any], place: Place | None
) -> DataObject | list[FieldProblem]:
    """Read one, or say what is wrong without showing a value."""
    kind = str(document["kind"])
    problems = [
        *(
            FieldProblem(field=str(name), message=f'unknown field "{name}"')
            for name in document
            if name not in _FIELDS[kind]
        ),
        *check_metadata(document.get("metadata")),
    ]
    data: dict[str, bytes] = {}
    encoded, plain = ("binaryData", "data") if kind == "ConfigMap" else ("data", "stringData")
    for field in (encoded, plain):
        problems += _read_field(document.get(field), field, data, encoded=field == encoded)
    if problems:
        return problems
    metadata = document["metadata"]
    return DataObject(
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        data=data,
        place=place,
    )


def _read_field(
    values: Any, field: str, into: dict[str, bytes], *, encoded: bool
) -> Iterator[FieldProblem]:
    if values is None:
        return
    if not isinstance(values, dict):
        yield FieldProblem(field=field, message="Invalid value: must be a map of strings")
        return
    for key, value in values.items():
        here = f"{field}.{key}"
        if not _KEY.fullmatch(key):
            yield FieldProblem(
                field=here,
                message="Invalid value: a key must consist of letters, digits, '-', '_' or '.'",
            )
        elif value is None:
            into[key] = b""
        elif not isinstance(value, str):
            yield FieldProblem(field=here, message="Invalid value: must be a string; quote it")
        elif encoded:
            try:
                into[key] = base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
            except (binascii.Error, ValueError):
                yield FieldProblem(field=here, message="Invalid value: must be valid base64")
        else:
            into[key] = value.encode("utf-8", "replace")
