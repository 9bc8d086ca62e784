"""What is told of objects though nobody declares it: how many run, how deliveries go.

Figures are read for all objects together, and at most every `EVERY`: so often may a status change
that nobody changes the reason of.
Only that instances of a Workflow run for the first time, which is to wait for them when it is
deleted, is looked for each time.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from taskloom.domain.conditions import Reason, timestamp
from taskloom.domain.deliveries import DeliveryFigures
from taskloom.errors import Temporary
from taskloom.flow.services import Services
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.statuses import Memory, retell
from taskloom.reconcilers.verdict import Verdict, also_degraded, given_up
from taskloom.store.resources import read

Look = Callable[[], Awaitable[Mapping[Key, Verdict]]]
"""Gives the verdicts that have changed since the last reconciliation or look."""

log = structlog.get_logger()

EVERY: Final = timedelta(seconds=30)
_EVENTS_COME_LATE: Final = timedelta(minutes=5)  # by clocks that differ, or long transactions
FAILING_AFTER: Final = 5
"""So many failures in a row make an endpoint one that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Running instances by workflow key (None: not known), and deliveries by subscription.

    `events` tells when each source that the HTTP door serves gave its last event, by its origin.
    """

    running: Mapping[str, int] | None = None
    deliveries: Mapping[UUID, DeliveryFigures] = field(default_factory=dict)
    events: Mapping[str, datetime] = field(default_factory=dict)


class Live:
    """The newest figures, and what was told with them."""

    def __init__(self, every: timedelta = EVERY) -> None:
        self._every = every
        self._figures = Figures()
        self._read_at: datetime | None = None
        self._waiting: frozenset[Key] = frozenset()
        self._judged: dict[Key, Verdict] = {}
        self._told: dict[Key, Verdict] = {}

    async def complete(
        self,
        services: Services,
        verdicts: Mapping[Key, Verdict],
        memory: Memory,
        waiting: frozenset[Key] = frozenset(),
    ) -> dict[Key, Verdict]:
        """Add the figures to what a reconciliation found.

        `waiting` are the Workflows that, once deleted, wait for their instances.
        What the `memory` of statuses tells of long ago is not looked for in the database.
        """
        if self._read_at is None:
            self._figures = Figures(events=_remembered_events(memory))
        await self._read(services)
        self._waiting = waiting
        self._judged = {key: verdict for key, verdict in verdicts.items() if key[0] in _TOLD}
        self._told = {
            key: with_figures(key, verdict, self._figures) for key, verdict in self._judged.items()
        }
        return {**verdicts, **self._told}

    async def look(self, services: Services) -> dict[Key, Verdict]:
        """Read the figures if it is time, and give and store the verdicts that are others now."""
        changed = {}
        for key in self._judged if await self._read(services) else await self._begun(services):
            verdict = self._judged[key]
            told = with_figures(key, _since(verdict, self._figures), self._figures)
            if told != self._told[key]:
                changed[key] = told
        if changed:
            now = services.now()
            async with services.tasks.begin() as tx:
                stored = await tx.resources.some(changed)
                await tx.resources.put_all(
                    [
                        retell(item, changed[item.kind, item.namespace, item.name], now)
                        for item in stored
                    ]
                )
            self._told |= changed
        return changed

    async def _begun(self, services: Services) -> list[Key]:
        """List the waiting Workflows that have instances, and had none when it was told last."""
        quiet = [key for key in self._waiting if _running(self._told.get(key)) == 0]
        if not quiet:
            return []
        self._figures = replace(self._figures, running=await _read_running(services, self._figures))
        return [
            key for key in quiet if _running(with_figures(key, self._judged[key], self._figures))
        ]

    async def _read(self, services: Services) -> bool:
        """Read the figures unless they are young; tell whether they were read."""
        now = services.now()
        if self._read_at is not None and now - self._read_at < self._every:
            return False
        since = (self._read_at or now) - _EVENTS_COME_LATE
        self._figures = await read_figures(services, self._figures, since)
        self._read_at = now
        return True


async def read_figures(services: Services, before: Figures, since: datetime) -> Figures:
    """Read all figures, events those `since` then.

    Of an engine that does not answer those from before are kept.
    """
    deliveries: list[DeliveryFigures] = []
    async with services.tasks.begin() as tx:
        if services.webhooks:
            deliveries = await tx.delivery_health.figures()
        events = await tx.events.latest(since)
    return Figures(
        running=await _read_running(services, before),
        deliveries={item.subscription_id: item for item in deliveries},
        events={**before.events, **events},
    )


async def _read_running(services: Services, before: Figures) -> Mapping[str, int] | None:
    try:
        return await services.engine.running_by_workflow()
    except Temporary as error:
        log.debug("figures.engine-unknown", error=error.message)
        return before.running


def _running(verdict: Verdict | None) -> int | None:
    return None if verdict is None else verdict.fields.get("runningInstances")


def with_figures(key: Key, verdict: Verdict, figures: Figures) -> Verdict:
    """Add to a verdict what the figures say of its object."""
    tell = _TOLD.get(key[0])
    return verdict if tell is None else tell(key, verdict, figures)


def _remembered_events(memory: Memory) -> dict[str, datetime]:
    """Read from statuses when sources gave their last events."""
    return {
        _origin(key): datetime.fromisoformat(last)
        for key, stored in memory.items()
        if key[0] == "EventSource"
        and (status := read(stored.status)).get("type") == "http"
        and (last := status.get("lastEventTime")) is not None
    }


def _origin(key: Key) -> str:
    return f"source:{key[1]}/{key[2]}"


def _with_last_event(key: Key, verdict: Verdict, figures: Figures) -> Verdict:
    last = figures.events.get(_origin(key))
    if last is None or verdict.fields.get("type") != "http":
        return verdict  # what connectors run they tell of
    return replace(verdict, fields={**verdict.fields, "lastEventTime": timestamp(last)})


def _with_running(_key: Key, verdict: Verdict, figures: Figures) -> Verdict:
    workflow = verdict.fields.get("externalIdentifier")
    if workflow is None or figures.running is None:
        return verdict
    count = figures.running.get(workflow, 0)
    return replace(verdict, fields={**verdict.fields, "runningInstances": count})


def _with_deliveries(_key: Key, verdict: Verdict, figures: Figures) -> Verdict:
    found = _deliveries_of(verdict, figures)
    if found is None:
        return verdict
    told = replace(verdict, fields={**verdict.fields, "delivery": _delivery(found)})
    if told.ready and found.consecutive_failures >= FAILING_AFTER:
        # Without the count, which would make each look another message.
        text = f"{FAILING_AFTER} failures or more in a row, the last: {found.last_error}"
        return also_degraded(told, Reason.ENDPOINT_FAILING, text)
    return told


def _since(verdict: Verdict, figures: Figures) -> Verdict:
    """Tell that a receiver was given up since the object was reconciled."""
    found = _deliveries_of(verdict, figures)
    if found is None or found.disabled is None or not verdict.ready:
        return verdict
    return given_up(verdict, found.disabled or "the receiver was given up")


def _deliveries_of(verdict: Verdict, figures: Figures) -> DeliveryFigures | None:
    subscription = verdict.fields.get("subscriptionId")
    return None if subscription is None else figures.deliveries.get(UUID(subscription))


def _delivery(found: DeliveryFigures) -> dict[str, Any]:
    told: dict[str, Any] = {
        "lastSuccessTime": found.last_success_at,
        "lastFailureTime": found.last_failure_at,
        "lastStatusCode": found.last_status,
        "lastError": found.last_error,
        "consecutiveFailures": found.consecutive_failures,
        "pending": found.pending,
    }
    return {
        name: timestamp(value) if isinstance(value, datetime) else value
        for name, value in told.items()
        if value is not None
    }


_TOLD: Final = {
    "Workflow": _with_running,
    "WebhookSubscription": _with_deliveries,
    "EventSource": _with_last_event,
}
