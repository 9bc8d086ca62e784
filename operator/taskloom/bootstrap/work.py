"""The roles `worker` and `relay`, which go by where the engine is.

Ours rings bells when there is work, and has its timers fired.  One elsewhere is asked, by a poll
that waits, and does the rest itself.
"""

import asyncio
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

from taskloom.bootstrap.parts import Parts
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.adopt import follow_engine
from taskloom.flow.move_workflows import move_workflows
from taskloom.flow.repair_starts import repair_starts
from taskloom.outbox.relay import JobQueue, Relay
from taskloom.ports.engine import ExternalTask
from taskloom.runtime.loop import Loop, Pace, limited
from taskloom.worker.worker import ExternalTaskQueue, Worker

Service = Callable[[], Awaitable[None]]
_TIMER_POLL = 1.0
LONG_POLL = timedelta(seconds=5)
_AHEAD = 4  # times as much is fetched from an engine elsewhere as runs at once
_BETWEEN = 0.05
_FEED_POLL = 5.0
_FEED_PAUSE = 0.2  # what use cases see at once is stored by them; the rest may come together
_COMMANDS_POLL = 5.0


def worker_services(parts: Parts) -> Mapping[str, Service]:
    """Run external tasks, wherever the engine is."""
    worker_id = _worker_id(parts)
    worker = Worker(parts.services, parts.registry, worker_id)
    concurrency = parts.settings.worker_concurrency
    handle: Callable[[ExternalTask], Awaitable[None]] = worker.run
    pace, wait = pace_of(parts, concurrency), timedelta(0)
    if not isinstance(parts.engine, EmbeddedEngine):
        pace, wait = ahead(pace), LONG_POLL
        handle = limited(worker.run, concurrency)
    loop = Loop(
        "worker",
        ExternalTaskQueue(parts.services, parts.registry, worker_id, wait=wait),
        handle,
        bell=parts.bell,
        topic="external-tasks",
        pace=pace,
        gives_way=lambda: parts.ingest.pressed,
    )

    async def work() -> None:
        await worker.recover()
        await _declare_commands(parts)
        await loop.run()

    async def follow_commands() -> None:
        while True:
            await parts.bell.wait("commands", _COMMANDS_POLL)
            await _declare_commands(parts)

    return {"worker": work, "commands": follow_commands}


def ahead(pace: Pace) -> Pace:
    """Fetch more than is run at once: one long poll brings it, and waits in the bell's place."""
    concurrency = pace.concurrency
    return replace(pace, concurrency=_AHEAD * concurrency, refill=concurrency, poll=_BETWEEN)


def _worker_id(parts: Parts) -> str:
    """Name this worker, the same after a restart, as what it held before is freed by its name."""
    if not parts.alone:
        return f"{socket.gethostname()}-{os.getpid()}"  # a pod's process has the same id each time
    if isinstance(parts.engine, EmbeddedEngine):
        return "taskloom-0"
    folder = str(parts.settings.data_dir.absolute())  # other machines may use the engine, too
    return f"{socket.gethostname()}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


async def _declare_commands(parts: Parts) -> None:
    async with parts.services.tasks.begin() as tx:
        parts.registry.declare(await tx.commands.to_run())


def relay_services(parts: Parts) -> Mapping[str, Service]:
    """Carry jobs out, follow the engine's feed, and fire the timers of the engine that is ours."""
    loop = Loop(
        "relay",
        JobQueue(parts.services.tasks),
        Relay(parts.services).run,
        bell=parts.bell,
        topic="jobs",
        pace=pace_of(parts, parts.settings.relay_concurrency),
        gives_way=lambda: parts.ingest.pressed,
    )

    async def follow() -> None:
        await move_workflows(parts.services)
        if not isinstance(parts.engine, EmbeddedEngine):
            await repair_starts(parts.services)
        while True:
            if await follow_engine(parts.services) == 0:
                await parts.bell.wait("engine-changes", _FEED_POLL)
                await asyncio.sleep(_FEED_PAUSE)

    services: dict[str, Service] = {"relay": loop.run, "engine-feed": follow}
    if parts.own_engine is not None:
        services["timers"] = partial(_fire_timers, parts, parts.own_engine)
    return services


async def _fire_timers(parts: Parts, engine: EmbeddedEngine) -> None:
    while True:
        if await engine.run_due_jobs(100) == 0:
            due = await engine.next_due()
            wait = _TIMER_POLL
            if due is not None:
                wait = (due - parts.services.now()).total_seconds()
            await parts.bell.wait("engine-jobs", min(_TIMER_POLL, max(0.01, wait)))


def pace_of(parts: Parts, concurrency: int) -> Pace:
    """Say how hard a loop works that may do so many things at once."""
    return Pace(concurrency=concurrency, lease=parts.settings.lease_seconds)
