"""Queries of the REST lists in SQL: a checked tree and a map of columns give where and order."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, cast, false, or_, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.query_tree import Comparison, Filter, Operator, Order, Where
from taskloom.errors import Invalid, Unavailable

Columns = Mapping[str, ColumnElement[Any]]
"""The columns by the field names that callers use."""

MAX_SECONDS = 5

_BAD_REGEXP = "2201B"
_QUERY_CANCELED = "57014"
_DATA_EXCEPTION = "22"  # the class of errors about values


def where_clause(where: Where, columns: Columns) -> ColumnElement[bool]:
    """Turn a checked `where` into a clause over these columns.

    A row whose field is null matches `eq null` and `exists false`, and no other comparison.
    """
    if isinstance(where, Comparison):
        return _comparison(where, columns[where.field])
    clauses = [where_clause(condition, columns) for condition in where.conditions]
    return or_(false(), *clauses) if where.operator == "or" else and_(true(), *clauses)


def order_clause(
    order: Sequence[Order], columns: Columns, last: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """Sort as asked, then by `last`, so that pages never overlap."""
    clauses = [
        columns[item.field].desc() if item.descending else columns[item.field].asc()
        for item in order
    ]
    return [*clauses, last.asc()]


def page(
    select: Select[Any], query: Filter, columns: Columns, last: ColumnElement[Any]
) -> Select[Any]:
    """Narrow, sort and cut a select to what the query asks for."""
    return (
        select.where(where_clause(query.where, columns))
        .order_by(*order_clause(query.order, columns, last))
        .limit(query.limit)
        .offset(query.skip)
    )


@asynccontextmanager
async def query_bounds(connection: AsyncConnection) -> AsyncIterator[None]:
    """Run a caller's query: what only the database can find wrong with it becomes `Invalid`.

    Statements of this transaction are stopped after `MAX_SECONDS`, as a regexp can be made to take
    for ever.
    """
    try:
        await connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{MAX_SECONDS}s'")
        yield
    except DBAPIError as exc:
        state = getattr(exc.orig, "sqlstate", None) or ""
        if state == _BAD_REGEXP:
            raise Invalid(
                "A regexp in the query is not a PostgreSQL regular expression: mend it.",
                field="regexp",
            ) from exc
        if state == _QUERY_CANCELED:
            raise Invalid(
                "The query took too long and was stopped: narrow it or simplify its regexp."
            ) from exc
        if state.startswith(_DATA_EXCEPTION):
            raise Invalid("A value in the query is out of its field's range.") from exc
        if exc.connection_invalidated:
            raise Unavailable("The database does not answer: try again.") from exc
        raise


def _comparison(comparison: Comparison, column: ColumnElement[Any]) -> ColumnElement[bool]:
    if comparison.operator in _ON_TEXT:
        text = column if isinstance(column.type, String) else cast(column, String)
        return _ON_TEXT[comparison.operator](text, str(comparison.value))
    if comparison.operator is Operator.REGEXP:
        text = column if isinstance(column.type, String) else cast(column, String)
        matches = text.bool_op("~*" if comparison.ignore_case else "~")
        return matches(comparison.value)
    return _ON_VALUES[comparison.operator](column, comparison.value)


def _any_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    present = [value for value in values if value is not None]
    clause = column.in_(present) if present else false()
    return or_(clause, column.is_(None)) if len(present) < len(values) else clause


def _none_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    present = [value for value in values if value is not None]
    clause = column.not_in(present) if present else true()
    return and_(clause, column.is_not(None)) if len(present) < len(values) else clause


_ON_VALUES: Mapping[Operator, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]] = {
    Operator.EQ: lambda column, value: column.is_(None) if value is None else column == value,
    Operator.NEQ: lambda column, value: column.is_not(None) if value is None else column != value,
    Operator.GT: lambda column, value: column > value,
    Operator.GTE: lambda column, value: column >= value,
    Operator.LT: lambda column, value: column < value,
    Operator.LTE: lambda column, value: column <= value,
    Operator.INQ: _any_of,
    Operator.NIN: _none_of,
    Operator.BETWEEN: lambda column, value: column.between(*value),
    Operator.EXISTS: lambda column, value: column.is_not(None) if value else column.is_(None),
}

_ON_TEXT: Mapping[Operator, Callable[[ColumnElement[Any], str], ColumnElement[bool]]] = {
    Operator.LIKE: lambda column, value: column.like(value, escape="\\"),
    Operator.NLIKE: lambda column, value: column.not_like(value, escape="\\"),
    Operator.ILIKE: lambda column, value: column.ilike(value, escape="\\"),
    Operator.NILIKE: lambda column, value: column.not_ilike(value, escape="\\"),
}
