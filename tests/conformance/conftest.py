"""The stages: two real engines, one of each for a session, and ours in memory and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock
from tests.conformance.camunda_stage import camunda_stage
from tests.conformance.driven import watching
from tests.conformance.embedded_stage import embedded_stage
from tests.conformance.hosted_stage import hosted_stage
from tests.conformance.port_stage import PortStage
from tests.conformance.real_stage import real_stage
from tests.conformance.rest_stage import RestStage
from tests.conformance.stage import BEGINNING
from tests.real.engines.engine import ENGINES, Kind, RealEngine


@pytest.fixture(scope="session")
def camunda7_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """Run Camunda 7."""
    with _running("camunda7", tmp_path_factory) as engine:
        yield engine


@pytest.fixture(scope="session")
def operaton_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """Run Operaton."""
    with _running("operaton", tmp_path_factory) as engine:
        yield engine


@contextmanager
def _running(kind: Kind, folders: pytest.TempPathFactory) -> Iterator[RealEngine]:
    engine = RealEngine(kind, folders.mktemp(kind), by_hand=True)
    asyncio.run(engine.start())
    yield engine
    engine.stop()


@pytest.fixture
async def camunda7(camunda7_engine: RealEngine) -> AsyncIterator[RestStage]:
    """Give an empty Camunda 7."""
    async with real_stage(camunda7_engine) as stage:
        yield stage


@pytest.fixture
async def operaton(operaton_engine: RealEngine) -> AsyncIterator[RestStage]:
    """Give an empty Operaton."""
    async with real_stage(operaton_engine) as stage:
        yield stage


@pytest.fixture(params=ENGINES)
def adapted(request: pytest.FixtureRequest) -> RealEngine:
    """Choose each of the real engines."""
    engine: RealEngine = request.getfixturevalue(f"{request.param}_engine")
    return engine


@pytest.fixture
async def adapter(adapted: RealEngine) -> AsyncIterator[PortStage]:
    """Give our adapter on a real engine that is empty."""
    async with camunda_stage(adapted) as stage:
        yield stage


@pytest.fixture
def memory() -> Iterator[PortStage]:
    """Give an empty engine in memory."""
    clock = Clock(BEGINNING)
    with watching() as driven:
        yield PortStage(InMemoryEngine(now=clock), clock, driven)


@pytest.fixture(scope="session")
def stage_url(postgres: EmbeddedPostgres) -> str:
    """Make one database for all plays: each leaves it as it was."""
    return _database(postgres, "stage")


@pytest.fixture(scope="session")
def hosted_url(postgres: EmbeddedPostgres) -> str:
    """Make one for those over /engine-rest, whose client sees whatever is there."""
    return _database(postgres, "hosted_stage")


def _database(postgres: EmbeddedPostgres, name: str) -> str:
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE taskloom STRATEGY file_copy")
    return postgres.url_of(name)


@pytest.fixture
async def embedded(stage_url: str) -> AsyncIterator[PortStage]:
    """Give an embedded engine on which nothing is deployed."""
    async with embedded_stage(stage_url) as stage:
        yield stage


@pytest.fixture
async def hosted(hosted_url: str) -> AsyncIterator[RestStage]:
    """Give an embedded engine on which nothing is deployed, by its /engine-rest."""
    async with hosted_stage(hosted_url) as stage:
        yield stage
