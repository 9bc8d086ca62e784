"""A schedule declared in a folder becomes events, once however many run it, and is told of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskloom.connectors.host import Host, Pool, Rhythm
from taskloom.connectors.registry import Connectors
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.reconcile import reconcile
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.verdict import Verdict
from taskloom.store.database import Database

SOURCE = """
apiVersion: taskloom.dev/v1alpha1
kind: EventSource
metadata: {name: minutely}
spec:
  cron: {schedule: '* * * * *', payload: {greeting: hello}}
  format: {key: {literal: minute.passed}}
  suspend: SUSPEND
  placement: {mode: MODE}
"""
RHYTHM = Rhythm(lease=5, turn=0.1, read=0.5, figures=0.1)
RUNNERS = Runners(kinds=frozenset({"http", "cron"}), no_pods="a folder has no pods")


class Bench:
    """A folder and a database, on a clock that comes to a full minute in a second."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.offset = datetime(2026, 11, 24, 10, 0, 59, tzinfo=UTC) - datetime.now(UTC)
        self.services = Services(
            tasks=database,
            workflows=database,
            engine=EmbeddedEngine(database),
            now=lambda: datetime.now(UTC) + self.offset,
        )
        self._folder = folder

    async def declare(self, *, suspend: bool = False, mode: str = "Shared") -> Verdict:
        """Write the source and reconcile; tell what became of it."""
        self._folder.mkdir(exist_ok=True)
        text = SOURCE.replace("SUSPEND", str(suspend).lower()).replace("MODE", mode)
        (self._folder / "source.yaml").write_text(text)
        report = await reconcile(
            self.services,
            read_folder(self._folder),
            credentials=CredentialFiles(self._folder.parent / "data"),
            topics=frozenset(),
            runners=RUNNERS,
        )
        return report.verdicts["EventSource", "default", "minutely"]

    @contextlib.asynccontextmanager
    async def running(self, *holders: str) -> AsyncIterator[None]:
        """Run processes with the role connectors."""
        tasks = [
            asyncio.create_task(
                Host(
                    self.services,
                    Connectors(),
                    Ingest(self.services),
                    holder=holder,
                    pool=Pool(),
                    rhythm=RHYTHM,
                ).run()
            )
            for holder in holders
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def events(self) -> list[Any]:
        """Read what is stored."""
        async with self.services.tasks.begin() as tx:
            result = await tx.connection.exec_driver_sql(
                "SELECT key, payload::text, idempotency_key, origin FROM events"
            )
            return [tuple(row) for row in result]


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """Build a bench."""
    return Bench(database, tmp_path / "files")


async def until(bench: Bench, holds: Callable[[Verdict], bool]) -> Verdict:
    """Reconcile until a verdict holds."""
    async with asyncio.timeout(10):
        while not holds(verdict := await bench.declare()):
            await asyncio.sleep(0.05)
    return verdict


def ready(verdict: Verdict) -> tuple[str, str, str]:
    """Read the condition Ready."""
    return next(
        (str(c.status), str(c.reason), c.message) for c in verdict.conditions if c.type == "Ready"
    )


async def test_a_scheduled_time_is_one_event_and_is_told(bench: Bench) -> None:
    """Two processes, one event; the status says who runs it and when the last event came."""
    pending = await bench.declare()
    assert ("False", "Pending") == ready(pending)[:2]

    async with bench.running("a", "b"):
        told = await until(bench, lambda verdict: "lastEventTime" in verdict.fields)
        await asyncio.sleep(0.3)

    expected = (
        "minute.passed",
        '{"greeting": "hello"}',
        "2026-11-24T10:01:00Z",
        "source:default/minutely",
    )
    assert [expected] == await bench.events()
    assert ("True", "Reconciled", "") == ready(told)
    assert 1 == told.fields["replicas"]
    assert told.fields["assignment"][0]["pod"] in ("a", "b")
    assert "2026-11-24T10:01:00Z" == told.fields["lastEventTime"]


async def test_what_came_while_it_was_suspended_is_not_made_up_for(bench: Bench) -> None:
    """A time that passes between suspension and resumption sends nothing."""
    async with bench.running("a"):
        await until(bench, lambda verdict: ready(verdict)[0] == "True")
        bench.offset -= timedelta(seconds=30)
        suspended = await bench.declare(suspend=True)
        assert ("True", "Suspended", "") == ready(suspended)
        bench.offset += timedelta(minutes=5, seconds=5)
        await asyncio.sleep(0.3)
        await until(bench, lambda verdict: ready(verdict)[0] == "True")
        await asyncio.sleep(0.3)

    assert [] == await bench.events()


async def test_a_dedicated_source_of_a_folder_is_run_as_a_shared_one(bench: Bench) -> None:
    """And says so."""
    async with bench.running("a"):
        async with asyncio.timeout(10):
            while ready(verdict := await bench.declare(mode="Dedicated"))[0] != "True":
                await asyncio.sleep(0.05)

    degraded = [c.message for c in verdict.conditions if c.type == "Degraded"]
    assert ["it runs in the pool `default`: a folder has no pods"] == degraded
