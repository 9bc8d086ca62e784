"""Runs the migrations, one process at a time.

They come in branches: ``tasks`` and ``webhooks`` for the task database, ``workflows`` for the
workflow database (which may be the same one).  ``webhooks`` can be left out.
"""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from taskloom.errors import Unavailable
from taskloom.store.database import with_driver

BRANCHES = ("tasks", "workflows", "webhooks")
_LOCK = 0x7461_736B_6C6F_6F6D  # "taskloom"


async def migrate(url: str, branches: Sequence[str] = BRANCHES, target: str = "head") -> None:
    """Bring `branches` of the database at `url` to `target`: ``head``, or ``base`` to undo them.

    Holds an advisory lock meanwhile, so that any number of processes may start at once.
    """
    engine = create_async_engine(with_driver(url), poolclass=NullPool)
    try:
        async with engine.connect() as lock_holder:
            # A session of its own, as migrations commit on theirs.
            await lock_holder.exec_driver_sql("SELECT pg_advisory_lock(%s)", (_LOCK,))
            async with engine.connect() as connection:
                await connection.run_sync(_run, branches, target)
                await connection.commit()
    except OperationalError as exc:
        raise Unavailable(
            f"The database cannot be reached for its migrations: {exc.orig}. "
            "Check the database URL and that PostgreSQL runs."
        ) from exc
    finally:
        await engine.dispose()


async def pending(url: str, branches: Sequence[str] = BRANCHES) -> list[str]:
    """List the branches whose newest migration has not been run."""
    engine = create_async_engine(with_driver(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            present = set(await connection.run_sync(_present))
    finally:
        await engine.dispose()
    script = ScriptDirectory.from_config(_config())
    return [
        branch
        for branch in branches
        if not {revision.revision for revision in script.get_revisions(f"{branch}@head")} & present
    ]


def _present(connection: Connection) -> Sequence[str]:
    return MigrationContext.configure(connection).get_current_heads()


def _run(connection: Connection, branches: Sequence[str], target: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    for branch in branches:
        if target == "base":
            command.downgrade(config, f"{branch}@base")
        else:
            command.upgrade(config, f"{branch}@{target}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()))
    config.set_main_option("path_separator", "os")
    return config


def _folder() -> Path:
    here = Path(__file__).parent
    packaged = here.parent / "migrations"  # in a wheel
    return packaged if packaged.is_dir() else here.parents[2] / "migrations"
