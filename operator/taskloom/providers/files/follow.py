"""Keeps the database at what a folder declares: watch, read, merge, reconcile."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from taskloom.errors import Temporary
from taskloom.providers.files.read import merge, read_folder
from taskloom.providers.files.watch import watch_folder
from taskloom.reconcilers.figures import Look
from taskloom.reconcilers.reconcile import Report
from taskloom.reconcilers.snapshot import Problem, Snapshot

log = structlog.get_logger()

RESYNC_SECONDS = 60.0
"""A look without a change: what an object waits for may have come by another way."""
GLANCE_SECONDS = 2.0
_LONGEST_RETRY = 30.0


async def follow_folder(
    folder: Path,
    reconcile: Callable[[Snapshot], Awaitable[Report]],
    stop: asyncio.Event,
    *,
    resync_seconds: float = RESYNC_SECONDS,
    retry_seconds: float = 1.0,
    poll_seconds: float = 2.0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    changed: asyncio.Event | None = None,
) -> None:
    """Reconcile at once, at every change, and every `resync_seconds`, until `stop` is set.

    `changed` may be set by others who know of a change.
    A report that names a time when the next one is due gets it then.
    What did not answer is tried again after `retry_seconds`, then twice as long each time.
    """
    changed = changed or asyncio.Event()
    watcher = asyncio.create_task(_watch(folder, changed, stop, poll_seconds))
    state: Snapshot | None = None
    told: frozenset[Problem] = frozenset()
    wait, retries = 0.0, 0
    report: Report | None = None
    try:
        while not stop.is_set():
            await _wait_and_look(changed, watcher, wait, None if report is None else report.look)
            if stop.is_set():
                return
            if watcher.done():
                watcher.result()  # a watch that ended of itself has a reason: let it be seen
            look = wait == resync_seconds and not changed.is_set()
            changed.clear()
            state = merge(state, await asyncio.to_thread(read_folder, folder))
            told = _tell(state, told)
            report = await _attempt(reconcile, replace(state, look=look))
            again = report is None or report.retry
            retries = retries + 1 if again else 0
            backoff = min(retry_seconds * 2 ** min(retries - 1, 10), _LONGEST_RETRY)
            wait = backoff if again else resync_seconds
            if report is not None and report.due is not None:
                wait = min(wait, max(0.0, (report.due - now()).total_seconds()))
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def _attempt(
    reconcile: Callable[[Snapshot], Awaitable[Report]], state: Snapshot
) -> Report | None:
    """Reconcile once; None if that went wrong."""
    try:
        report = await reconcile(state)
    except Temporary as error:
        log.warning("files.reconcile-later", error=error.message)
        return None
    except Exception:
        # A fault in one object must not end the watch on all others.
        log.exception("files.reconcile-failed")
        return None
    ready = sum(verdict.ready for verdict in report.verdicts.values())
    if report.changes:
        log.info(
            "files.reconciled",
            changes=report.changes,
            ready=ready,
            not_ready=len(report.verdicts) - ready,
            problems=len(state.problems),
        )
    return report


def _tell(state: Snapshot, told: frozenset[Problem]) -> frozenset[Problem]:
    """Log the problems that are new."""
    for problem in state.problems:
        if problem not in told:
            log.error("files.problem", place=str(problem.place), message=problem.message)
    for note in state.notes:
        if note not in told:
            log.info("files.note", place=str(note.place), message=note.message)
    return frozenset((*state.problems, *state.notes))


async def _watch(
    folder: Path, changed: asyncio.Event, stop: asyncio.Event, poll_seconds: float
) -> None:
    async for _ in watch_folder(folder, stop, poll_seconds=poll_seconds):
        changed.set()


async def _wait_and_look(
    changed: asyncio.Event, watcher: asyncio.Task[None], seconds: float, look: Look | None
) -> None:
    """Wait for a change, and look meanwhile at what changes without one."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not changed.is_set() and not watcher.done() and clock() < end:
        await _wait(changed, watcher, min(GLANCE_SECONDS, end - clock()))
        if look is None or changed.is_set():
            continue
        try:
            await look()  # what it finds it stores
        except Temporary as error:
            log.debug("files.glance-later", error=error.message)
        except Exception:
            log.exception("files.glance-failed")


async def _wait(changed: asyncio.Event, watcher: asyncio.Task[None], seconds: float) -> None:
    waiting = asyncio.create_task(changed.wait())
    try:
        await asyncio.wait((waiting, watcher), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
