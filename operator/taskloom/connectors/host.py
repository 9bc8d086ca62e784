"""The role `connectors` of one process: it holds sources by leases and runs what it holds."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from taskloom.connectors.assignments import Plan, plan, slots_of
from taskloom.connectors.registry import Connectors
from taskloom.connectors.running import RunningSource, Surroundings
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.sources import STATES, EventSource, Standing, origin_of
from taskloom.errors import Temporary
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services

log = structlog.get_logger()

CHANGED = "sources"
"""Rung when a source's row has changed, and by a connector that has news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """Seconds: how long a lease lasts unless it is renewed; between two turns, reads, reports."""

    lease: float = 10.0
    turn: float = 3.0
    read: float = 15.0  # unless a change is told
    figures: float = 30.0  # changes of state are told at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Which sources are a process's business: a pool's, or one that has pods of its own."""

    name: str = "default"
    source: tuple[str, str] | None = None  # namespace and name


class Host:
    """Runs the sources of a pool; `holder` names this process as no other is named."""

    def __init__(
        self,
        services: Services,
        connectors: Connectors,
        ingest: Ingest,
        *,
        holder: str,
        pool: Pool,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._services = services
        self._connectors = connectors
        self._holder = holder
        self._pool = pool
        self._rhythm = rhythm or Rhythm()
        self._bell = services.tasks.bell
        self._around = Surroundings(
            ingest=ingest.all,
            keep=self._keep,
            position=self._position,
            move=self._move,
            now=services.now,
            news=lambda: self._bell.ring(CHANGED),
        )
        self._sources: Mapping[UUID, EventSource] = {}
        self._held: dict[UUID, int] = {}
        self._running: dict[UUID, RunningSource] = {}
        self._stopping: dict[UUID, asyncio.Task[None]] = {}
        self._told: dict[UUID, Standing] = {}
        self._dead_letters: Mapping[str, int] = {}
        self._told_at = self._read_at = self._renewed_at = float("-inf")

    @property
    def running(self) -> Mapping[UUID, RunningSource]:
        """The sources that run here."""
        return self._running

    def dead_letters(self, source: EventSource) -> int:
        """Tell how many open dead letters a source has, as it was found last."""
        return self._dead_letters.get(origin_of(source), 0)

    async def run(self) -> None:
        """Work until cancelled; then let every source finish what is in hand, and let go of all."""
        rang = True
        try:
            while True:
                try:
                    await self._turn(rang=rang)
                except Temporary as error:
                    log.warning("connectors.turn-later", error=error.message)
                    self._let_go_of_lost()
                rang = await self._bell.wait(CHANGED, self._rhythm.turn)
        finally:
            await self._end()

    async def _turn(self, *, rang: bool) -> None:
        """Read, renew, act, claim, tell."""
        clock = asyncio.get_running_loop().time
        if rang or clock() - self._read_at >= self._rhythm.read:
            self._sources = await self._read()
            self._read_at = clock()
        await self._renew()
        await self._carry_out(self._plan())
        if await self._claim(self._plan()):
            await self._carry_out(self._plan())
        await self._tell()

    def _plan(self) -> Plan:
        running = {source_id: each.source for source_id, each in self._running.items()}
        return plan(self._sources, running, self._held, self._slots_of)

    def _slots_of(self, source: EventSource) -> int:
        return slots_of(source, exclusive=self._connectors.of(source.kind).exclusive)

    async def _read(self) -> Mapping[UUID, EventSource]:
        kinds = self._connectors.kinds
        async with self._services.tasks.begin() as tx:
            if self._pool.source is None:
                found = await tx.sources.in_pool(kinds, self._pool.name)
            else:
                found = await tx.sources.dedicated(kinds, *self._pool.source)
        return {source.id: source for source in found}

    async def _renew(self) -> None:
        """Renew what is held; what another has taken, or went with its row, is held no more."""
        started = asyncio.get_running_loop().time()
        if self._held:
            async with self._services.tasks.begin() as tx:
                kept = await tx.source_states.renew(self._holder, self._held.items(), self._lease)
            for lost in self._held.keys() - {source_id for source_id, _ in kept}:
                log.warning("source.lost", source=str(lost))
                del self._held[lost]
        self._renewed_at = started

    async def _claim(self, wanted: Plan) -> bool:
        """Ask for what nobody holds; tell whether that gave anything."""
        if not wanted.claim:
            return False
        async with self._services.tasks.begin() as tx:
            taken = await tx.source_states.claim(self._holder, wanted.claim, self._lease)
        self._held |= taken
        return bool(taken)

    async def _carry_out(self, decided: Plan) -> None:
        for source_id in decided.stop:
            self._begin_to_stop(source_id)
        for source in decided.start:
            running = RunningSource(source, self._connectors.of(source.kind), self._around)
            self._running[source.id] = running
            self._told.pop(source.id, None)
            running.start()
        await self._release({each: self._held[each] for each in decided.release})

    def _begin_to_stop(self, source_id: UUID) -> None:
        """Stop a source beside the turns: however long it takes, the other leases are renewed."""
        if source_id in self._stopping:
            return

        async def stop() -> None:
            await self._running[source_id].stop()
            del self._running[source_id], self._stopping[source_id]
            self._bell.ring(CHANGED)

        self._stopping[source_id] = asyncio.create_task(stop())

    async def _stop_all(self) -> None:
        for source_id in self._running:
            self._begin_to_stop(source_id)
        if self._stopping:
            await asyncio.wait(list(self._stopping.values()))

    async def _release(self, slots: Mapping[UUID, int]) -> None:
        for source_id in slots:
            del self._held[source_id]
            self._told.pop(source_id, None)
        if slots:
            async with self._services.tasks.begin() as tx:
                await tx.source_states.release(self._holder, slots.items())
                tx.notify(STATES)

    async def _tell(self) -> None:
        """Write what has changed: states at once, figures now and then."""
        clock = asyncio.get_running_loop().time
        figures = clock() - self._told_at >= self._rhythm.figures
        news = {}
        turned = False
        for source_id, running in self._running.items():
            if source_id not in self._held:
                continue
            before, after = self._told.get(source_id), running.standing
            changed = before is None or _state(before) != _state(after)
            turned |= changed
            if changed or (figures and before != after):
                news[source_id, self._held[source_id]] = after
        if figures:
            self._told_at = clock()
            async with self._services.tasks.begin() as tx:
                self._dead_letters = await tx.dead_letters.open_by_source()
        if not news:
            return
        async with self._services.tasks.begin() as tx:
            await tx.source_states.tell(self._holder, news)
            if turned:
                tx.notify(STATES)
        self._told |= {source_id: standing for (source_id, _), standing in news.items()}

    def _let_go_of_lost(self) -> None:
        """Stop what another may hold by now: the leases could not be renewed in time."""
        if asyncio.get_running_loop().time() - self._renewed_at >= self._rhythm.lease:
            self._held.clear()
            for source_id in self._running:
                self._begin_to_stop(source_id)

    async def _end(self) -> None:
        await self._stop_all()
        with contextlib.suppress(Temporary):  # then the leases end by themselves
            await self._release(dict(self._held))

    async def _keep(self, letters: Sequence[NewDeadLetter]) -> None:
        async with self._services.tasks.begin() as tx:
            await tx.dead_letters.add(letters)

    async def _position(self, source: EventSource) -> str | None:
        async with self._services.tasks.begin() as tx:
            return await tx.source_states.position(source.id)

    async def _move(self, source: EventSource, position: str) -> None:
        async with self._services.tasks.begin() as tx:
            await tx.source_states.move(self._holder, source.id, position)

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._rhythm.lease)


def _state(standing: Standing) -> tuple[object, ...]:
    return (standing.state, standing.reason, standing.message)
