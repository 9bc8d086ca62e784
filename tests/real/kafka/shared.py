"""One broker for all tests of a session, each with topics of its own."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from tests.real.kafka.broker import RealKafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """Run a broker for the whole session."""
    broker = RealKafka(tmp_path_factory.mktemp("kafka"))
    asyncio.run(broker.start())
    yield broker
    broker.kill()


@pytest.fixture
def topic() -> str:
    """Name a topic that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
