"""The stage of the embedded engine on PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography.fernet import Fernet

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.store.database import Database
from taskloom.store.sealing import Sealer
from taskloom.testing.play import Clock
from tests.conformance.driven import watching
from tests.conformance.port_stage import PortStage
from tests.conformance.stage import BEGINNING


@asynccontextmanager
async def embedded_stage(url: str) -> AsyncIterator[PortStage]:
    """Give the stage of an engine in a migrated database, and leave nothing deployed there."""
    database = Database(url, sealer=Sealer([Fernet.generate_key().decode()]))
    clock = Clock(BEGINNING)
    try:
        with watching() as driven:
            stage = PortStage(EmbeddedEngine(database, now=clock), clock, driven)
            try:
                yield stage
            finally:
                await stage.clear()
    finally:
        await database.close()
