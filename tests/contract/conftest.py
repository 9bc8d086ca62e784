"""Real engines, one of a kind for the session; each test has a tenant of its own on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from taskloom.engines.camunda.connection import Connection
from taskloom.testing.bookmark import MemoryBookmark
from tests.contract.real_stage import RealPlay, StagedEngine
from tests.real.engines.engine import ENGINES, Kind, RealEngine


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Kind, RealEngine]]:
    """Keep the engines that tests have asked for until the end of the session."""
    started: dict[Kind, RealEngine] = {}
    with ExitStack() as stack:
        for kind in ENGINES:
            started[kind] = RealEngine(kind, tmp_path_factory.mktemp(kind), by_hand=True)
            stack.callback(started[kind].stop)
        yield started


@pytest.fixture(params=ENGINES)
def real_engine(request: pytest.FixtureRequest, engines: dict[Kind, RealEngine]) -> RealEngine:
    """Start an engine when the first test asks for it."""
    engine = engines[request.param]
    if not engine.running:
        asyncio.run(engine.start())
    return engine


@pytest.fixture
async def staged(real_engine: RealEngine) -> AsyncIterator[StagedEngine]:
    """Give an engine in which there is nothing, and of which nothing is left."""
    connection = Connection(url=real_engine.url, tenant=f"test-{uuid.uuid4().hex}")
    async with StagedEngine(connection, MemoryBookmark()) as engine:
        await engine.changes(1)  # the feed begins here
        yield engine
        await engine.clear()


@pytest.fixture
def play(staged: StagedEngine) -> RealPlay:
    """Put a real engine on the stage."""
    return RealPlay(staged)
