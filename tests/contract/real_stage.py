"""A real engine on the stage: time passes for it by its REST API.

It goes by its own clock, which cannot be set.  So when a test lets time pass, the locks are cut by
that time, and the timers that have fallen due by the test's clock are executed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.engines.camunda.models import read_time
from taskloom.testing.play import Clock, Play


class StagedEngine(CamundaEngine):
    """An engine whose timers fire when asked."""

    passed = timedelta(0)
    clock: Clock

    async def run_due_jobs(self, limit: int) -> int:
        """Execute the jobs that are due by the clock; return how many were."""
        due = [job for job in await self.jobs() if self.is_due(job["dueDate"])]
        for job in due[:limit]:
            done = await self.client.call("POST", f"/job/{job['id']}/execute")
            if not done.ok:  # it has no more tries, as after the executor's last
                path = f"/job/{job['id']}/retries"
                spent = await self.client.call("PUT", path, json_body={"retries": 0})
                assert spent.ok or spent.status == 404, spent.message  # one before it cancelled it
        return len(due[:limit])

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due."""
        moments = [read_time(job["dueDate"]) for job in await self.jobs() if job["dueDate"]]
        return min(moments, default=None)

    async def cut_locks(self, span: timedelta) -> None:
        """Let locks end by so much earlier, and pauses after failures."""
        tasks = await self.client.ask("/external-task", self.client.of_tenant({}))
        now = datetime.now(UTC)
        for task in tasks:
            ends = task["lockExpirationTime"]
            if ends is None or read_time(ends) <= now:
                continue
            left = read_time(ends) - now - span
            await self.client.demand(
                "POST",
                f"/external-task/{task['id']}/extendLock",
                json_body={
                    "workerId": task["workerId"],
                    "newDuration": max(1, round(left.total_seconds() * 1000)),
                },
            )
        await asyncio.sleep(0.003)  # a lock lasts a millisecond at least

    async def clear(self) -> None:
        """Remove what the test has deployed, with all that came of it."""
        for deployment in await self.client.get("/deployment", tenantIdIn=self.client.tenant):
            await self.client.demand(
                "DELETE",
                f"/deployment/{deployment['id']}",
                query={"cascade": True, "skipCustomListeners": True, "skipIoMappings": True},
            )

    async def jobs(self) -> Sequence[Mapping[str, Any]]:
        """List what can be executed, now or later, the first that falls due first."""
        found: Sequence[Mapping[str, Any]] = await self.client.get(
            "/job",
            tenantIdIn=self.client.tenant,
            withRetriesLeft=True,
            sortBy="jobDueDate",
            sortOrder="asc",
        )
        return found

    def is_due(self, due: str | None) -> bool:
        """Tell whether a job is to be executed now."""
        if due is None:
            return True
        moment = read_time(due)
        if moment.year >= self.clock.time.year:  # a date of the model
            return moment <= self.clock.time
        return moment <= datetime.now(UTC) + self.passed


@dataclass
class RealPlay(Play):
    """The stage for a real engine."""

    engine: StagedEngine
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.engine.clock = self.clock

    async def wait(self, **span: float) -> None:
        """Let time pass, for locks."""
        await super().wait(**span)
        self.engine.passed += timedelta(**span)
        await self.engine.cut_locks(timedelta(**span))

    async def elapse(self, **span: float) -> int:
        """Let time pass and fire what falls due."""
        await self.wait(**span)
        return await self.engine.run_due_jobs(100)


def about(moment: datetime, other: datetime) -> bool:
    """Tell whether two times are the same but for what a call takes."""
    return abs(moment - other) < timedelta(seconds=10)
