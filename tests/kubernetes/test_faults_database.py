"""A database that is stopped, or answers no more: the truth is told, and it ends as declared."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from taskloom.store.embedded_postgres import EmbeddedPostgres
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Start, condition, until

WAITING = ("False", "DatabaseUnavailable", 1)
UNKNOWN = ("Unknown", "DatabaseUnavailable", 1)
READY = ("True", "Reconciled", 1)


def command(name: str, namespace: str) -> Json:
    """Write a Command of its own topic."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Command",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"topic": name, "http": {"url": "http://127.0.0.1:9/"}},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database server of the test's own, and where it keeps its files."""

    postgres: EmbeddedPostgres
    folder: Path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Run a server that may be stopped."""
    folder = tmp_path / "postgres"
    postgres = EmbeddedPostgres(folder, {"fsync": "off"})
    await postgres.start()
    yield Server(postgres=postgres, folder=folder)
    await postgres.stop()


@pytest.fixture
def database_url(server: Server) -> str:
    """Name its database; the operator migrates it."""
    return server.postgres.url


@contextlib.asynccontextmanager
async def stopped(server: Server) -> AsyncIterator[None]:
    """Stop the server within the block: connections are refused."""
    await server.postgres.stop()
    try:
        yield
    finally:
        await server.postgres.start()


@contextlib.asynccontextmanager
async def frozen(server: Server) -> AsyncIterator[None]:
    """Let no process of the server go on within the block: connections stay, and are silent."""
    leader = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    family = [leader, *_children(leader)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def read_only(server: Server) -> AsyncIterator[None]:
    """Let the server take no writes within the block, as a standby or in a failover."""
    await _configure(server, "ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await _configure(server, "ALTER SYSTEM RESET default_transaction_read_only")


async def _configure(server: Server, statement: str) -> None:
    url = server.postgres.url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for each in (statement, "SELECT pg_reload_conf()"):
            await connection.execute(each.encode())


def _children(pid: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(stat.parent.name)


@pytest.mark.parametrize("outage", [stopped, frozen, read_only])
async def test_an_outage_of_the_database_is_told_and_outlived(
    cluster: Api,
    namespace: str,
    operate: Start,
    server: Server,
    outage: Callable[[Server], AbstractAsyncContextManager[None]],
) -> None:
    """What waits is not ready, of what is in force nobody knows; afterwards both are ready.

    Meanwhile the process is not ready, but lives: a restart would not help.
    """
    before, during = command("before", namespace), command("during", namespace)
    assert not isinstance(cluster.apply(before), Refusal)
    settings = {"OUTAGE_GRACE_SECONDS": "2", "HEALTH_PORT": "0"}
    operator = await operate(roles="controller", settings=settings)
    await until(lambda: condition(cluster, before) == READY)

    async with outage(server):
        assert not isinstance(cluster.apply(during), Refusal)
        await until(lambda: condition(cluster, during) == WAITING, seconds=20)
        await until(lambda: condition(cluster, before) == UNKNOWN, seconds=20)
        assert condition(cluster, during) == WAITING  # it was never in force
        assert condition(cluster, before, "Stalled") is None
        assert ("True", "Reconciled", 1) == condition(cluster, before, "Programmed")
        assert (200, 503) == tuple(
            operator.get(path).status_code for path in ("/healthz", "/readyz")
        )

    await until(lambda: condition(cluster, during) == READY, seconds=15)
    await until(lambda: condition(cluster, before) == READY, seconds=15)
