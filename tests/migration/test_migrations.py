"""The migrations make what the code expects, and can be undone."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from taskloom.engines.embedded import tables as engine_tables
from taskloom.store import tables
from taskloom.store.migrate import BRANCHES, migrate, pending

EVERYTHING = [
    tables.metadata,
    tables.workflow_metadata,
    tables.webhook_metadata,
    engine_tables.metadata,
]


def _together(metadatas: list[MetaData]) -> MetaData:
    together = MetaData()
    for metadata in metadatas:
        for table in metadata.tables.values():
            table.to_metadata(together)
    return together


async def _run(url: str, work: Any) -> Any:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        result = await connection.run_sync(work)
    await engine.dispose()
    return result


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": False}
    )
    return [
        difference
        for difference in compare_metadata(context, _together(EVERYTHING))
        if "alembic_version" not in str(difference)
    ]


def _table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


async def test_migrated_database_is_what_the_tables_say(database_url: str) -> None:
    """A migrated database differs in nothing from the tables in the code."""
    assert [] == await _run(database_url, _differences)


async def test_downgrade_leaves_nothing_and_upgrade_brings_all_back(database_url: str) -> None:
    """Down to base removes every table; up again makes the same ones."""
    before = await _run(database_url, _table_names)

    await migrate(database_url, target="base")
    assert set() == await _run(database_url, _table_names)

    await migrate(database_url)
    assert before == await _run(database_url, _table_names)


async def test_webhooks_can_be_left_out(database_url: str) -> None:
    """Without the branch there is no webhook table, and nothing else is missing."""
    await migrate(database_url, target="base")

    await migrate(database_url, branches=("tasks", "workflows"))

    names = await _run(database_url, _table_names)
    assert set() == names & set(tables.webhook_metadata.tables)
    assert set(tables.metadata.tables) <= names
    assert ["webhooks"] == await pending(database_url)


@pytest.mark.parametrize("branches", [BRANCHES, ("tasks",)])
async def test_a_second_run_changes_nothing(database_url: str, branches: tuple[str, ...]) -> None:
    """Migrating a migrated database is no error."""
    await migrate(database_url, branches)

    assert [] == await pending(database_url, branches)
