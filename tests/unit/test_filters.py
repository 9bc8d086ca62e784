"""Queries in SQL."""

import json
from typing import Any, cast

import pytest
from sqlalchemy import JSON, Column, DateTime, Integer, MetaData, Table, Text, Uuid, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.query import read_filter
from taskloom.domain.query_tree import Queryable
from taskloom.domain.query_values import Field, FieldType
from taskloom.errors import Invalid, Unavailable
from taskloom.store.filters import page, query_bounds, where_clause

TABLE = Table(
    "t",
    MetaData(),
    Column("id", Uuid),
    Column("name", Text),
    Column("size", Integer),
    Column("created_on", DateTime(timezone=True)),
    Column("metadata", JSON),
)
COLUMNS = {
    "id": TABLE.c.id,
    "name": TABLE.c.name,
    "size": TABLE.c.size,
    "createdOn": TABLE.c.created_on,
    "metadata": TABLE.c.metadata,
}
TARGET = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "name": Field(type=FieldType.TEXT),
        "size": Field(type=FieldType.INTEGER),
        "createdOn": Field(type=FieldType.DATETIME),
        "metadata": Field(type=FieldType.JSON),
    }
)


def compiled(clause: Any) -> str:
    """Print SQL with its values in place."""
    return " ".join(
        str(
            clause.compile(
                dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]  # SQLAlchemy gives it no type
                compile_kwargs={"literal_binds": True},
            )
        ).split()
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "true"),
        ({"name": "x"}, "t.name = 'x'"),
        ({"name": None}, "t.name IS NULL"),
        ({"name": {"neq": "x"}}, "t.name != 'x'"),
        ({"name": {"neq": None}}, "t.name IS NOT NULL"),
        ({"size": {"gt": 1}}, "t.size > 1"),
        ({"size": {"gte": 1}}, "t.size >= 1"),
        ({"size": {"lt": 1}}, "t.size < 1"),
        ({"size": {"lte": 1}}, "t.size <= 1"),
        ({"size": {"between": [1, 2]}}, "t.size BETWEEN 1 AND 2"),
        ({"size": {"inq": [1, 2]}}, "t.size IN (1, 2)"),
        ({"size": {"inq": [1, None]}}, "t.size IN (1) OR t.size IS NULL"),
        ({"size": {"inq": [None]}}, "t.size IS NULL"),
        ({"size": {"inq": []}}, "false"),
        ({"size": {"nin": [1, None]}}, "(t.size NOT IN (1)) AND t.size IS NOT NULL"),
        ({"size": {"nin": []}}, "true"),
        ({"metadata": {"exists": True}}, "t.metadata IS NOT NULL"),
        ({"metadata": None}, "t.metadata IS NULL"),
        ({"name": {"like": "a%"}}, "t.name LIKE 'a%%' ESCAPE '\\'"),
        ({"name": {"nlike": "a"}}, "t.name NOT LIKE 'a' ESCAPE '\\'"),
        ({"name": {"ilike": "a"}}, "t.name ILIKE 'a' ESCAPE '\\'"),
        ({"name": {"nilike": "a"}}, "t.name NOT ILIKE 'a' ESCAPE '\\'"),
        ({"name": {"regexp": "^a"}}, "t.name ~ '^a'"),
        ({"name": {"regexp": "/^a/i"}}, "t.name ~* '^a'"),
        (
            {"or": [{"name": "a"}, {"and": [{"size": 1}, {"size": 2}]}]},
            "t.name = 'a' OR t.size = 1 AND t.size = 2",
        ),
        (
            {"name": "a", "or": [{"size": 1}, {"size": 2}]},
            "t.name = 'a' AND (t.size = 1 OR t.size = 2)",
        ),
    ],
)
def test_where_becomes_sql(asked: Any, expected: str) -> None:
    """Every operator has its clause, and groups keep their brackets."""
    query = read_filter([("filter", json.dumps({"where": asked}))], TARGET)

    actual = compiled(where_clause(query.where, COLUMNS))

    assert expected == actual


def test_a_page_is_sorted_and_cut() -> None:
    """A page has where, the order asked for and then the id, limit and offset."""
    asked = {"where": {"size": 1}, "order": ["name DESC", "createdOn"], "limit": 5, "skip": 2}
    query = read_filter([("filter", json.dumps(asked))], TARGET)
    expected = (
        "SELECT t.id FROM t WHERE t.size = 1 "
        "ORDER BY t.name DESC, t.created_on ASC, t.id ASC LIMIT 5 OFFSET 2"
    )

    actual = compiled(page(select(TABLE.c.id), query, COLUMNS, TABLE.c.id))

    assert expected == actual


class DriverError(Exception):
    """A driver's error with its SQL state."""

    def __init__(self, sqlstate: str) -> None:
        """Carry the state."""
        super().__init__("secret text of the driver")
        self.sqlstate = sqlstate


class Connection:
    """Takes statements and keeps them."""

    def __init__(self) -> None:
        """Begin with none."""
        self.statements: list[str] = []

    async def exec_driver_sql(self, statement: str) -> None:
        """Keep a statement."""
        self.statements.append(statement)


async def run_into(error: DBAPIError) -> list[str]:
    """Fail with this error inside of a caller's query."""
    connection = Connection()
    async with query_bounds(cast("AsyncConnection", connection)):
        assert connection.statements == ["SET LOCAL statement_timeout = '5s'"]
        raise error
    return connection.statements


@pytest.mark.parametrize(
    ("state", "says"),
    [("2201B", "regular expression"), ("57014", "too long"), ("22003", "range")],
)
async def test_the_database_s_own_findings_are_the_callers_fault(state: str, says: str) -> None:
    """A bad regexp, a query that is stopped and a value out of range are `Invalid`."""
    with pytest.raises(Invalid, match=says) as caught:
        await run_into(DataError("select", {}, DriverError(state)))

    assert "secret" not in caught.value.message


async def test_a_lost_connection_is_unavailable() -> None:
    """A lost connection is worth another try."""
    lost = OperationalError("select", {}, DriverError("08006"), connection_invalidated=True)

    with pytest.raises(Unavailable):
        await run_into(lost)


async def test_other_errors_pass() -> None:
    """What is no fault of the query is not hidden."""
    with pytest.raises(DBAPIError):
        await run_into(DBAPIError("select", {}, DriverError("42P01")))
