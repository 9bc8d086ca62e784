"""Dead letters are given another try: as they are, or repaired, by the source as it is now."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from taskloom.domain.dead_letters import DeadLetter, DeadLetterState
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import EventSource, origin_of
from taskloom.errors import Conflict, NotFound, Unprocessable
from taskloom.flow.admit import NoEvent, PassedOver, admit, spec_of
from taskloom.flow.ingest import store
from taskloom.flow.services import Services
from taskloom.ports.connector import Incoming
from taskloom.resources.event_source import FormatKey

_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What to read in place of what came; None leaves it as it was."""

    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many became events, are passed over by the filter, or are no events still.

    `last` is the last one looked at, if there may be more after it.
    """

    replayed: int = 0
    filtered: int = 0
    invalid: int = 0
    last: UUID | None = None


NO_REPAIR = Repair()


async def replay_letter(
    services: Services, letter_id: UUID, repair: Repair = NO_REPAIR
) -> UUID | None:
    """Store a letter as an event, and give its id; None if the source's filter passes it over.

    Raises `NotFound`, `Conflict` if it is closed or its source is gone, and `Unprocessable` with
    the reason if it is no event still; it stays open then.
    """
    async with services.tasks.begin() as tx:
        letter = await tx.dead_letters.get(letter_id)
        sources = await tx.sources.all()
    if letter is None:
        raise NotFound(f"There is no dead letter {letter_id}.")
    if letter.state is not DeadLetterState.OPEN:
        raise Conflict(f"The dead letter {letter_id} is {letter.state} already.")
    source = source_of(letter.origin, sources)
    found = await _judge(services, source, letter, repair)
    if isinstance(found, NoEvent):
        raise Unprocessable(f"The message is no event still: {found.reason}")
    return await _settle(services, letter, found)


async def replay_source(
    services: Services,
    source: str,
    *,
    limit: int,
    after: UUID | None = None,
    dry_run: bool = False,
) -> Replayed:
    """Replay a source's open letters (``namespace/name``), the oldest first; or only count.

    So many from `after` one of them on, as what is no event still would be in the way else.
    Those that are no events still stay open, with the reason of now.
    """
    origin = f"source:{source}"
    async with services.tasks.begin() as tx:
        row = source_of(origin, await tx.sources.all())
    done = Replayed()
    left = limit
    while left > 0:
        async with services.tasks.begin() as tx:
            letters = await tx.dead_letters.open_of(origin, min(_BATCH, left), after)
        if not letters:
            return replace(done, last=None)
        for letter in letters:
            found = await _judge(services, row, letter, NO_REPAIR)
            done = _counted(done, found)
            if dry_run:
                continue
            with contextlib.suppress(Conflict):  # somebody else closed it meanwhile
                await _settle(services, letter, found)
        after, left = letters[-1].id, left - len(letters)
        done = replace(done, last=after)
    return done


async def discard_letter(services: Services, letter_id: UUID) -> None:
    """Close a letter: it is not to become an event."""
    async with services.tasks.begin() as tx:
        letter = await tx.dead_letters.get(letter_id)
        if letter is None:
            raise NotFound(f"There is no dead letter {letter_id}.")
        if not await tx.dead_letters.settle(letter_id, None):
            raise Conflict(f"The dead letter {letter_id} is {letter.state} already.")


def source_of(origin: str, sources: list[EventSource]) -> EventSource:
    """Find the source of an origin as it is now; `Conflict` if it is gone."""
    for source in sources:
        if origin_of(source) == origin:
            return source
    name = origin.removeprefix("source:")
    raise Conflict(
        f"There is no EventSource {name} to read it by: declare it again, or discard the letter."
    )


async def _judge(
    services: Services, source: EventSource, letter: DeadLetter, repair: Repair
) -> NewEvent | PassedOver | NoEvent:
    body = repair.body
    if body is None:
        async with services.tasks.begin() as tx:
            body = await tx.dead_letters.body(letter.id)
    message = Incoming(
        body=body,
        headers=letter.headers if repair.headers is None else repair.headers,
        idempotency_key=letter.once,
    )
    spec = spec_of(source)
    if repair.key is not None:
        key = FormatKey.model_validate({"literal": repair.key})
        form = spec.format.model_copy(update={"key": key})
        spec = spec.model_copy(update={"format": form})
    return admit(source, spec, message)


async def _settle(
    services: Services, letter: DeadLetter, found: NewEvent | PassedOver | NoEvent
) -> UUID | None:
    """Close it and store its event in one transaction: one of those who do so wins."""
    async with services.tasks.begin() as tx:
        if not await tx.dead_letters.lock(letter.id):
            raise Conflict(f"The dead letter {letter.id} was closed meanwhile.")
        if isinstance(found, NoEvent):
            await tx.dead_letters.still(letter.id, found.reason)
            return None
        event_id = (await store(tx, [found]))[0].event_id if isinstance(found, NewEvent) else None
        await tx.dead_letters.settle(letter.id, event_id)
        return event_id


def _counted(done: Replayed, found: NewEvent | PassedOver | NoEvent) -> Replayed:
    if isinstance(found, NewEvent):
        return replace(done, replayed=done.replayed + 1)
    if isinstance(found, PassedOver):
        return replace(done, filtered=done.filtered + 1)
    return replace(done, invalid=done.invalid + 1)
