"""Runs the roles of one process from start to end."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

import structlog

from taskloom.bootstrap.parts import Parts, build
from taskloom.bootstrap.roles import services_of
from taskloom.runtime.supervise import supervise
from taskloom.settings import Settings

log = structlog.get_logger()

_FIRST_RECONCILIATION = 30.0


async def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the roles until SIGINT or SIGTERM or `stop`, then finish what is in hand.

    The door opens when the declared resources have been reconciled once, so that no event comes
    before its mapping; that for health and metrics opens as soon as it can answer.
    `ready` is called with the API's base URL once it is open.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        door = health = None
        if "api" in settings.roles or settings.health_port is not None:
            # Who answers nobody does without all that is needed for it, and its memory.
            from taskloom.bootstrap import door as doors  # noqa: PLC0415 - memory

            door = stack.enter_context(doors.bind(settings)) if "api" in settings.roles else None
            health = doors.bind_health(settings)
        if health is not None:
            stack.enter_context(health)
        parts = await stack.enter_async_context(build(settings))
        if health is not None:
            await stack.enter_async_context(doors.showing_health(parts, health))
        if parts.alone:
            await _take_over(parts)
        running = asyncio.create_task(supervise(services_of(parts)))
        stack.push_async_callback(_drain, running)
        await _first(parts.reconciled.wait(), stop.wait(), running, seconds=_FIRST_RECONCILIATION)
        async with contextlib.AsyncExitStack() as opened:
            if door is not None and not stop.is_set():
                await opened.enter_async_context(doors.listening(parts, door, ready))
            await _first(stop.wait(), running)
            log.info("taskloom.stopping")


async def _first(*waits: Awaitable[object], seconds: float | None = None) -> None:
    """Return when one of these is done, or after so many seconds."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _drain(running: asyncio.Task[None]) -> None:
    """Let the loops finish what is in hand; the door is shut by now."""
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _take_over(parts: Parts) -> None:
    """Free what a killed process of this data folder still holds: no other can hold it."""
    async with parts.services.tasks.begin() as tx:
        jobs = await tx.jobs.release()
        await tx.source_states.release_all()
        deliveries = 0
        if parts.settings.webhooks:
            await tx.sink_states.release_all()
            deliveries = await tx.deliveries.release()
    if jobs or deliveries:
        log.info("taskloom.recovered", jobs=jobs, deliveries=deliveries)
