"""Declared resources as tables, with the columns that ``kubectl get`` shows."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from taskloom.cli.texts import age, styled
from taskloom.errors import Invalid
from taskloom.resources.base import Column, Resource
from taskloom.resources.kinds import KINDS

_BY_TYPE = re.compile(r"""\.(\w+)\[\?\(@\.type==["'](\w+)["']\)\]""")


def find_kind(text: str) -> type[Resource]:
    """Find a kind by its name, its plural or its short name, in any case."""
    wanted = text.lower()
    for kind in KINDS.values():
        if wanted in {kind.names.singular, kind.names.plural, kind.names.short}:
            return kind
    known = ", ".join(f"{kind.names.plural} ({kind.names.short})" for kind in KINDS.values())
    raise Invalid(f"There is no kind {text!r}: there are {known}.")


def condition(resource: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """Give a condition of a resource's status, empty if it has none of this type."""
    return next((c for c in resource["status"].get("conditions", ()) if c["type"] == type_), {})


def is_well(resource: Mapping[str, Any]) -> bool:
    """Tell whether a resource is Ready, or suspended on purpose."""
    ready = condition(resource, "Ready")
    return ready.get("status") == "True" or ready.get("reason") == "Suspended"


def by_trouble(resources: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put what is not well first, then what works with a reservation, then the rest."""
    return sorted(resources, key=_rank)


def _rank(resource: Mapping[str, Any]) -> int:
    if not is_well(resource):
        return 0
    return 1 if reservation(resource) else 2


def reservation(resource: Mapping[str, Any]) -> str:
    """Say what is amiss with a resource that is well, or nothing."""
    for type_, wrong in (("TopicsServed", "False"), ("Degraded", "True"), ("Drifted", "True")):
        found = condition(resource, type_)
        if found.get("status") == wrong:
            return str(found.get("message") or found.get("reason"))
    return ""


def table_of_kind(
    kind: type[Resource],
    resources: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    wide: bool = False,
) -> tuple[list[str], list[list[str | Text]]]:
    """Give the columns and rows of one kind's list; a message shows where something is wrong.

    `wide` shows every column.
    """
    wrong = any(not is_well(resource) for resource in resources)
    columns = [column for column in kind.columns if wide or column.priority == 0]
    if wrong and not wide:
        columns.append(next(column for column in kind.columns if column.name == "Message"))
    names = ["namespace", "name", *(column.name for column in columns)]
    return names, [
        [
            resource["namespace"],
            resource["name"],
            *(_cell(column, resource, now) for column in columns),
        ]
        for resource in resources
    ]


def table_of_all(
    resources: Sequence[Mapping[str, Any]], now: datetime
) -> tuple[list[str], list[list[str | Text]]]:
    """Give the columns and rows of a list of every kind."""
    rows: list[list[str | Text]] = []
    for resource in resources:
        ready = condition(resource, "Ready")
        rows.append(
            [
                resource["kind"],
                resource["namespace"],
                resource["name"],
                styled(ready.get("status", "Unknown")),
                ready.get("reason", ""),
                age(resource["createdOn"], now),
                reservation(resource) if is_well(resource) else explain_state(resource),
            ]
        )
    return ["kind", "namespace", "name", "ready", "reason", "age", "message"], rows


def explain_state(resource: Mapping[str, Any]) -> str:
    """Say why a resource is not ready, and where it is written."""
    message = condition(resource, "Ready").get("message") or "it has not been reconciled yet"
    place = resource.get("place")
    return f"{message} ({place})" if place else str(message)


def _cell(column: Column, resource: Mapping[str, Any], now: datetime) -> str | Text:
    if column.path == ".metadata.creationTimestamp":
        return age(resource["createdOn"], now)
    if column.name == "Message":
        return "" if is_well(resource) else explain_state(resource)
    value = look_up(resource, column.path)
    if value is None:
        return ""
    if column.type == "date":
        return age(str(value), now)
    return styled(str(value)) if column.name == "Ready" else str(value)


def look_up(resource: Mapping[str, Any], path: str) -> Any:
    """Follow a printer column's path: fields, and the entry of a list by its type."""
    value: Any = resource
    for step in re.findall(rf"{_BY_TYPE.pattern}|\.(\w+)", path):
        listed, type_, field = step
        if not isinstance(value, Mapping):
            return None
        if listed:
            items = value.get(listed) or ()
            value = next((item for item in items if item.get("type") == type_), None)
        else:
            value = value.get(field)
    return value
