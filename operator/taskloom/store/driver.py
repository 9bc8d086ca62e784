"""Hand-written statements, straight to the driver, within SQLAlchemy's transaction.

SQLAlchemy's own way to run a text costs about twice the processor time of the statement itself;
these run many times for each event, so they take the short way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from psycopg import AsyncConnection as Driver
from psycopg import Error
from psycopg.rows import namedtuple_row
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

_BATCH = 200
"""Rows that are read or written before others have their turn."""


class Rows:
    """What a statement gave: rows with named fields, and how many it touched."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def first(self) -> Any | None:
        """Give the first row, or None."""
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any | None:
        """Give the first field of the first row, or None."""
        return self._rows[0][0] if self._rows else None


async def run(
    connection: AsyncConnection,
    statement: str,
    parameters: Sequence[Any] | Mapping[str, Any] = (),
) -> Rows:
    """Run `statement` (``%s`` or ``%(name)s``) in the transaction that `connection` is in."""
    driver = _driver(connection)
    try:
        async with driver.cursor(row_factory=namedtuple_row) as cursor:
            await cursor.execute(statement.encode(), parameters)
            rows = () if cursor.description is None else await cursor.fetchall()
            return Rows(rows, cursor.rowcount)
    except Error:
        if driver.closed:
            # SQLAlchemy has not seen the break.  This shows it one, so that it raises its own
            # error and lets go of every connection it had before.
            await connection.exec_driver_sql("SELECT 1")
        raise


def _driver(connection: AsyncConnection) -> "Driver[Any]":
    pooled = connection.sync_connection
    if pooled is None:
        raise RuntimeError("the connection is not open")
    return cast("Driver[Any]", pooled.connection.driver_connection)


async def read_rows(
    connection: AsyncConnection, statement: Select[Any], read: Callable[[Any], T]
) -> list[T]:
    """Read what may be many rows, some at a time: others have their turn in between."""
    result = await connection.stream(statement, execution_options={"yield_per": _BATCH})
    return [read(row) async for rows in result.partitions() for row in rows]


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what is to be written into pieces that go to the database at once."""
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def as_parameter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give rows as one parameter for ``jsonb_to_recordset``: the fastest way in, measured.

    JSON that is to be stored as it is rides inside as a string.
    """
    return msgspec.json.encode(rows).decode()
