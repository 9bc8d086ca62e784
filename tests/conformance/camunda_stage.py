"""The stage of our adapter on a real engine: what it shows is what the engine does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.models import read_time
from taskloom.engines.camunda.refusals import Answer
from taskloom.engines.camunda.variables import read_variables
from taskloom.ports.engine import Deployment, Transaction
from taskloom.testing.bookmark import MemoryBookmark
from taskloom.testing.play import Clock
from tests.conformance.port_stage import PortStage
from tests.conformance.rest_records import own_variables
from tests.conformance.stage import BEGINNING
from tests.contract.real_stage import StagedEngine
from tests.real.engines.engine import RealEngine

AS_EMBEDDED: Mapping[str, str] = {
    "error-uncaught": "A worker's error that nothing catches is made an incident by the adapter.",
}
"""The scenarios in which the adapter has the engine do as the embedded one does, and why."""


@asynccontextmanager
async def camunda_stage(real: RealEngine) -> AsyncIterator[PortStage]:
    """Give the stage of an engine that is run by hand, and leave it as empty as it was."""
    clock = Clock(BEGINNING)
    connection = Connection(url=real.url)
    client = ClockedClient(connection, clock, real.clock_url)
    async with ClockedEngine(connection, MemoryBookmark(), client=client) as engine:
        engine.clock = clock
        try:
            yield PortStage(engine, clock, History(client))
        finally:
            await engine.clear()


class ClockedClient(Client):
    """Sets the engine's clock to the stage's before each call, if it is another."""

    def __init__(self, connection: Connection, clock: Clock, clock_url: str) -> None:
        super().__init__(connection)
        self._clock = clock
        self._clock_url = clock_url
        self._told: datetime | None = None

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Call at the stage's time."""
        if self._told != self._clock.time:
            self._told = self._clock.time
            await self._tell(self._told)
        return await super().call(method, path, **options)

    async def _tell(self, time: datetime) -> None:
        assert self._session is not None
        instant = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
        async with self._session.put(self._clock_url, data=instant) as answer:
            answer.raise_for_status()


class ClockedEngine(StagedEngine):
    """Goes by the stage's clock alone, and asks for jobs only where models have some."""

    has_jobs = False

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: Transaction | None = None
    ) -> Deployment:
        """Deploy a model, and see whether it makes jobs."""
        self.has_jobs |= b"async" in bpmn or b"timer" in bpmn
        return await super().deploy(workflow_key, bpmn, tx=tx)

    async def jobs(self) -> Sequence[Mapping[str, Any]]:
        """List what can be executed."""
        return await super().jobs() if self.has_jobs else []

    def is_due(self, due: str | None) -> bool:
        """Tell whether a job is to be executed now."""
        return due is None or read_time(due) <= self.clock.time


class History:
    """What the engine's history keeps of instances, beside what the port tells."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def roots(self) -> Sequence[str]:
        """List the ids of the instances that nobody called, the oldest first."""
        found = await self._client.get(
            "/history/process-instance",
            rootProcessInstances=True,
            sortBy="startTime",
            sortOrder="asc",
        )
        return [each["id"] for each in found]

    async def variables(self, roots: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Give the variables of processes, as the port would."""
        found = await self._client.get("/history/variable-instance")
        return {root: read_variables(own_variables(found, root)) for root in roots}
