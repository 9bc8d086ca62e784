"""The query language of the REST lists: LoopBack's `filter` and `where`, as a checked tree.

::

    filter = {where, fields, order, limit, skip | offset, include}
    where  = {field: value, field: {operator: value, …}, and: [where, …], or: [where, …]}

What is asked is checked here against what the list has, so that nothing wrong reaches the database;
`taskloom.store.filters` turns the tree into SQL.
"""

from collections.abc import Iterable
from typing import Any

from taskloom.domain.query_string import query_parameter
from taskloom.domain.query_tree import (
    DEFAULT_LIMIT,
    Filter,
    Order,
    Queryable,
    Reading,
    Where,
    shown,
    step,
)
from taskloom.domain.query_values import FieldType
from taskloom.domain.query_where import read_conditions, read_flag
from taskloom.errors import Invalid

MAX_LIMIT = 10_000
MAX_SKIP = 1_000_000_000

_PARTS = ("where", "fields", "order", "limit", "skip", "offset", "include")


def read_filter(pairs: Iterable[tuple[str, str]], target: Queryable) -> Filter:
    """Read `filter` from the decoded pairs of a query string, as JSON or as `filter[where][x]=…`.

    Raises `Invalid` naming the part that is wrong and what it may be.
    """
    raw, lenient = query_parameter(pairs, "filter")
    if raw is None:
        return Filter()
    if not isinstance(raw, dict):
        raise Invalid('The filter must be a JSON object, such as {"limit": 10}.', field="filter")
    reading = Reading(target=target, lenient=lenient)
    for part in raw:
        if part not in _PARTS:
            raise Invalid(
                f"The filter has no part {shown(part)}: use {', '.join(_PARTS)}.",
                field=step("filter", part),
            )
    if "skip" in raw and "offset" in raw:
        raise Invalid("The filter has both skip and offset: keep one.", field="filter.offset")
    skip_name = "offset" if "offset" in raw else "skip"
    return Filter(
        where=read_conditions(raw.get("where"), "filter.where", reading),
        fields=_fields(raw.get("fields"), reading),
        order=_order(raw.get("order"), reading),
        limit=_whole(raw, "limit", range(1, MAX_LIMIT + 1), reading, default=DEFAULT_LIMIT),
        skip=_whole(raw, skip_name, range(MAX_SKIP + 1), reading, default=0),
        include=_include(raw.get("include"), reading),
    )


def read_where(pairs: Iterable[tuple[str, str]], target: Queryable) -> Where:
    """Read `where` from the decoded pairs of a query string; every row if it is absent."""
    raw, lenient = query_parameter(pairs, "where")
    return read_conditions(raw, "where", Reading(target=target, lenient=lenient))


def _fields(raw: Any, reading: Reading) -> frozenset[str] | None:
    path = "filter.fields"
    if raw is None:
        return None
    if isinstance(raw, str):
        raw = [raw]
    if isinstance(raw, list):
        for index, name in enumerate(raw):
            reading.known(name, f"{path}[{index}]")
        return frozenset(raw) or None
    if not isinstance(raw, dict):
        raise Invalid(f"{path} must be a list of fields or an object of booleans.", field=path)
    wanted: set[str] = set()
    unwanted: set[str] = set()
    for name, value in raw.items():
        reading.known(name, step(path, name))
        (wanted if read_flag(value, step(path, name), reading) else unwanted).add(name)
    if wanted:
        return frozenset(wanted)
    return frozenset(reading.target.fields) - unwanted if unwanted else None


def _order(raw: Any, reading: Reading) -> tuple[Order, ...]:
    path = "filter.order"
    if raw is None:
        return ()
    items = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(item, str) for item in items):
        raise Invalid(f'{path} must be text such as "createdOn DESC", or a list.', field=path)
    clauses = [clause for item in items for clause in item.split(",") if clause.strip()]
    if len(clauses) > 10:
        raise Invalid(f"{path} has more than ten fields.", field=path)
    return tuple(_order_clause(clause, path, reading) for clause in clauses)


def _order_clause(clause: str, path: str, reading: Reading) -> Order:
    name, *direction = clause.split()
    known = reading.known(name, path)
    if known.type is FieldType.JSON:
        raise Invalid(f"{path}: the field {name} holds JSON and has no order.", field=path)
    if len(direction) > 1 or (direction and direction[0].upper() not in {"ASC", "DESC"}):
        raise Invalid(
            f"{path}: {shown(clause.strip())} must be a field, then ASC or DESC.", field=path
        )
    return Order(field=name, descending=bool(direction) and direction[0].upper() == "DESC")


def _include(raw: Any, reading: Reading) -> tuple[str, ...]:
    path = "filter.include"
    if raw is None:
        return ()
    names: list[str] = []
    for item in raw if isinstance(raw, list) else [raw]:
        name = item
        if isinstance(item, dict):
            if set(item) - {"relation"} and item.get("scope"):
                raise Invalid(
                    f"{path}: a scope is not supported; ask the relation's own list.", field=path
                )
            name = item.get("relation")
        if name not in reading.target.relations:
            known = ", ".join(reading.target.relations) or "none here"
            raise Invalid(
                f"{path}: there is no relation {shown(name)}; there is: {known}.", field=path
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def _whole(
    parts: dict[str, Any], name: str, allowed: range, reading: Reading, *, default: int
) -> int:
    raw = parts.get(name)
    if raw is None:
        return default
    if reading.lenient and isinstance(raw, str) and raw.isascii() and raw.isdigit():
        raw = int(raw) if len(raw) <= 12 else -1
    if isinstance(raw, bool) or not isinstance(raw, int) or raw not in allowed:
        raise Invalid(
            f"filter.{name} must be a whole number from {allowed.start} to {allowed.stop - 1:,}.",
            field=f"filter.{name}",
        )
    return raw
