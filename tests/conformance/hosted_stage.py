"""The stage of the embedded engine by its own /engine-rest: the same client as for real engines."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
from cryptography.fernet import Fernet

from taskloom.engines.embedded import tables
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.store.database import Database
from taskloom.store.sealing import Sealer
from taskloom.testing.door import embedded_door
from taskloom.testing.play import Clock
from tests.conformance.driven import Driven, watching
from tests.conformance.model import Model
from tests.conformance.rest_stage import RestStage
from tests.conformance.stage import BEGINNING

_TRIES = 100
"""How many rounds of jobs may follow each other at one moment."""


@asynccontextmanager
async def hosted_stage(url: str) -> AsyncIterator[RestStage]:
    """Give the stage of an engine in a migrated database of its own, and leave that empty."""
    database = Database(url, sealer=Sealer([Fernet.generate_key().decode()]))
    clock = Clock(BEGINNING)
    door = embedded_door(database, now=clock)
    try:
        with watching() as driven:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(door.app), base_url="http://taskloom/engine-rest"
            ) as client:
                stage = RestStage(client, _HostedBackstage(door.engine, clock, driven))
                try:
                    yield stage
                finally:
                    await stage.clear()
                    await _forget(database)
    finally:
        await database.close()


async def _forget(database: Database) -> None:
    """Drop the history, which a deployment leaves behind here."""
    async with database.begin() as tx:
        for table in reversed(tables.metadata.sorted_tables):
            await tx.connection.execute(table.delete())


class _HostedBackstage:
    """An engine whose clock and jobs are in our hands."""

    def __init__(self, engine: EmbeddedEngine, clock: Clock, driven: Driven) -> None:
        self._engine = engine
        self._clock = clock
        self._driven = driven
        self.failed = False

    def expect(self, models: Sequence[Model]) -> None:
        """Expect jobs of all models: signals are some, too."""

    async def set_clock(self, now: datetime) -> None:
        """Set the clock."""
        self._clock.time = now

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due."""
        return await self._engine.next_due()

    async def run_due(self) -> bool:
        """Fire what is due until nothing is."""
        ran = False
        for _ in range(_TRIES):
            if not await self._engine.run_due_jobs(100):
                return ran
            ran = self.failed = True  # how they went is not told
        raise AssertionError("There is no end of jobs that are due.")

    async def dropped(self, instance: str) -> Mapping[str, Any] | None:
        """Give what the interpreter was seen to leave: ended instances keep no variables."""
        return dict(sorted((await self._driven.variables([instance]))[instance].items()))
