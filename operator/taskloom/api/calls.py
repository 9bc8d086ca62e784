"""How a call is declared: its permission, what it may answer, and how it is asked."""

from typing import Any

from fastapi import Depends, Request
from pydantic import BaseModel

from taskloom.api.door import needs
from taskloom.domain.permissions import Permission, codes
from taskloom.domain.query import read_filter, read_where
from taskloom.domain.query_tree import EVERY_ROW, Filter, Queryable, Where
from taskloom.errors import Invalid


class Count(BaseModel):
    """How many."""

    count: int


def call(permission: Permission, summary: str, *, asks: str | None = None) -> dict[str, Any]:
    """Give the keywords that declare a route: who may call it, and whether it takes a query.

    `asks` is `filter` or `where`: the route's query parameter in LoopBack's language.
    """
    extra: dict[str, Any] = {"x-permission-codes": list(codes(permission))}
    if asks is not None:
        extra["parameters"] = [_PARAMETERS[asks]]
    return {
        "summary": summary,
        "dependencies": [needs(permission)],
        "openapi_extra": extra,
    }


def filter_over(target: Queryable) -> Any:
    """Give a dependency that reads `filter`."""

    def read(request: Request) -> Filter:
        return read_filter(request.query_params.multi_items(), target)

    return Depends(read)


def choice_of(target: Queryable) -> Any:
    """Give a dependency that reads `filter` on one row, where only fields and include matter."""

    def read(request: Request) -> Filter:
        query = read_filter(request.query_params.multi_items(), target)
        if query.where != EVERY_ROW:
            raise Invalid(
                "The filter on one id has no where: use fields and include.", field="filter.where"
            )
        return query

    return Depends(read)


def where_over(target: Queryable) -> Any:
    """Give a dependency that reads `where`."""

    def read(request: Request) -> Where:
        return read_where(request.query_params.multi_items(), target)

    return Depends(read)


def chosen(row: dict[str, Any], query: Filter) -> dict[str, Any]:
    """Leave the fields of a row that were asked for."""
    if query.fields is None:
        return row
    return {name: value for name, value in row.items() if name in query.fields}


_PARAMETERS: dict[str, dict[str, Any]] = {
    "filter": {
        "name": "filter",
        "in": "query",
        "required": False,
        "description": (
            "A LoopBack filter as JSON: {where, fields, order, limit (100, at most 10,000), "
            "skip, include}; filter[limit]=10 is understood as well."
        ),
        "schema": {"type": "string"},
        "example": '{"where": {"key": {"like": "order%"}}, "order": "createdOn DESC", "limit": 10}',
    },
    "where": {
        "name": "where",
        "in": "query",
        "required": False,
        "description": "A LoopBack where as JSON; every row without it.",
        "schema": {"type": "string"},
        "example": '{"key": {"inq": ["order", "invoice"]}}',
    },
}
