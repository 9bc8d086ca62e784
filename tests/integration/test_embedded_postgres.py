"""The PostgreSQL of our own: it comes back when it was killed, and takes no stranger for itself."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskloom.errors import Unavailable
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import migrate

SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server that may be killed."""
    server = EmbeddedPostgres(tmp_path / "postgres", SETTINGS)
    await server.start()
    yield server
    await server.stop()


def _pid_file(folder: Path) -> Path:
    return folder / "postgres" / "data" / "postmaster.pid"


def _kill(folder: Path) -> None:
    os.kill(int(_pid_file(folder).read_text().split()[0]), signal.SIGKILL)


async def _until_it_answers(database: Database) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                await database.ping()
                return
            await asyncio.sleep(0.05)


async def test_a_killed_server_is_started_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """While it is kept running, a server that was killed is back within seconds."""
    database = Database(server.url)
    await database.ping()
    keeping = asyncio.create_task(server.keep_running())

    _kill(tmp_path)
    with pytest.raises(Unavailable):
        await database.ping()
    await _until_it_answers(database)

    keeping.cancel()
    await database.close()


async def test_a_killed_server_is_not_waited_for(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """The note that it leaves behind is not taken for a server that is still to stop."""
    _kill(tmp_path)
    started = time.monotonic()

    await server.stop()

    assert _pid_file(tmp_path).exists()
    assert time.monotonic() - started < 5


async def test_a_process_that_has_the_number_of_a_killed_server_is_left_alone(
    tmp_path: Path,
) -> None:
    """The server starts although another process has its old number, and never signals that one."""
    first = EmbeddedPostgres(tmp_path / "postgres", SETTINGS)
    await first.start()
    await first.stop()
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(60)"
    )
    _pid_file(tmp_path).write_text(f"{stranger.pid}\n{tmp_path}\n")
    await first.stop()
    second = EmbeddedPostgres(tmp_path / "postgres", SETTINGS)
    await second.start()
    await second.stop()

    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_connections_from_before_a_restart_harm_nobody(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The first to meet a cut connection is told that it is so; the pool has none of them left."""
    await migrate(server.url)
    database = Database(server.url)

    async def use() -> None:
        async with database.at_once() as tx:
            await tx.jobs.event_of_instance("nobody")

    async def hold() -> None:
        async with database.begin() as tx:
            await tx.jobs.event_of_instance("nobody")
            await asyncio.sleep(0.1)

    await asyncio.gather(*(hold() for _ in range(10)))
    _kill(tmp_path)
    await server.stop()
    await server.start()
    failures = 0
    for _ in range(10):
        try:
            await use()
        except Unavailable:
            failures += 1

    assert failures == 1
    await database.close()
