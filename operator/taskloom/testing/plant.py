"""Everything but the loops, worked step by step: for tests of whole stories."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from taskloom.commands.create_tasks import CreateTasks
from taskloom.commands.end_task import EndTask
from taskloom.commands.registry import Registry
from taskloom.delivery.dispatch import DeliveryQueue, Dispatcher
from taskloom.domain.commands import CommandResult
from taskloom.domain.egress import STANDALONE
from taskloom.domain.events import NewEvent
from taskloom.domain.query_tree import Filter
from taskloom.domain.tasks import Task
from taskloom.domain.webhooks import ClientApp
from taskloom.flow.adopt import follow_engine
from taskloom.flow.ingest import Ingest
from taskloom.flow.register_client import register_client
from taskloom.flow.services import Services
from taskloom.flow.subscribe import subscribe
from taskloom.flow.workflows import Draft, create_workflow
from taskloom.ids import new_id
from taskloom.outbox.relay import JobQueue, Relay
from taskloom.ports.engine import ExternalTask
from taskloom.testing.sender import FakeSender
from taskloom.worker.worker import ExternalTaskQueue, Worker

HOOK = "http://127.0.0.1:9/hook"
LEASE = timedelta(seconds=30)


@dataclass
class Scripted:
    """A command of the topic ``custom`` that does what its test says."""

    execute_with: Callable[[ExternalTask], Awaitable[CommandResult]] | None = None
    topic: str = "custom"
    calls: list[ExternalTask] = field(default_factory=list)

    async def execute(self, task: ExternalTask) -> CommandResult:
        """Note the call, and do it."""
        self.calls.append(task)
        if self.execute_with is None:
            return CommandResult()
        return await self.execute_with(task)


@dataclass
class Plant:
    """Everything but the loops: `work` does what they would do, in order, until all is done."""

    services: Services
    sender: FakeSender
    scripted: Scripted

    def __post_init__(self) -> None:
        self.registry = Registry(self.sender, STANDALONE, [CreateTasks(), EndTask(), self.scripted])
        self.ingest = Ingest(self.services)
        self.relay = Relay(self.services)
        self.jobs = JobQueue(self.services.tasks)
        self.worker = Worker(self.services, self.registry, "worker")
        self.external = ExternalTaskQueue(self.services, self.registry, "worker")
        self.deliveries = DeliveryQueue(self.services.tasks)
        self.dispatcher = Dispatcher(
            self.services.tasks,
            self.deliveries,
            self.sender,
            STANDALONE,
            now=self.services.now,
            version="test",
        )

    async def deploy(self, *models: str) -> None:
        """Deploy models, given as the XML of their files."""
        for bpmn in models:
            await create_workflow(self.services, Draft(name="test", bpmn=bpmn))

    async def subscribe(self, key: str = "*", url: str = HOOK) -> ClientApp:
        """Register a client app and subscribe it."""
        client = await register_client(self.services, "test")
        await subscribe(
            self.services,
            api_key=client.api_key,
            api_secret=client.api_secret.reveal(),
            url=url,
            key=key,
        )
        return client

    async def trigger(self, key: str = "order.placed", payload: str = '{"items": 2}') -> UUID:
        """Take one event in; return its id."""
        event = NewEvent(
            id=new_id(),
            key=key,
            payload=payload,
            source="test",
            description=None,
            origin="test",
            idempotency_key=None,
        )
        await self.ingest(event)
        return event.id

    async def work(self) -> None:
        """Do everything that is due, until nothing is."""
        while await self.step():
            pass

    async def step(self) -> int:
        """Do one round of what is due; return how much that was."""
        jobs = await self.jobs.claim(100, LEASE)
        for job in jobs:
            await self.relay.run(job)
        tasks = await self.external.claim(100, LEASE)
        for task in tasks:
            await self.worker.run(task)
        changes = await follow_engine(self.services)
        deliveries = await self.deliveries.claim(100, LEASE)
        for delivery in deliveries:
            await self.dispatcher.run(delivery)
        return len(jobs) + len(tasks) + changes + len(deliveries)

    async def tasks(self) -> list[Task]:
        """List every task."""
        async with self.services.tasks.begin() as tx:
            return await tx.tasks.list(Filter(limit=1000))

    def told(self) -> list[Mapping[str, Any]]:
        """List what webhooks said, in order."""
        return [json.loads(request.body) for request in self.sender.requests]

    def told_keys(self) -> list[str]:
        """List the keys of what webhooks said, in order."""
        return [said["key"] for said in self.told()]
