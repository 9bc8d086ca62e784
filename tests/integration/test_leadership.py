"""Terms: who was overtaken writes no more, on one database and on two."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.secret import Secret
from taskloom.domain.sources import HttpCommand
from taskloom.domain.webhooks import Target
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Superseded, Unavailable
from taskloom.flow.services import Services
from taskloom.ids import new_id
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.reconcilers.reconcile import reconcile
from taskloom.reconcilers.snapshot import Declared, Snapshot
from taskloom.resources.command import Command
from taskloom.store import leadership
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.leadership import begin_terms

LEASE = "taskloom/taskloom-controller"


def always() -> bool:
    """Hold the lease."""
    return True


async def topics(database: Database) -> list[str]:
    """Read the topics of the commands that the database has."""
    async with database.begin() as tx:
        return [command.topic for command in await tx.commands.all()]


def declared(topic: str) -> Snapshot:
    """Declare one command."""
    command = Command.model_validate(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": "Command",
            "metadata": {"name": "it", "namespace": "shop", "generation": 1},
            "spec": {"topic": topic, "http": {"url": "http://127.0.0.1:9/"}},
        }
    )
    return Snapshot(provider="kubernetes", resources=(Declared(resource=command),))


@pytest.fixture
async def other(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """Make a second database, for workflows."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE taskloom STRATEGY file_copy")
    database = Database(postgres.url_of(name))
    yield database
    await database.close()
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_later_term_ends_the_former(database: Database) -> None:
    """The newest term alone begins transactions; what the former one asks for is refused."""
    first, _ = await begin_terms(database, database, LEASE, always)
    async with first.begin() as tx:
        assert [] == await tx.commands.all()
    second, _ = await begin_terms(database, database, LEASE, always)

    with pytest.raises(Superseded, match=r"term 1\)"):
        async with first.begin():
            raise AssertionError
    with pytest.raises(Superseded):
        async with first.at_once():
            raise AssertionError
    async with second.begin() as tx, second.at_once() as at_once:
        assert [] == await tx.commands.all() == await at_once.commands.all()


async def test_terms_of_one_lease_are_nothing_to_another(database: Database) -> None:
    """Operators with leases of their own share a database."""
    first, _ = await begin_terms(database, database, LEASE, always)
    await begin_terms(database, database, "taskloom/another", always)

    async with first.begin() as tx:
        assert [] == await tx.commands.all()


async def test_each_of_two_databases_counts(database: Database, other: Database) -> None:
    """With a workflow database of its own both are shut to a former term."""
    tasks, workflows = await begin_terms(database, other, LEASE, always)
    async with tasks.begin(), workflows.begin():
        pass

    await begin_terms(database, other, LEASE, always)

    for former in (tasks, workflows):
        with pytest.raises(Superseded):
            async with former.begin():
                raise AssertionError


async def test_who_does_not_hold_the_lease_does_not_ask(database: Database) -> None:
    """A process that slept through its lease knows by its own clock, with no other one begun."""
    held = [True]
    tasks, _ = await begin_terms(database, database, LEASE, lambda: held[0])
    held[0] = False

    with pytest.raises(Superseded):
        async with tasks.begin():
            raise AssertionError


async def test_a_term_waits_for_what_the_former_is_writing(database: Database) -> None:
    """A transaction that has begun ends before the next term begins: nothing comes after it."""
    first, _ = await begin_terms(database, database, LEASE, always)
    async with first.begin() as tx:
        await tx.commands.put(_command("early"))
        beginning = asyncio.create_task(begin_terms(database, database, LEASE, always))
        async with database.begin() as look:
            while not await _somebody_waits(look.connection):
                await asyncio.sleep(0.01)
        assert not beginning.done()
    await beginning

    assert ["early"] == await topics(database)


async def test_a_stopped_process_holds_up_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that lies idle is ended by the database, and what it wrote is undone."""
    monkeypatch.setattr(leadership, "_IDLE_SECONDS", 1)
    first, _ = await begin_terms(database, database, LEASE, always)

    async def write() -> None:
        async with first.begin() as tx:
            await tx.commands.put(_command("lost"))
            await begin_terms(database, database, LEASE, always)  # while this one writes nothing
            await tx.commands.put(_command("late"))

    with pytest.raises(Unavailable):
        await write()

    assert [] == await topics(database)


async def test_a_reconciliation_of_a_former_term_writes_nothing(
    database: Database, tmp_path: Path
) -> None:
    """Superseded is what it ends with, whatever it was about to do."""
    services = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
    former, _ = await begin_terms(database, database, LEASE, always)
    newer, _ = await begin_terms(database, database, LEASE, always)
    credentials, installed = CredentialFiles(tmp_path), frozenset({"create-tasks"})
    await reconcile(
        replace(services, tasks=newer, workflows=newer),
        declared("new"),
        credentials=credentials,
        topics=installed,
    )

    with pytest.raises(Superseded):
        await reconcile(
            replace(services, tasks=former, workflows=former),
            declared("old"),
            credentials=credentials,
            topics=installed,
        )

    assert ["new"] == await topics(database)


async def _somebody_waits(connection: AsyncConnection) -> bool:
    found = await connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    return bool(found.scalar())


def _command(topic: str) -> HttpCommand:
    target = Target(url=Secret("http://127.0.0.1:9/"))
    return HttpCommand(id=new_id(), topic=topic, target=target, timeout_seconds=1.0)
