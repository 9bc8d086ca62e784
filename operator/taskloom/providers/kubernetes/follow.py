"""Keeps the database at what the cluster declares: list, watch, reconcile, tell.

::

    list everything ─► mirror ◄─ feed ◄─ watch
                         │
              pause for the rest of a burst
                         │
                     snapshot ─► reconcile ─► statuses
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from taskloom.domain.conditions import Reason
from taskloom.errors import NotFound, Superseded, TaskloomError, Temporary, Unavailable
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.feed import Feed
from taskloom.providers.kubernetes.finalizer import keep_finalizers
from taskloom.providers.kubernetes.mirror import PROVIDER, Mirror, News, Seen
from taskloom.providers.kubernetes.objects import DATA, OURS, Body, ResourceType
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.secrets import look_up
from taskloom.providers.kubernetes.tell import Teller
from taskloom.reconcilers.desired import Desired, manager_of
from taskloom.reconcilers.reconcile import Report
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.reconcilers.verdict import Verdict, unavailable

log = structlog.get_logger()

Watch = Callable[[Feed], AbstractAsyncContextManager[None]]
"""Fills a feed as long as its block lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """Seconds: of quiet that end a burst, of the longest burst, between two looks at everything.

    What failed is tried again after `retry`, then twice as long each time up to `longest_retry`.
    """

    quiet: float = 0.2
    burst: float = 3.0
    resync: float = 300.0
    retry: float = 1.0
    longest_retry: float = 30.0
    relist: float = 60.0
    """The least between two looks at everything, when the watch had to begin anew."""


