"""A PostgreSQL that an engine reaches: over TCP, on a free loopback port."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from taskloom.store.embedded_postgres import EmbeddedPostgres


@contextlib.contextmanager
def engine_database(folder: Path) -> Iterator[str]:
    """Run a server on `folder` within the block; give the URL of an empty database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "fsync": "off"}
    server = EmbeddedPostgres(folder, settings)
    asyncio.run(server.start())
    try:
        yield f"postgresql://taskloom@127.0.0.1:{port}/taskloom"
    finally:
        asyncio.run(server.stop())
