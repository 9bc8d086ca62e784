"""The use cases with a real database and the real engine, in one database and in two."""

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest
from cryptography.fernet import Fernet

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.services import Services
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.sealing import Sealer
from taskloom.testing.plant import Plant, Scripted
from taskloom.testing.sender import FakeSender


@pytest.fixture(params=["one database", "two databases"])
async def plant(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, database_url: str
) -> AsyncIterator[Plant]:
    """Build a plant whose engine shares the task database, and one whose engine does not."""
    sealer = Sealer([Fernet.generate_key().decode()])
    tasks = Database(database_url, sealer=sealer)
    workflows, name = tasks, None
    if request.param == "two databases":
        name = f"test_{uuid.uuid4().hex}"
        await _admin(postgres, f"CREATE DATABASE {name} TEMPLATE taskloom STRATEGY file_copy")
        workflows = Database(postgres.url_of(name), sealer=sealer)
    sender = FakeSender()
    services = Services(tasks=tasks, workflows=workflows, engine=EmbeddedEngine(workflows))
    yield Plant(services=services, sender=sender, scripted=Scripted())
    await tasks.close()
    if name is not None:
        await workflows.close()
        await _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def _admin(postgres: EmbeddedPostgres, statement: str) -> None:
    url = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())