class Follower:
    """Follows one cluster for as long as it leads."""

    def __init__(
        self,
        cluster: Cluster,
        scope: Scope,
        mirror: Mirror,
        reconcile: Callable[[Snapshot], Awaitable[Report]],
        *,
        rhythm: Rhythm | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._scope = scope
        self._mirror = mirror
        self._reconcile = reconcile
        self._rhythm = rhythm or Rhythm()
        self._now = now
        self._teller = Teller(cluster, mirror)
        self._feed = Feed()
        self._moment: datetime | None = None  # when the next reconciliation is due in any case

    async def run(self, watch: Watch) -> None:
        """List, watch and reconcile until cancelled."""
        await self._list_at_last()
        async with watch(self._feed), asyncio.TaskGroup() as group:
            group.create_task(self._teller.write())
            await self._work()

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        rhythm, failures, due = self._rhythm, 0, clock()
        listed_at, look = due, due + rhythm.resync
        while True:
            if await self._feed.wait(due - clock()):
                changed, lost = await self._take_burst()
                if lost:  # the watch began anew: what went meanwhile it cannot tell
                    look = min(look, listed_at + rhythm.relist)
                    due = min(due, look)
                if not changed and clock() < due:
                    continue
            well = True
            if clock() >= look:
                well, listed_at = await self._list_all(), clock()
                look = listed_at + rhythm.resync
            listed_well, well = well, await self._attempt() and well
            failures = 0 if well else failures + 1
            pause = min(rhythm.retry * 2 ** min(failures, 10) / 2, rhythm.longest_retry)
            if not listed_well:
                look = clock() + pause
            due = look if well else min(look, clock() + pause)
            if self._moment is not None:
                due = min(due, clock() + (self._moment - self._now()).total_seconds())

    async def _take_burst(self) -> tuple[bool, bool]:
        """Take news until it is quiet; tell if what is declared changed, and if news were missed.

        A hundred changes at once are one reconciliation.
        """
        clock = asyncio.get_running_loop().time
        end, changed, lost = clock() + self._rhythm.burst, False, False
        while True:
            events, missed = self._feed.drain()
            lost |= missed
            for event in events:
                news = self._mirror.take(event.body, deleted=event.deleted)
                changed |= news is News.DECLARED
            left = min(self._rhythm.quiet, end - clock())
            if not changed or left <= 0 or not await self._feed.wait(left):
                return changed, lost

    async def _attempt(self) -> bool:
        """Reconcile once and tell of it; give whether that is all for now."""
        self._moment = None
        try:
            await self._look_up()
        except Temporary as error:
            log.warning("kubernetes.reconcile-later", error=error.message)
            return False
        judged, snapshot = dict(self._mirror.selected()), self._mirror.snapshot()
        try:
            report = await self._reconcile(snapshot)
        except Temporary as error:
            log.warning("kubernetes.reconcile-later", error=error.message)
            await self._tell(judged, _put_off(judged, error))
            return False
        except Superseded:
            raise
        except Exception:
            # A fault in one object must not end the watch on all others.
            log.exception("kubernetes.reconcile-failed")
            return False
        self._moment = report.due
        held = await keep_finalizers(self._cluster, self._mirror, judged, report.released)
        count = await self._tell(judged, report.verdicts)
        if report.changes or count:
            ready = sum(verdict.ready for verdict in report.verdicts.values())
            log.info(
                "kubernetes.reconciled",
                changes=report.changes,
                ready=ready,
                not_ready=len(report.verdicts) - ready,
                statuses=count,
            )
        return held and not report.retry

    async def _tell(self, judged: dict[Key, Seen], verdicts: Mapping[Key, Verdict]) -> int:
        count = self._teller.tell(judged, verdicts, self._now())
        await self._teller.wake()
        return count

    async def _list_at_last(self) -> None:
        """List everything, however long that takes; nothing is done before."""
        pause = self._rhythm.retry
        while not await self._list_all():
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._rhythm.longest_retry)

    async def _list_all(self) -> bool:
        """List every kind; tell whether that went well.

        What could not be listed stays as it is.
        """
        well = True
        for type_ in OURS.values():
            for place in self._scope.places:
                well &= await self._list(type_, place, self._take_objects)
        if well and self._mirror.unknown() | self._mirror.references:
            for type_ in DATA.values():
                for place in self._scope.places:
                    well &= await self._list(type_, place, self._take_data)
        return well

    async def _list(
        self,
        type_: ResourceType,
        place: str | None,
        take: Callable[[ResourceType, str | None, list[Body], int], None],
    ) -> bool:
        bodies: list[Body] = []
        version = 0
        try:
            async for page in self._cluster.pages(type_, place):
                version = version or page.version
                # Of other people's data only what is referred to is kept in memory.
                bodies += [body for body in page.items if self._is_wanted(type_, body)]
        except NotFound:
            log.warning("kubernetes.kind-missing", kind=type_.kind, crd=f"{type_.plural}")
            return False
        except TaskloomError as error:
            log.warning("kubernetes.not-listed", kind=type_.kind, error=error.message)
            return False
        take(type_, place, bodies, version)
        return True

    def _is_wanted(self, type_: ResourceType, body: Body) -> bool:
        if type_.kind in OURS:
            return True
        metadata = body.get("metadata") or {}
        key = (type_.kind, str(metadata.get("namespace")), str(metadata.get("name")))
        return key in self._mirror.references

    def _take_objects(
        self, type_: ResourceType, place: str | None, bodies: list[Body], version: int
    ) -> None:
        self._mirror.take_listing(type_.kind, place, bodies, version)

    def _take_data(
        self, type_: ResourceType, place: str | None, bodies: list[Body], version: int
    ) -> None:
        self._mirror.take_data_listing(type_.kind, place, bodies, version)

    async def _look_up(self) -> None:
        """Look up the data that objects have come to refer to."""
        for key in sorted(self._mirror.unknown()):
            try:
                await look_up(self._cluster, self._mirror, key)
            except Temporary:
                raise
            except TaskloomError as error:
                raise Unavailable(error.message) from error


def _put_off(judged: dict[Key, Seen], error: Temporary) -> dict[Key, Verdict]:
    """Tell of each object that waits to be reconciled why it does."""
    verdicts = {}
    for key, seen in judged.items():
        waits = seen.status.get("observedGeneration") != seen.generation
        if not waits or seen.declared is None:
            continue
        desired = Desired(
            resource=seen.declared.resource,
            manager=manager_of(PROVIDER, key),
            generation=seen.generation,
            created_on=datetime.min.replace(tzinfo=UTC),
        )
        verdicts[key] = unavailable(desired, Reason.DATABASE_UNAVAILABLE, error.message)
    return verdicts
