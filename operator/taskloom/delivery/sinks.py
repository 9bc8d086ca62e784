"""The sinks of one process: it holds them by leases, each by one process, and produces to them."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from taskloom.delivery.producing import RunningSink, Surroundings
from taskloom.domain.sources import STATES, Standing
from taskloom.errors import Temporary
from taskloom.flow.services import Services
from taskloom.ports.sink import SinkConnector

log = structlog.get_logger()

CHANGED = "sinks"
"""Rung when a sink's row has changed, and by a sink that has news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """Seconds: how long a lease lasts unless it is renewed, and between two turns."""

    lease: float = 10.0
    turn: float = 3.0


class SinkHost:
    """Produces to the sinks that it holds; `holder` names this process as no other is named."""

    def __init__(
        self,
        services: Services,
        connectors: Mapping[str, SinkConnector],
        *,
        holder: str,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._services = services
        self._connectors = connectors
        self._holder = holder
        self._rhythm = rhythm or Rhythm()
        self._bell = services.tasks.bell
        self._around = Surroundings(
            database=services.tasks,
            bell=self._bell,
            now=services.now,
            news=lambda: self._bell.ring(CHANGED),
        )
        self._running: dict[UUID, RunningSink] = {}
        self._stopping: dict[UUID, asyncio.Task[None]] = {}
        self._told: dict[UUID, tuple[Any, ...]] = {}
        self._renewed_at = float("-inf")

    @property
    def running(self) -> Mapping[UUID, RunningSink]:
        """The sinks that are produced to here."""
        return self._running

    async def run(self) -> None:
        """Work until cancelled; then let every sink finish its batch, and let go of all."""
        try:
            while True:
                try:
                    await self._turn()
                except Temporary as error:
                    log.warning("sinks.turn-later", error=error.message)
                    self._let_go_of_lost()
                await self._bell.wait(CHANGED, self._rhythm.turn)
        finally:
            for sink_id in self._running:
                self._begin_to_stop(sink_id)
            if self._stopping:
                await asyncio.wait(list(self._stopping.values()))

    async def _turn(self) -> None:
        """Read the sinks, hold those that are free, stop and start, tell."""
        started = asyncio.get_running_loop().time()
        async with self._services.tasks.begin() as tx:
            sinks = {
                sink.id: sink
                for sink in await tx.sinks.all()
                if not sink.suspended and sink.kind in self._connectors
            }
            held = await tx.sink_states.hold(
                self._holder, sinks.keys() | self._running.keys(), self._lease
            )
        self._renewed_at = started
        for sink_id, running in self._running.items():
            if sink_id not in held or sinks.get(sink_id) != running.sink:
                self._begin_to_stop(sink_id)
        for sink_id in held & sinks.keys() - self._running.keys():
            sink = sinks[sink_id]
            self._running[sink_id] = RunningSink(sink, self._connectors[sink.kind], self._around)
            self._running[sink_id].start()
        await self._tell(held)

    async def _tell(self, held: set[UUID]) -> None:
        """Write what has changed."""
        news: dict[UUID, Standing] = {}
        for sink_id, running in self._running.items():
            standing = running.standing
            if sink_id in held and self._told.get(sink_id) != _state(standing):
                news[sink_id] = standing
        if not news:
            return
        async with self._services.tasks.begin() as tx:
            await tx.sink_states.tell(self._holder, news)
            tx.notify(STATES)
        self._told |= {sink_id: _state(standing) for sink_id, standing in news.items()}

    def _begin_to_stop(self, sink_id: UUID) -> None:
        """Stop a sink beside the turns: however long it takes, the other leases are renewed."""
        if sink_id in self._stopping:
            return

        async def stop() -> None:
            await self._running[sink_id].stop()
            with contextlib.suppress(Temporary):  # then the lease ends by itself
                async with self._services.tasks.begin() as tx:
                    await tx.sink_states.release(self._holder, [sink_id])
            del self._running[sink_id], self._stopping[sink_id]
            self._told.pop(sink_id, None)
            self._bell.ring(CHANGED)

        self._stopping[sink_id] = asyncio.create_task(stop())

    def _let_go_of_lost(self) -> None:
        """Stop what another may hold by now: the leases could not be renewed in time."""
        if asyncio.get_running_loop().time() - self._renewed_at >= self._rhythm.lease:
            for sink_id in self._running:
                self._begin_to_stop(sink_id)

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._rhythm.lease)


def _state(standing: Standing) -> tuple[Any, datetime, str]:
    return (standing.reason or standing.state), standing.since, standing.message
