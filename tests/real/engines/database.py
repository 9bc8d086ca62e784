"""A PostgreSQL that an engine reaches: over TCP, as Java knows no Unix sockets."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.testing.server import free_port


class EngineDatabase:
    """A server on `folder`, at a loopback port that it keeps, with an empty database at `url`."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
        self._server = EmbeddedPostgres(folder, settings)
        self.url = f"postgresql://taskloom@127.0.0.1:{port}/taskloom"

    async def start(self) -> None:
        """Start it, again too."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop it; what it holds stays."""
        await self._server.stop()


@contextlib.contextmanager
def engine_database(folder: Path) -> Iterator[str]:
    """Run a server on `folder` within the block; give the URL of an empty database."""
    database = EngineDatabase(folder)
    asyncio.run(database.start())
    try:
        yield database.url
    finally:
        asyncio.run(database.stop())
