"""The story that ``make run`` tells: an event, its tasks, the people, and what was told of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from taskloom.cli.inbox import Inbox
from taskloom.cli.pipes import Readings, send_by
from taskloom.cli.progress import failures
from taskloom.cli.receiver import Webhook
from taskloom.cli.resource_table import explain_state, is_well
from taskloom.cli.server import Server
from taskloom.errors import Permanent
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.reconcilers.specs import spec_digest, spec_of

T = TypeVar("T")
Concerns = Callable[[Any], bool]

_PAUSE = 0.05
_STEPS = 2  # the user tasks of the example's approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lives the story through; each step is told, and waited for at most `patience` seconds.

    `send` is a program that the event is given to in place of a post, and `readings` what another
    one reads of what is told besides the webhooks.
    What goes otherwise than it should raises `Permanent` with the reason.
    """

    server: Server
    inbox: Inbox
    tell: Callable[[str], None]
    patience: float = 30.0
    send: str | None = None
    readings: Readings | None = None

    async def await_resources(self, snapshot: Snapshot) -> int:
        """Wait until everything that a folder declares is in force; return how many it is."""
        wanted = {
            declared.resource.key: spec_digest(spec_of(declared.resource))
            for declared in snapshot.resources
        }
        waiting: list[str] = []

        async def look() -> int | None:
            found = {
                (each["kind"], each["namespace"], each["name"]): each
                for each in await self.server.get("/resources")
            }
            waiting[:] = [
                f"{key[0]} {key[2]}: {_state(found.get(key))}"
                for key, digest in wanted.items()
                if key not in found
                or spec_digest(found[key]["spec"]) != digest
                or not is_well(found[key])
            ]
            return None if waiting else len(wanted)

        return await self._until(
            look, lambda: "not all resources are in force: " + "; ".join(waiting)
        )

    async def live(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Send the event, see its tasks through, and return its trace."""
        event_id = await self._send(event)
        self.tell(f"The event {event['key']} is durable: {event_id}.")
        task_ids = await self._await_tasks(event_id)
        for task_id in task_ids:
            self.tell(f"Its workflow made the task {task_id}.")
            await self._be_told("task-created", _creates(task_id))
            if self.readings is not None:
                await self.readings.find("task-created", _creates(task_id), self.patience)
                self.tell("task-created was read from the broker, too.")
            for _ in range(_STEPS):
                await self._complete_a_user_task(task_id)
            await self._be_told("task-completed", _completes(task_id))
            task = await self.server.get(f"/tasks/{task_id}")
            if task["status"] != "completed":
                raise Permanent(f"the task {task_id} is {task['status']}, not completed")
        trace = await self._await_deliveries(event_id)
        for task_id in task_ids:
            self._check_counts(task_id)
        return trace

    async def _send(self, event: Mapping[str, Any]) -> UUID:
        if self.send is None:
            return await self.server.trigger(json.dumps(event).encode(), None)
        before = await self._events_of(event["key"])
        await send_by(self.send, event)
        self.tell(f"The event {event['key']} was given to the broker.")

        async def look() -> UUID | None:
            new = await self._events_of(event["key"]) - before
            return new.pop() if new else None

        return await self._until(look, lambda: "the event did not come from the broker")

    async def _events_of(self, key: str) -> set[UUID]:
        query = {"where": {"key": key}, "order": ["createdOn DESC"], "limit": 10}
        return {UUID(event["id"]) for event in await self.server.get("/events", filter=query)}

    async def _complete_a_user_task(self, task_id: UUID) -> None:
        """Do what a person does with the user task that is open."""

        async def pending() -> dict[str, Any] | None:
            found = await self.server.get(
                f"/tasks/{task_id}/user-tasks", filter={"where": {"status": "pending"}}
            )
            return found[0] if found else None

        step = await self._until(
            pending, lambda: f"the task {task_id} has no user task to complete"
        )
        await self.server.patch(f"/tasks/{task_id}/user-tasks/{step['id']}/complete", {})
        self.tell(f"“{step['name']}” is completed over REST.")
        await self._be_told("user-task-completed", _tells_of(step["id"]))

    async def _be_told(self, key: str, concerns: Concerns) -> Webhook:
        webhook = await self.inbox.find(key, concerns, self.patience)
        self.tell(f"The webhook {key} came; both its signatures are genuine.")
        return webhook

    async def _await_tasks(self, event_id: UUID) -> list[UUID]:
        trouble: list[str] = []

        async def look() -> list[UUID] | None:
            trace = await self.server.get(f"/events/{event_id}/trace")
            trouble[:] = failures(trace)
            tasks = [
                task
                for route in trace["routes"]
                if route["instance"] is not None
                for task in route["instance"].get("tasks", ())
            ]
            return [UUID(task["id"]) for task in tasks] or None

        return await self._until(look, lambda: "; ".join(["the event led to no task", *trouble]))

    async def _await_deliveries(self, event_id: UUID) -> dict[str, Any]:
        """Wait until it is written down that every webhook was delivered."""

        async def look() -> dict[str, Any] | None:
            trace: dict[str, Any] = await self.server.get(f"/events/{event_id}/trace")
            deliveries = [d for outgoing in trace["outgoing"] for d in outgoing["deliveries"]]
            return trace if all(d["state"] == "delivered" for d in deliveries) else None

        return await self._until(look, lambda: "not every webhook is recorded as delivered")

    def _check_counts(self, task_id: UUID) -> None:
        expected = {
            "task-created": (1, _creates(task_id)),
            "user-task-completed": (_STEPS, _steps_of(task_id)),
            "task-completed": (1, _completes(task_id)),
        }
        for key, (number, concerns) in expected.items():
            count = len(self.inbox.about(key, concerns))
            if count != number:
                raise Permanent(f"{count} webhooks {key} came about {task_id}, not {number}")

    async def _until(
        self, look: Callable[[], Awaitable[T | None]], why_not: Callable[[], str]
    ) -> T:
        try:
            async with asyncio.timeout(self.patience):
                while True:
                    found = await look()
                    if found is not None:
                        return found
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise Permanent(f"{why_not()} (after {self.patience:.0f} seconds)") from None


def _state(resource: Mapping[str, Any] | None) -> str:
    return "not read yet" if resource is None else explain_state(resource)


def _creates(task_id: UUID) -> Concerns:
    return lambda payload: any(task["id"] == str(task_id) for task in payload["createdTasks"])


def _completes(task_id: UUID) -> Concerns:
    return lambda payload: bool(payload["taskId"] == str(task_id))


def _steps_of(task_id: UUID) -> Concerns:
    return lambda payload: bool(payload["task"]["id"] == str(task_id))


def _tells_of(user_task_id: str) -> Concerns:
    return lambda payload: bool(payload["userTask"]["id"] == user_task_id)
