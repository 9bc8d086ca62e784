"""One server for all tests of a session, each with queues of its own."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from tests.real.sqs.server import RealSqs


@pytest.fixture(scope="session")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSqs]:
    """Run a server for the whole session."""
    server = RealSqs(tmp_path_factory.mktemp("sqs"))
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
def queue_name() -> str:
    """Name a queue that no other test uses."""
    return f"q-{uuid.uuid4().hex[:12]}"
