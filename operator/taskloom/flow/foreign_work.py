"""Workers that are not ours do external tasks: done through the engine, and noted for traces.

What follows from it, user tasks of children and what is told of them, comes by the engine's feed
(`taskloom.flow.adopt`), as it does from anything that moves an instance on behind our back.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import structlog

from taskloom.errors import Temporary
from taskloom.flow.services import Services
from taskloom.ports.engine import Outcome
from taskloom.ports.hosted_engine import HostedEngine, WorkItem
from taskloom.store.ledger import LedgerEntry

log = structlog.get_logger()

SERVED = timedelta(minutes=10)
"""So long after a worker has asked for it, a topic counts as served."""
_NOTE_AGAIN = 60.0
_MOST_NOTED = 10_000


class _Undone(Exception):
    """The engine refused, so nothing of the transaction is to be."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


async def complete_work(
    services: Services,
    host: HostedEngine,
    item: WorkItem,
    worker_id: str,
    *,
    variables: Mapping[str, Any],
    local: Mapping[str, Any],
) -> Outcome:
    """Finish an external task.

    With the engine in the task database the trace's entry is of the same transaction; with two it
    follows, and a crash between them leaves the trace without it.
    """
    entry = _entry(services, item, "done", None, variables)
    try:
        async with services.tasks.begin() as tx:
            if services.engine.joins(tx):
                await tx.ledger.put(entry)  # first, as our own worker does: so none can deadlock
                return _done(await host.complete(item.id, worker_id, variables, local, tx=tx))
    except _Undone as refused:
        return refused.outcome
    outcome = await host.complete(item.id, worker_id, variables, local)
    if outcome is Outcome.DONE:
        await _note(services, entry)
    return outcome


async def fail_work(
    services: Services,
    host: HostedEngine,
    item: WorkItem,
    worker_id: str,
    *,
    message: str,
    details: str | None,
    retries: int,
    retry_after: timedelta,
) -> Outcome:
    """Report a failure; with 0 `retries` it becomes an incident."""
    outcome = await host.fail(
        item.id, worker_id, message, details, retries=retries, retry_after=retry_after
    )
    if outcome is Outcome.DONE:
        await _note(services, _entry(services, item, "failed", message, {}))
    return outcome


async def raise_error(
    services: Services,
    item: WorkItem,
    worker_id: str,
    *,
    code: str,
    message: str,
    variables: Mapping[str, Any],
) -> Outcome:
    """Raise a BPMN error at an external task."""
    outcome = await services.engine.bpmn_error(item.id, worker_id, code, message, variables)
    if outcome is Outcome.DONE:
        text = f"{code}: {message}" if message else code
        await _note(services, _entry(services, item, "error", text, {}))
    return outcome


class TopicNotes:
    """Remembers which topics foreign workers ask for; a write a minute and topic at most.

    `clock` gives seconds.
    """

    def __init__(self, services: Services, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._clock = clock
        self._noted: dict[str, float] = {}

    async def note(self, topics: Collection[str], patience: timedelta) -> None:
        """Note that a worker asks for topics now, and waits for `patience`."""
        at = self._clock()
        due = [t for t in topics if at - self._noted.get(t, -_NOTE_AGAIN) >= _NOTE_AGAIN]
        if not due:
            return
        if len(self._noted) > _MOST_NOTED:
            self._noted.clear()
        self._noted |= dict.fromkeys(due, at)
        now = self._services.now()
        async with self._services.workflows.begin() as tx:
            if await tx.fetched_topics.note(due, now=now, until=now + patience + SERVED):
                tx.notify("fetched-topics")


def _done(outcome: Outcome) -> Outcome:
    if outcome is not Outcome.DONE:
        raise _Undone(outcome)
    return outcome


async def _note(services: Services, entry: LedgerEntry) -> None:
    """Keep an entry for the trace; without it only the trace is the poorer."""
    try:
        async with services.tasks.begin() as tx:
            await tx.ledger.put(entry)
    except Temporary as exc:
        log.warning("work.not-noted", external_task=entry.external_task_id, error=exc.message)


def _entry(
    services: Services,
    item: WorkItem,
    state: str,
    error: str | None,
    variables: Mapping[str, Any],
) -> LedgerEntry:
    now = services.now()
    return LedgerEntry(
        external_task_id=item.id,
        topic=item.topic,
        root_instance_id=item.place.root_id,
        state=state,
        variables=variables,
        error=None if error is None else error.replace("\x00", "\ufffd")[:2000],
        attempts=1,
        started_at=now,
        finished_at=now,
    )
