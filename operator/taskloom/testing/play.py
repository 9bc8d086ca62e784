"""A workflow engine on a stage, for tests that play models through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from taskloom.ports.engine import (
    Correlation,
    ExternalTask,
    Instance,
    InstanceState,
    Message,
    Outcome,
    StartRequest,
    WorkflowEngine,
)
from taskloom.testing.bpmn import bpmn

LOCK = timedelta(seconds=30)
EVERY_TOPIC = ["a", "b", "c", "d"]


@dataclass
class Clock:
    """A clock that is set by hand."""

    time: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.time

    def forward(self, **span: float) -> None:
        """Let time pass."""
        self.time += timedelta(**span)


class TimedEngine(WorkflowEngine, Protocol):
    """An engine that fires its timers when asked."""

    async def run_due_jobs(self, limit: int) -> int:
        """Fire due timers."""
        ...

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due."""
        ...


@dataclass
class Play:
    """An engine on a stage: one workflow, one worker, and a clock."""

    engine: TimedEngine
    clock: Clock = field(default_factory=Clock)
    starts: int = 0

    async def start(
        self, *parts: str, aside: str = "", variables: Mapping[str, Any] | None = None
    ) -> Instance:
        """Deploy a process made of these parts and start it."""
        await self.engine.deploy("workflow", bpmn(*parts, aside=aside))
        return await self.again(variables)

    async def again(self, variables: Mapping[str, Any] | None = None) -> Instance:
        """Start the workflow once more."""
        return await self.begin("workflow", variables)

    async def begin(self, workflow: str, variables: Mapping[str, Any] | None = None) -> Instance:
        """Start a workflow by its key."""
        self.starts += 1
        return await self.engine.start(
            StartRequest(
                workflow_key=workflow,
                start_id=f"start-{self.starts}",
                business_key="the-key",
                variables=variables or {},
            )
        )

    async def fetch(self, *topics: str, worker: str = "worker") -> list[ExternalTask]:
        """Lock every task that is due."""
        found = await self.engine.fetch_and_lock(
            topics or EVERY_TOPIC, worker, max_tasks=50, lock=LOCK
        )
        return list(found)

    async def fetch_one(self, *topics: str) -> ExternalTask:
        """Lock the only task that is due."""
        [task] = await self.fetch(*topics)
        return task

    async def finish(self, task: ExternalTask, **variables: Any) -> Outcome:
        """Complete a task."""
        return await self.engine.complete(task.id, "worker", variables)

    async def do(self, topic: str, **variables: Any) -> ExternalTask:
        """Fetch the only task of a topic and complete it."""
        task = await self.fetch_one(topic)
        outcome = await self.finish(task, **variables)
        assert outcome is Outcome.DONE
        return task

    async def throw(self, task: ExternalTask, code: str, **variables: Any) -> Outcome:
        """Raise a BPMN error at a task."""
        return await self.engine.bpmn_error(task.id, "worker", code, "it failed", variables)

    async def send(self, name: str, **narrowed: Any) -> Correlation:
        """Send a message, with the fields of `Message`."""
        return await self.engine.correlate(Message(name=name, **narrowed))

    async def tell(self, name: str, **variables: Any) -> int:
        """Tell a signal, and let it be heard; returns by how many."""
        await self.engine.signal(name, variables)
        return await self.engine.run_due_jobs(100)

    async def open(self, *topics: str) -> list[str]:
        """List the topics that have tasks for a worker, and free these again."""
        found = await self.fetch(*topics, worker="onlooker")
        await self.engine.unlock_all("onlooker")
        return sorted(task.topic for task in found)

    async def state(self, instance: Instance) -> InstanceState:
        """Look an instance's state up."""
        found = await self.engine.instances([instance.id])
        return next(each.state for each in found if each.id == instance.id)

    async def steps(self, instance: Instance) -> list[tuple[str, str]]:
        """Read the history as elements and states."""
        return [(r.element_id, r.state) for r in await self.engine.history([instance.root_id])]

    async def wait(self, **span: float) -> None:
        """Let time pass."""
        self.clock.forward(**span)

    async def elapse(self, **span: float) -> int:
        """Let time pass and fire what falls due."""
        self.clock.forward(**span)
        return await self.engine.run_due_jobs(100)
