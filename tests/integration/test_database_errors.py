"""What an error of the database says."""

import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from taskloom.store.database import Database


async def test_an_error_does_not_repeat_what_was_stored(database: Database) -> None:
    """Tracebacks are logged, and rows hold what people wrote."""
    statement = text("INSERT INTO events (id, key, payload) VALUES (:id, :key, :payload)")
    values = {"id": "no-id", "key": "k", "payload": "private-payload"}

    with pytest.raises(DBAPIError) as raised:
        async with database.begin() as tx:
            await tx.connection.execute(statement, values)

    assert "private-payload" not in "".join(traceback.format_exception(raised.value))
