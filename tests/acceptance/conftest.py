"""Real processes: a receiver of webhooks that outlives the server, and the server itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port

RESOURCES = Path(__file__).parent / "crash" / "resources.yaml"
Serve = Callable[[Path], Awaitable[tuple[ServedTaskloom, httpx.AsyncClient]]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def files(tmp_path: Path, receiver: Receiver) -> Path:
    """Make a folder of resources: an event of two tasks, told to the receiver."""
    folder = tmp_path / "files"
    folder.mkdir()
    text = RESOURCES.read_text().replace("PORT", str(receiver.port))
    (folder / "resources.yaml").write_text(text)
    return folder


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Give a function that serves a folder and waits until it is ready."""
    started: list[tuple[ServedTaskloom, httpx.AsyncClient]] = []

    async def start(files: Path) -> tuple[ServedTaskloom, httpx.AsyncClient]:
        server = ServedTaskloom(files=files, data_dir=tmp_path / "data", port=free_port())
        await server.start()
        client = httpx.AsyncClient(base_url=server.url, headers=server.authorization, timeout=30)
        started.append((server, client))
        await server.wait_until_ready(client)
        return server, client

    yield start
    for server, client in started:
        await client.aclose()
        await server.stop()
