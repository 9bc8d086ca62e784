"""Keeps the database at what the cluster declares: list, watch, reconcile, tell.

::

    list everything ─► mirror ◄─ feed ◄─ watch
                         │
              pause for the rest of a burst
                         │
                     snapshot ─► reconcile ─► statuses
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from taskloom.domain.conditions import Reason
from taskloom.errors import NotFound, Superseded, TaskloomError, Temporary, Unavailable
from taskloom.providers.kubernetes.announce import Announcer
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.feed import Feed
from taskloom.providers.kubernetes.finalizer import keep_finalizers
from taskloom.providers.kubernetes.glance import Glance
from taskloom.providers.kubernetes.meters import Meters
from taskloom.providers.kubernetes.mirror import Listing, Mirror, News, Seen
from taskloom.providers.kubernetes.notices import Notice, notices_of
from taskloom.providers.kubernetes.objects import DATA, OURS, ResourceType
from taskloom.providers.kubernetes.outage import Outages, verdicts_of
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.secrets import look_up
from taskloom.providers.kubernetes.tell import Teller
from taskloom.reconcilers.reconcile import Report
from taskloom.reconcilers.snapshot import SKEW, Key, Snapshot
from taskloom.reconcilers.verdict import Verdict
from taskloom.runtime.pulse import Pulse
from taskloom.runtime.vitals import Vitals

log = structlog.get_logger()

_PATIENCE = 300.0
_LONGEST_FIRST_PAUSE = 5.0  # definitions often come seconds after their operator
_SIGN = "reconciliation"
_TURN = 50
"""Objects that are looked at before others have their turn."""
_MANY = 50
"""ConfigMaps and Secrets that are listed rather than asked for one by one."""

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
    tick: float = 0.5
    """The least often that parts are seen to, and a sign of life is shown."""
    glance: float = 2.0
    """The least between two looks at what changes without anybody declaring it."""
    grace: float = 10.0
    """How long an outage lasts before the objects in force are told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """How often it is looked at what, which parts are watched, and where signs of life go.

    A part is named by the reason that is told while it does not answer.
    Whoever sets `asked` asks for a reconciliation: something else than objects has changed.
    """

    rhythm: Rhythm = field(default_factory=Rhythm)
    pulses: Mapping[Reason, Pulse] = field(default_factory=dict)
    vitals: Vitals = field(default_factory=Vitals)
    meters: Meters = field(default_factory=Meters)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class Follower:
    """Follows one cluster for as long as it leads."""

    def __init__(
        self,
        cluster: Cluster,
        scope: Scope,
        mirror: Mirror,
        reconcile: Callable[[Snapshot], Awaitable[Report]],
        *,
        surroundings: Surroundings | None = None,
        announcer: Announcer | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._scope = scope
        self._mirror = mirror
        self._reconcile = reconcile
        surroundings = surroundings or Surroundings()
        self._rhythm = surroundings.rhythm
        self._now = now
        self._announcer = announcer or Announcer(cluster)
        self._teller = Teller(cluster, mirror, changed=self._announce)
        self._feed = Feed()
        self._missing: set[str] = set()  # kinds whose definitions are gone
        self._looking = False  # whether the next reconciliation is a look at everything
        self._since: datetime | None = None  # when the last listing of everything began
        self._unsure = False  # whether something may be gone that a listing will tell
        self._moment: datetime | None = None  # when the next reconciliation is due in any case
        self._glance = Glance(self._rhythm.glance)
        self._outages = Outages(surroundings.pulses, self._rhythm.grace)
        self._vitals = surroundings.vitals
        self._meters = surroundings.meters
        self._oldest: float | None = None  # when the oldest change came that is not reconciled
        self._asked = surroundings.asked
        self._ending: asyncio.Future[Report] | None = None

    async def run(self, watch: Watch) -> None:
        """List, watch and reconcile until cancelled."""
        await self._list_at_last()
        self._feed.take_renewal()  # the watch begins only now
        try:
            async with watch(self._feed), asyncio.TaskGroup() as group:
                group.create_task(self._teller.write())
                group.create_task(self._announcer.write())
                group.create_task(self._outages.watch())
                group.create_task(self._pass_on())
                await self._work()
        finally:
            self._vitals.end(_SIGN)
            await self._glance.end()
            await self._end()

    async def _pass_on(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._feed.ask()

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        rhythm, failures, due = self._rhythm, 0, clock()
        listed_at, look = due, due + rhythm.resync
        while True:
            self._beat()
            self._note_age()
            if await self._feed.wait(min(due - clock(), rhythm.tick)):
                changed, lost = await self._take_burst()
                if lost:  # the watch began anew: what went meanwhile it cannot tell
                    known = not self._feed.take_break()
                    look = min(look, listed_at + rhythm.relist if known else clock())
                    due = min(due, look)
                if changed:
                    due = clock()
            if self._outages.ended():
                due = clock()
            if clock() < due:
                await self._tell_outage()
                await self._tell_glance()
                continue
            well = True
            if clock() >= look:
                self._looking = True
                well, listed_at = await self._list_all(), clock()
                look = listed_at + rhythm.resync
            listed_well, well = well, await self._attempt() and well
            failures = 0 if well else failures + 1
            pause = min(rhythm.retry * 2 ** min(failures, 10) / 2, rhythm.longest_retry)
            look = min(look, self._doubt_ends(listed_at)) if listed_well else clock() + pause
            due = look if well else min(look, clock() + pause)
            if self._moment is not None:
                due = min(due, clock() + (self._moment - self._now()).total_seconds())

    def _doubt_ends(self, listed_at: float) -> float:
        """Give the moment from which a listing tells whether something is gone."""
        if not self._unsure:
            return math.inf
        return listed_at + SKEW.total_seconds() + self._rhythm.retry

    async def _take_burst(self) -> tuple[bool, bool]:
        """Take news until it is quiet; tell if what is declared changed, and if news were missed.

        A hundred changes at once are one reconciliation.
        """
        clock = asyncio.get_running_loop().time
        end, changed, lost = clock() + self._rhythm.burst, False, False
        while True:
            events, missed = self._feed.drain()
            lost |= missed
            changed |= self._feed.take_request()
            self._note_age()
            for count, event in enumerate(events, 1):
                news = self._mirror.take(event.body, deleted=event.deleted)
                changed |= news is News.DECLARED
                if count % _TURN == 0:
                    await asyncio.sleep(0)
            if changed and self._oldest is None:
                self._oldest = clock()
            left = min(self._rhythm.quiet, end - clock())
            if not changed or left <= 0 or not await self._feed.wait(left):
                return changed, lost

    async def _attempt(self) -> bool:
        """Reconcile once and tell of it; give whether that is all for now."""
        clock = asyncio.get_running_loop().time
        began, oldest = clock(), self._oldest
        self._oldest = None
        outcome = await self._attempt_once()
        if outcome in ("put_off", "failed"):
            self._oldest = oldest
        else:
            self._meters.reconciled_at.set(self._now().timestamp())
        self._meters.reconcile_seconds.labels(outcome).observe(clock() - began)
        self._note_age()
        return outcome == "done"

    def _note_age(self) -> None:
        clock = asyncio.get_running_loop().time
        self._meters.queue_age.set(0.0 if self._oldest is None else clock() - self._oldest)
        self._meters.statuses_waiting.set(self._teller.waiting)

    async def _attempt_once(self) -> str:
        self._moment = None
        await self._glance.end()
        try:
            await self._look_up()
        except Temporary as error:
            log.warning("kubernetes.reconcile-later", error=error.message)
            return "put_off"
        judged = dict(self._mirror.selected())
        snapshot = replace(self._mirror.snapshot(), look=self._looking, since=self._since)
        try:
            report = await self._reconciled(snapshot)
        except Temporary as error:
            log.warning("kubernetes.reconcile-later", error=error.message)
            await self._put_off(judged, Reason.DATABASE_UNAVAILABLE, error.message)
            return "put_off"
        except Superseded:
            raise
        except Exception as error:
            # A fault in one object must not end the watch on all others.
            log.exception("kubernetes.reconcile-failed")
            await self._put_off(judged, Reason.INTERNAL_ERROR, type(error).__name__)
            return "failed"
        if report.engine_error:
            await self._put_off(judged, Reason.ENGINE_UNAVAILABLE, report.engine_error)
        self._moment, self._looking, self._unsure = report.due, False, report.unsure
        for kind, _, _ in report.repaired:
            self._meters.repaired.labels(kind).inc()
        self._announce_remade(judged, report.remade)
        held = await keep_finalizers(
            self._cluster, self._mirror, judged, report.verdicts, report.released
        )
        count = await self._tell(judged, report.verdicts)
        self._glance.begin(judged, report.look)
        if report.changes or count:
            ready = sum(verdict.ready for verdict in report.verdicts.values())
            log.info(
                "kubernetes.reconciled",
                changes=report.changes,
                ready=ready,
                not_ready=len(report.verdicts) - ready,
                statuses=count,
            )
        return "done" if held and not report.retry else "retry"

    async def _reconciled(self, snapshot: Snapshot) -> Report:
        """Reconcile; a database that does not answer any more is not waited for."""
        await self._end()
        outage = self._outages.of(Reason.DATABASE_UNAVAILABLE)
        if outage is not None:
            raise Unavailable(outage.error)
        reconciling = self._ending = asyncio.ensure_future(self._reconcile(snapshot))
        while True:
            await asyncio.wait((reconciling,), timeout=self._rhythm.tick)
            outage = self._outages.of(Reason.DATABASE_UNAVAILABLE)
            if outage is not None:
                self._beat()  # it is not stuck, it waits
            if reconciling.done():
                self._ending = None
                return reconciling.result()
            if outage is not None:
                raise Unavailable(outage.error)

    async def _end(self) -> None:
        """Wait until a reconciliation that was given up has ended."""
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait((self._ending,))
            if not self._ending.cancelled():
                self._ending.exception()
            self._ending = None

    async def _put_off(self, judged: Mapping[Key, Seen], reason: Reason, error: str) -> None:
        """Tell why objects wait, and if that lasts, those in force too."""
        outage = self._outages.of(reason, error)
        if outage is not None:
            await self._tell(judged, verdicts_of(judged, outage))

    def _announce(
        self, key: Key, seen: Seen, former: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        for notice in notices_of(key, seen.uid, OURS[key[0]].api_version, former, status):
            self._announcer.announce(notice)

    def _announce_remade(self, judged: Mapping[Key, Seen], remade: Mapping[Key, str]) -> None:
        for key, name in remade.items():
            log.warning("credentials.secret-remade", namespace=key[1], secret=name)
            if key in judged:
                self._announcer.announce(
                    Notice(
                        key=key,
                        uid=judged[key].uid,
                        api_version=OURS[key[0]].api_version,
                        reason="SecretRemade",
                        note=f"there was no Secret {name}: it was made with the values in force",
                    )
                )

    async def _tell_outage(self) -> None:
        """Tell the objects in force of an outage that has come to last."""
        outage = self._outages.to_tell()
        if outage is not None:
            judged = dict(self._mirror.selected())
            log.warning("kubernetes.outage-lasts", reason=outage.reason, error=outage.error)
            await self._tell(judged, verdicts_of(judged, outage))

    async def _tell_glance(self) -> None:
        """Tell what has changed without anybody declaring it."""
        if self._outages.of(Reason.DATABASE_UNAVAILABLE) is None:
            judged, verdicts = self._glance.take()
            if verdicts:
                await self._tell(judged, verdicts)
                here = {key: seen for key in verdicts if (seen := self._mirror.seen(key))}
                if not await keep_finalizers(self._cluster, self._mirror, here, verdicts):
                    self._feed.ask()  # a reconciliation tries again until it stands

    def _beat(self) -> None:
        """Show a sign of life; where looks are rare it need not be often."""
        for reason, seconds in self._outages.silences():
            self._meters.outage.labels(reason).set(seconds)
        self._vitals.beat(_SIGN, within=max(3 * self._rhythm.resync, _PATIENCE))

    async def _tell(self, judged: Mapping[Key, Seen], verdicts: Mapping[Key, Verdict]) -> int:
        count = await self._teller.tell(judged, verdicts, self._now())
        await self._teller.wake()
        self._meters.show(judged, verdicts)
        return count

    async def _list_at_last(self) -> None:
        """List everything, however long that takes; nothing is done before."""
        pause = self._rhythm.retry
        while not await self._list_all():
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._rhythm.longest_retry, _LONGEST_FIRST_PAUSE)

    async def _list_all(self) -> bool:
        """List every kind; tell whether that went well.

        What could not be listed stays as it is.
        """
        well, began = True, self._now()
        for type_ in OURS.values():
            for place in self._scope.places:
                well &= await self._list(type_, place)
        if well and self._mirror.unknown() | self._mirror.references:
            for type_ in DATA.values():
                for place in self._scope.places:
                    well &= await self._list(type_, place)
        if well:
            self._since = began
            self._meters.listed_at.set(self._now().timestamp())
        return well

    async def _list(
        self,
        type_: ResourceType,
        place: str | None,
    ) -> bool:
        listing: Listing | None = None
        try:
            async for page in self._cluster.pages(type_, place):
                if listing is None:
                    listing = self._mirror.listing(type_.kind, place, page.version)
                for start in range(0, len(page.items), _TURN):
                    listing.take(page.items[start : start + _TURN])
                    await asyncio.sleep(0)
        except NotFound:
            log.warning("kubernetes.kind-missing", kind=type_.kind, crd=f"{type_.plural}")
            self._missing.add(type_.kind)
            return False
        except TaskloomError as error:
            log.warning("kubernetes.not-listed", kind=type_.kind, error=error.message)
            return False
        if listing is not None:
            listing.end()
        if type_.kind in self._missing:
            self._missing.discard(type_.kind)
            self._feed.renew()
        return True

    async def _look_up(self) -> None:
        """Look up the data that objects have come to refer to."""
        unknown = self._mirror.unknown()
        if len(unknown) > _MANY:
            for type_ in DATA.values():
                if any(key[0] == type_.kind for key in unknown):
                    for place in self._scope.places:
                        await self._list(type_, place)
        for key in sorted(self._mirror.unknown()):
            try:
                await look_up(self._cluster, self._mirror, key)
            except Temporary:
                raise
            except TaskloomError as error:
                raise Unavailable(error.message) from error
