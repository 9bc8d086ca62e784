"""The story that ``make run`` tells: an event, its tasks, the people, and what was told of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from taskloom.cli.inbox import Inbox
from taskloom.cli.progress import failures
from taskloom.cli.receiver import Webhook
from taskloom.cli.resource_table import explain_state, is_well
from taskloom.cli.server import Server
from taskloom.cli.trigger import send
from taskloom.errors import Permanent
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.reconcilers.statuses import spec_digest, spec_of

T = TypeVar("T")
Tell = Callable[[str], None]

_PATIENCE = 30.0
_PAUSE = 0.05
_STEPS = 2  # the user tasks of the example's approval


async def await_resources(server: Server, snapshot: Snapshot) -> int:
    """Wait until everything that a folder declares is in force; return how many it is."""
    wanted = {
        declared.resource.key: spec_digest(spec_of(declared.resource))
        for declared in snapshot.resources
    }
    waiting: list[str] = []

    async def look() -> int | None:
        found = {
            (each["kind"], each["namespace"], each["name"]): each
            for each in await server.get("/resources")
        }
        waiting[:] = [
            f"{key[0]} {key[2]}: {explain_state(found[key]) if key in found else 'not read yet'}"
            for key, digest in wanted.items()
            if key not in found
            or spec_digest(found[key]["spec"]) != digest
            or not is_well(found[key])
        ]
        return None if waiting else len(wanted)

    return await _until(look, lambda: "not all resources are in force: " + "; ".join(waiting))


async def tell_story(
    server: Server, inbox: Inbox, event: Mapping[str, Any], tell: Tell
) -> dict[str, Any]:
    """Live the story through and return the event's trace; `Permanent` where it went otherwise."""
    event_id = await send(
        server, event["key"], json.dumps(event.get("payload", {})), source=event.get("source")
    )
    if event_id is None:
        raise Permanent("the event was taken for one that came before")
    tell(f"The event {event['key']} is durable: {event_id}.")
    task_ids = await _await_tasks(server, event_id)
    for task_id in task_ids:
        created = await inbox.find("task-created", _creates(task_id), _PATIENCE)
        tell(f"Its workflow made the task {task_id}.")
        tell(_told(created))
        await _work_on(server, inbox, task_id, tell)
        done = await inbox.find("task-completed", _completes(task_id), _PATIENCE)
        tell(_told(done))
        task = await server.get(f"/tasks/{task_id}")
        if task["status"] != "completed":
            raise Permanent(f"the task {task_id} is {task['status']}, not completed")
    trace = await _await_deliveries(server, event_id)
    _check_counts(inbox, task_ids)
    return trace


async def _work_on(server: Server, inbox: Inbox, task_id: UUID, tell: Tell) -> None:
    """Complete the user tasks of a task one after another, as people would."""
    for _ in range(_STEPS):

        async def pending() -> dict[str, Any] | None:
            found = await server.get(
                f"/tasks/{task_id}/user-tasks", filter={"where": {"status": "pending"}}
            )
            return found[0] if found else None

        step = await _until(pending, lambda: f"the task {task_id} has no user task to complete")
        path = f"/tasks/{task_id}/user-tasks/{step['id']}/complete"
        await server.patch(path, {})
        tell(f"“{step['name']}” is completed over REST.")
        told = await inbox.find("user-task-completed", _tells_of(step["id"]), _PATIENCE)
        tell(_told(told))


async def _await_tasks(server: Server, event_id: UUID) -> list[UUID]:
    trouble: list[str] = []

    async def look() -> list[UUID] | None:
        trace = await server.get(f"/events/{event_id}/trace")
        trouble[:] = failures(trace)
        tasks = [
            task
            for route in trace["routes"]
            if route["instance"] is not None
            for task in route["instance"].get("tasks", ())
        ]
        return [UUID(task["id"]) for task in tasks] or None

    return await _until(look, lambda: "; ".join(["the event led to no task", *trouble]))


async def _await_deliveries(server: Server, event_id: UUID) -> dict[str, Any]:
    """Wait until it is written down that every webhook was delivered."""

    async def look() -> dict[str, Any] | None:
        trace: dict[str, Any] = await server.get(f"/events/{event_id}/trace")
        deliveries = [d for outgoing in trace["outgoing"] for d in outgoing["deliveries"]]
        return trace if all(d["state"] == "delivered" for d in deliveries) else None

    return await _until(look, lambda: "not every webhook is recorded as delivered")


async def _until(look: Callable[[], Awaitable[T | None]], why_not: Callable[[], str]) -> T:
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                found = await look()
                if found is not None:
                    return found
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise Permanent(f"{why_not()} (after {_PATIENCE:.0f} seconds)") from None


def _check_counts(inbox: Inbox, task_ids: list[UUID]) -> None:
    for task_id in task_ids:
        counts = {
            "task-created": (1, _creates(task_id)),
            "user-task-completed": (_STEPS, _steps_of(task_id)),
            "task-completed": (1, _completes(task_id)),
        }
        for key, (expected, concerns) in counts.items():
            count = len(inbox.about(key, concerns))
            if count != expected:
                raise Permanent(f"{count} webhooks {key} came about {task_id}, not {expected}")


def _told(webhook: Webhook) -> str:
    return f"The webhook {webhook.key} came; both its signatures are genuine."


def _creates(task_id: UUID) -> Callable[[Any], bool]:
    return lambda payload: any(task["id"] == str(task_id) for task in payload["createdTasks"])


def _completes(task_id: UUID) -> Callable[[Any], bool]:
    return lambda payload: bool(payload["taskId"] == str(task_id))


def _steps_of(task_id: UUID) -> Callable[[Any], bool]:
    return lambda payload: bool(payload["task"]["id"] == str(task_id))


def _tells_of(user_task_id: str) -> Callable[[Any], bool]:
    return lambda payload: bool(payload["userTask"]["id"] == user_task_id)
