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

from taskloom.errors import Permanent, Unavailable
from taskloom.store import embedded_postgres
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


def _pid(folder: Path) -> int:
    return int(_pid_file(folder).read_text().split()[0])


def _kill(folder: Path) -> None:
    os.kill(_pid(folder), signal.SIGKILL)


async def _until_another_answers(database: Database, folder: Path, killed: int) -> None:
    """Wait until a later server than the killed one, whose backends may live on a moment, does."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable, FileNotFoundError, IndexError):
                if _pid(folder) != killed:
                    await database.ping()
                    return
            await asyncio.sleep(0.05)


async def test_a_port_in_the_environment_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGPORT, which tells where another server listens, leads nobody away from it."""
    monkeypatch.setenv("PGPORT", "1")
    server = EmbeddedPostgres(tmp_path / "postgres", SETTINGS)
    await server.start()
    database = Database(server.url)
    await database.ping()
    await database.close()
    await server.stop()


async def test_a_killed_server_is_started_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """While it is kept running, a server that was killed is back within seconds."""
    database = Database(server.url)
    await database.ping()
    keeping = asyncio.create_task(server.keep_running())
    killed = _pid(tmp_path)

    _kill(tmp_path)
    await _until_another_answers(database, tmp_path, killed)

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


def _unnamed(monkeypatch: pytest.MonkeyPatch, libraries: Path) -> None:
    """Run as a user id that has no name, as a container may."""

    def no_name(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr("pwd.getpwuid", no_name)
    monkeypatch.setattr(embedded_postgres, "_LIBRARIES", libraries)


def test_a_user_without_a_name_is_given_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With libnss-wrapper, initdb finds a name for whatever user id it runs as."""
    library = tmp_path / "x86_64-linux-gnu" / "libnss_wrapper.so"
    library.parent.mkdir()
    library.touch()
    _unnamed(monkeypatch, tmp_path)
    environment = embedded_postgres._named_user(tmp_path)

    assert environment["LD_PRELOAD"] == str(library)
    named = Path(environment["NSS_WRAPPER_PASSWD"]).read_text().split(":")
    assert named[:4] == ["taskloom", "x", str(os.geteuid()), str(os.getegid())]


def test_a_user_without_a_name_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without libnss-wrapper it is said what to do."""
    _unnamed(monkeypatch, tmp_path)
    with pytest.raises(Permanent, match="libnss-wrapper"):
        embedded_postgres._named_user(tmp_path)


async def test_a_folder_open_to_its_group_is_closed(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """PostgreSQL would refuse a data folder that a volume's group may write to."""
    await server.stop()
    (tmp_path / "postgres" / "data").chmod(0o770)
    await server.start()

    assert (tmp_path / "postgres" / "data").stat().st_mode & 0o777 == 0o700


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
