"""Which sources a process starts, stops and asks for: decided, not done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from taskloom.domain.sources import EventSource

MOST_SLOTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done; `claim` says how many processes may run each source."""

    stop: frozenset[UUID]
    start: tuple[EventSource, ...]
    release: frozenset[UUID]
    claim: Mapping[UUID, int]


def plan(
    sources: Mapping[UUID, EventSource],
    running: Mapping[UUID, EventSource],
    held: Mapping[UUID, int],
    slots_of: Callable[[EventSource], int],
) -> Plan:
    """Compare what is to run with what runs (or has not stopped yet) and what is held.

    A source that was changed is stopped, and started once it has; it keeps its slot.
    One whose slot was lost, or is beyond those it has now, is stopped.
    """
    may_run = {
        source_id: sources[source_id]
        for source_id, slot in held.items()
        if source_id in sources and slot < slots_of(sources[source_id])
    }
    return Plan(
        stop=frozenset(
            source_id for source_id, source in running.items() if may_run.get(source_id) != source
        ),
        start=tuple(source for source_id, source in may_run.items() if source_id not in running),
        release=frozenset(held.keys() - may_run.keys() - running.keys()),
        claim={
            source_id: slots
            for source_id, source in sources.items()
            if source_id not in held
            and source_id not in running
            and (slots := slots_of(source)) > 0
        },
    )


def slots_of(source: EventSource, *, exclusive: bool) -> int:
    """Tell how many processes may run a source at once; one if its kind is exclusive.

    Of the pods of its own each may: how many there are is not decided here.
    """
    replicas: int = source.spec["placement"]["replicas"]
    slots = MOST_SLOTS if source.pool is None else replicas
    return min(1, slots) if exclusive else slots
