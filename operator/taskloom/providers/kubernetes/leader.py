"""Holds the Lease, and works only while it is held."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from taskloom.errors import Conflict, NotFound, Superseded, TaskloomError
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.lease import (
    Sighting,
    Step,
    decide,
    lease_body,
    released_body,
    sight,
)
from taskloom.providers.kubernetes.objects import LEASES, metadata_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds between two looks at the lease, and without an answer before the lead is given up.

    `deadline` is shorter than a lease lasts: whoever cannot renew stops before another starts.
    """

    look: float = 2.0
    deadline: float = 10.0


class Leader:
    """One candidate for a Lease; `me` tells it from all others, past ones too."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        me: str,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._me = me
        self._pace = pace or Pace()
        self._clock = clock or asyncio.get_running_loop().time
        self._now = now
        self._seen: Sighting | None = None
        self._renewed = 0.0

    @property
    def lease_uid(self) -> str:
        """The uid of the Lease as it was last seen; empty if it never was."""
        return "" if self._seen is None else str(metadata_of(self._seen.body).get("uid") or "")

    async def lead(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        standing_by: Callable[[], None] = lambda: None,
    ) -> None:
        """Run `work` whenever this candidate leads, until cancelled; what it raises is passed on.

        It is cancelled, and has ended, before another can lead; if it raises `Superseded`, which
        it may find out first after a long sleep, this candidate stands by again.
        `standing_by` is called when another leads.
        """
        while True:
            while not await self._try():
                if self._seen is not None and self._seen.holder:
                    standing_by()
                await asyncio.sleep(self._pace.look)
            log.info("kubernetes.leading", lease=self._name, identity=self._me)
            try:
                await self._work(work)
            except* Superseded:
                log.warning("kubernetes.superseded", lease=self._name, identity=self._me)
                await asyncio.sleep(self._pace.look)
            else:
                log.warning("kubernetes.lead-lost", lease=self._name, identity=self._me)

    async def _work(self, work: Callable[[], Awaitable[None]]) -> None:
        working = asyncio.ensure_future(work())
        holding = asyncio.create_task(self._hold())
        try:
            await asyncio.wait((working, holding), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = working.done()
            working.cancel()
            await asyncio.wait((working,))
            kept = not holding.done()
            holding.cancel()
            await asyncio.wait((holding,))
            if kept:
                await self._release()
        if ended:
            await working

    async def _hold(self) -> None:
        """Renew; return when another leads, or when it cannot be known that none does."""
        while True:
            await asyncio.sleep(self._pace.look)
            left = self._renewed + self._pace.deadline - self._clock()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    if not await self._step():
                        return
            except TimeoutError:
                return

    async def _try(self) -> bool:
        """Try to lead; a connection that has gone silent is not waited for long."""
        try:
            async with asyncio.timeout(self._pace.deadline / 2):
                return await self._step()
        except TimeoutError:
            log.warning("kubernetes.lease-unreachable", lease=self._name, error="too slow")
            return False

    async def _step(self) -> bool:
        """Look at the lease, do what is to be done, and tell whether it is held now."""
        try:
            return await self._attempt()
        except (Conflict, NotFound):
            return self.holds()  # another wrote it meanwhile: the next look tells who
        except TaskloomError as error:
            log.warning("kubernetes.lease-unreachable", lease=self._name, error=error.message)
            return self.holds()

    def holds(self) -> bool:
        """Tell whether the lead is this candidate's for all it knows.

        Asked before each write, it is right however long the process was stopped before.
        """
        held = self._seen is not None and self._seen.holder == self._me
        return held and self._clock() - self._renewed < self._pace.deadline

    async def _attempt(self) -> bool:
        self._seen = await self._look()
        started = self._clock()
        step = decide(self._seen, self._me, started)
        if step is Step.WAIT:
            return False
        body = lease_body(
            self._namespace, self._name, self._me, seen=self._seen, step=step, now=self._now()
        )
        if step is Step.CREATE:
            body = await self._create(body)
        else:
            body = await self._replace(body)
        self._seen = sight(body, self._seen, self._clock())
        self._renewed = started
        return True

    async def _look(self) -> Sighting | None:
        try:
            body = await self._cluster.get(LEASES, self._namespace, self._name)
        except NotFound:
            return None
        return sight(body, self._seen, self._clock())

    async def _create(self, body: dict[str, object]) -> dict[str, object]:
        return dict(await self._cluster.create(LEASES, self._namespace, body))

    async def _replace(self, body: dict[str, object]) -> dict[str, object]:
        return dict(await self._cluster.replace(LEASES, self._namespace, self._name, body))

    async def _release(self) -> None:
        """Let go of the lease, so that the next leader need not wait for its end."""
        if self._seen is None or self._seen.holder != self._me:
            return
        with contextlib.suppress(TaskloomError, TimeoutError):
            async with asyncio.timeout(3.0):
                self._seen = await self._look()
                if self._seen is not None and self._seen.holder == self._me:
                    await self._replace(released_body(self._seen, self._now()))
                    self._seen = None
