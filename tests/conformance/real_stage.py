"""The stage of a real engine, which is run by hand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.conformance.model import Model
from tests.conformance.rest_records import read_time
from tests.conformance.rest_stage import RestStage
from tests.real.engines.engine import RealEngine

_TRIES = 100
"""How many jobs may follow each other at one moment."""


@asynccontextmanager
async def real_stage(engine: RealEngine) -> AsyncIterator[RestStage]:
    """Give the stage of an engine that is run by hand, and leave it as empty as it was."""
    async with httpx.AsyncClient(
        base_url=engine.url,
        trust_env=False,
        verify=False,  # plain HTTP: the certificates of authorities need not be read each time
        timeout=30,
    ) as client:
        stage = RestStage(client, _RealBackstage(client, engine.clock_url))
        try:
            yield stage
        finally:
            await stage.clear()


class _RealBackstage:
    """An engine whose clock is set by a servlet, and whose jobs are run by its API."""

    def __init__(self, client: httpx.AsyncClient, clock_url: str) -> None:
        self._client = client
        self._clock_url = clock_url
        self._has_jobs = False  # else it need not be asked
        self.failed = False

    def expect(self, models: Sequence[Model]) -> None:
        """Ask for jobs from now on if these models can have some."""
        self._has_jobs |= any(b"async" in m.bpmn or b"timer" in m.bpmn for m in models)

    async def set_clock(self, now: datetime) -> None:
        """Set the clock of the engine."""
        instant = now.astimezone(UTC).isoformat().replace("+00:00", "Z")
        answer = await self._client.put(self._clock_url, content=instant)
        answer.raise_for_status()

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due that has retries left."""
        waiting = await self._jobs(withRetriesLeft="true")
        return min((read_time(job["dueDate"]) for job in waiting if job["dueDate"]), default=None)

    async def run_due(self) -> bool:
        """Run what is due until nothing is; a job that fails is tried until it is an incident."""
        ran = False
        for _ in range(_TRIES):
            due = await self._jobs(executable="true", sortBy="jobDueDate", sortOrder="asc")
            if not due:
                return ran
            ran = True
            answer = await self._client.post(f"/job/{due[0]['id']}/execute")
            assert answer.status_code in {204, 404, 500}, answer.text
            self.failed |= answer.status_code != 204
        raise AssertionError("There is no end of jobs that are due.")

    async def dropped(self, instance: str) -> Mapping[str, Any] | None:
        """Know of none: all variables are kept."""
        return None

    async def _jobs(self, **parameters: str) -> Any:
        if not self._has_jobs:
            return []
        answer = await self._client.get("/job", params=parameters)
        answer.raise_for_status()
        return answer.json()
