"""The stages: two real engines, one of each for a session, and ours in memory and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.store.database import Database
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock
from tests.conformance.driven import watching
from tests.conformance.port_stage import PortStage
from tests.conformance.rest_stage import RestStage, real_stage
from tests.conformance.stage import BEGINNING
from tests.real.engines.engine import Kind, RealEngine


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


@pytest.fixture
def memory() -> Iterator[PortStage]:
    """Give an empty engine in memory."""
    clock = Clock(BEGINNING)
    with watching() as driven:
        yield PortStage(InMemoryEngine(now=clock), clock, driven)


@pytest.fixture
def embedded(database: Database) -> Iterator[PortStage]:
    """Give the embedded engine on an empty database."""
    clock = Clock(BEGINNING)
    with watching() as driven:
        yield PortStage(EmbeddedEngine(database, now=clock), clock, driven)
