"""An event comes in: it is durable, with a job for each workflow to start, or it is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from taskloom.domain.events import EVERY_KEY, NewEvent, Route
from taskloom.domain.jobs import JobKind, NewJob
from taskloom.domain.workflows import EventMapping
from taskloom.flow.filters import reason_against
from taskloom.flow.services import Services
from taskloom.ids import derived_id
from taskloom.runtime.batcher import Batcher
from taskloom.store.transaction import Transaction

_MANY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The event is durable, under this id; `duplicate` says that it was so before."""

    event_id: UUID
    duplicate: bool = False


class TakesEvents(Protocol):
    """The door behind all doors; `Ingest` is the one there is."""

    async def __call__(self, event: NewEvent) -> Ingested:
        """Store an event; returns once it is durable."""
        ...

    async def all(self, events: Sequence[NewEvent]) -> Sequence[Ingested]:
        """Store events in their order; returns once all are durable."""
        ...


class Ingest:
    """Takes events in; concurrent ones share a transaction."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._batcher: Batcher[NewEvent, Ingested] = Batcher(self._write)

    async def __call__(self, event: NewEvent) -> Ingested:
        """Store an event and what is to be started for it; returns once that is committed."""
        return await self._batcher.put(event)

    async def all(self, events: Sequence[NewEvent]) -> Sequence[Ingested]:
        """Store events in their order, in as few transactions as they fit in.

        What it raises leaves open which of them are stored: all are to be given again.
        """
        return await self._batcher.put_all(events)

    @property
    def pressed(self) -> bool:
        """Tell whether many wait at the door: what is done behind it can wait a little."""
        return self._batcher.load >= _MANY

    async def _write(self, batch: Sequence[NewEvent]) -> Sequence[Ingested]:
        async with self._services.tasks.begin() as tx:
            return await store(tx, batch)


async def store(tx: Transaction, batch: Sequence[NewEvent]) -> Sequence[Ingested]:
    """Write events and what is to be started for them, in a transaction of the caller's."""
    mappings = await tx.mappings.event_mappings_for({event.key for event in batch})
    routed = [(event, route(event, mappings)) for event in batch]
    new = await tx.events.add(routed)
    jobs = [job for event, routes in routed if event.id in new for job in start_jobs(event, routes)]
    await tx.jobs.add(jobs)
    if jobs:
        tx.notify("jobs")
    known = [event for event in batch if event.id not in new]
    first = await tx.events.find_by_idempotency_key(known) if known else {}
    return [
        Ingested(event_id=event.id)
        if event.id in new
        else Ingested(event_id=first.get(event.id, event.id), duplicate=True)
        for event in batch
    ]


def route(event: NewEvent, mappings: Iterable[EventMapping]) -> tuple[Route, ...]:
    """Decide what each mapping makes of an event."""
    return tuple(
        _decide(event, mapping)
        for mapping in mappings
        if mapping.event_key in (event.key, EVERY_KEY)
    )


def _decide(event: NewEvent, mapping: EventMapping) -> Route:
    if mapping.suspended:
        reason: str | None = "the mapping is suspended"
    else:
        reason = reason_against(mapping.filter, event.key, event.payload, event.source)
    return Route(
        mapping_id=mapping.id,
        workflow_key=mapping.workflow_key,
        started=reason is None,
        reason=reason,
    )


def start_jobs(event: NewEvent, routes: Iterable[Route]) -> list[NewJob]:
    """Leave a job for each workflow that is to be started."""
    return [
        NewJob(
            id=derived_id("start", event.id, route.mapping_id),
            kind=JobKind.START_PROCESS,
            payload={"workflow_key": route.workflow_key, "mapping_id": str(route.mapping_id)},
            event_id=event.id,
        )
        for route in routes
        if route.started
    ]
