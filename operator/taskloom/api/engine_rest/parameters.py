"""What a call asks, read strictly: the body, a query's filters, order and page.

A filter that is not known here is refused, where Camunda passes over it: an answer that leaves a
filter out would be another answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from taskloom.api.engine_rest.dates import read_date
from taskloom.api.engine_rest.faults import invalid, not_offered
from taskloom.ports.hosted_engine import Query

MOST_ROWS = 10_000
_PAGING = frozenset({"firstResult", "maxResults", "sortBy", "sortOrder", "sorting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list can be asked, by Camunda's names: which of our fields each is about.

    `flags` say what a boolean that is true means, as (field, values) to be among, or None where
    everything here is so.  `nothing` are those that no row can fulfil, `harmless` those that
    change nothing.
    """

    equals: Mapping[str, str] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()
    lists: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, Sequence[Any]] | None] = field(default_factory=dict)
    since: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, str] = field(default_factory=dict)
    present: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    nothing: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()
    sorts: Mapping[str, str] = field(default_factory=dict)


def read_query(given: Mapping[str, Any], filters: Filters) -> Query | None:
    """Read a list's parameters (of the URL, or a body's JSON); None if no row can match."""
    asked = {
        name: value
        for name, value in given.items()
        if name not in _PAGING and name not in filters.harmless and value is not None
    }
    _check_known(asked, filters)
    if any(asked.get(name) not in (None, False, "false") for name in filters.nothing):
        return None
    where = _where(asked, filters)
    if any(len(values) == 0 for values in where.values()):
        return None
    return Query(
        where=where,
        since=_dates(asked, filters.since),
        until=_dates(asked, filters.until),
        present={
            about: there
            for name, (about, there) in filters.present.items()
            if as_flag(name, asked.get(name))
        },
        order=_order(given, filters),
        skip=_number("firstResult", given.get("firstResult") or 0),
        limit=min(MOST_ROWS, _number("maxResults", given.get("maxResults") or MOST_ROWS)),
    )


def _check_known(asked: Mapping[str, Any], filters: Filters) -> None:
    known = {
        *filters.equals,
        *filters.lists,
        *filters.flags,
        *filters.since,
        *filters.until,
        *filters.present,
        *filters.nothing,
    }
    for name in asked:
        if name not in known:
            raise not_offered(f"the query parameter '{name}'.")


def _where(asked: Mapping[str, Any], filters: Filters) -> Mapping[str, Sequence[Any]]:
    """Give the values that fields may have; two filters on one field both hold."""
    where: dict[str, Sequence[Any]] = {}
    for name, value in asked.items():
        chosen = _chosen(name, value, filters)
        if chosen is not None:
            about, values = chosen
            before = where.get(about)
            where[about] = values if before is None else [v for v in values if v in before]
    return where


def _chosen(name: str, value: Any, filters: Filters) -> tuple[str, Sequence[Any]] | None:
    if name in filters.equals:
        one = _number(name, value) if name in filters.numbers else str(value)
        return filters.equals[name], [one]
    if name in filters.lists:
        return filters.lists[name], as_list(value)
    if name in filters.flags and as_flag(name, value):
        return filters.flags[name]
    return None


def _dates(asked: Mapping[str, Any], about: Mapping[str, str]) -> Mapping[str, datetime]:
    return {
        field: read_date(name, str(asked[name])) for name, field in about.items() if name in asked
    }


def as_flag(name: str, value: Any) -> bool:
    """Read a boolean of a URL or a body."""
    match value:
        case True | "true":
            return True
        case False | "false" | None | "":
            return False
    raise invalid(f"Cannot set query parameter '{name}' to value '{value}'")


def as_list(value: Any) -> list[str]:
    """Read a list: JSON's, or text with commas."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [part for part in str(value).split(",") if part]


def text_of(body: Mapping[str, Any], name: str) -> str | None:
    """Give a text of the body."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be a text")
    return value


def number_of(body: Mapping[str, Any], name: str, default: int = 0) -> int:
    """Give a whole number of the body."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise invalid(f"{name} must be a whole number")
    return value


def _number(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise invalid(f"Cannot set query parameter '{name}' to value '{value}'")
    return min(number, (1 << 31) - 1)


def _order(given: Mapping[str, Any], filters: Filters) -> Sequence[str]:
    sorting = given.get("sorting")
    if sorting is None:
        by, order = given.get("sortBy"), given.get("sortOrder")
        if by is not None:
            _sort(by, order or "asc", filters)
        if (by is None) != (order is None):
            raise invalid(
                "Only a single sorting parameter specified. sortBy and sortOrder required"
            )
        sorting = [] if by is None else [{"sortBy": by, "sortOrder": order}]
    if not isinstance(sorting, list) or not all(isinstance(each, dict) for each in sorting):
        raise invalid("sorting must be a list of {sortBy, sortOrder}")
    return [_sort(each.get("sortBy"), each.get("sortOrder"), filters) for each in sorting]


def _sort(by: Any, order: Any, filters: Filters) -> str:
    name = filters.sorts.get(by) if isinstance(by, str) else None
    if name is None:
        raise invalid(f"Cannot set query parameter 'sortBy' to value '{by}'")
    if order not in {"asc", "desc"}:
        raise invalid(f"Cannot set query parameter 'sortOrder' to value '{order}'")
    return name if order == "asc" else f"-{name}"
