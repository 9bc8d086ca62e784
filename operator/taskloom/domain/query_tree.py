"""A query as a checked tree: what `taskloom.domain.query` reads and the store turns into SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from taskloom.domain.query_values import Field, Value
from taskloom.errors import Invalid

DEFAULT_LIMIT = 100


class Operator(StrEnum):
    """How a field is compared."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    INQ = "inq"
    NIN = "nin"
    BETWEEN = "between"
    EXISTS = "exists"
    LIKE = "like"
    NLIKE = "nlike"
    ILIKE = "ilike"
    NILIKE = "nilike"
    REGEXP = "regexp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One field held against a value; a tuple of values for inq, nin and between."""

    field: str
    operator: Operator
    value: Value | tuple[Value, ...]
    ignore_case: bool = False  # of a regexp


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Conditions of which all, or one, must hold; an empty `and` always holds."""

    operator: Literal["and", "or"]
    conditions: tuple["Comparison | Group", ...]


Where = Comparison | Group
EVERY_ROW = Group(operator="and", conditions=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Sort by a field."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A whole query; `fields` is None for all of them."""

    where: Where = EVERY_ROW
    fields: frozenset[str] | None = None
    order: tuple[Order, ...] = ()
    limit: int = DEFAULT_LIMIT
    skip: int = 0
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queryable:
    """What a list can be asked about: its fields by the names callers use, and its relations."""

    fields: Mapping[str, Field]
    relations: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Reading:
    """Where we are in one query: what it may ask, and how much it has asked."""

    target: Queryable
    lenient: bool  # values came from a query string, so numbers and booleans are text
    conditions: int = field(default=0)

    def known(self, name: Any, path: str) -> Field:
        """Look a field up; `Invalid` lists those there are."""
        found = self.target.fields.get(name) if isinstance(name, str) else None
        if found is None:
            raise Invalid(
                f"There is no field {shown(name)} here (at {path}); "
                f"there are: {', '.join(self.target.fields)}.",
                field=path,
            )
        return found


def shown(value: Any) -> str:
    """Quote what the caller sent, cut to a length fit for a message."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def step(path: str, name: str) -> str:
    """Name a part below another."""
    return f"{path}.{name[:60]}"
