"""Statuses on their way to the cluster: the newest of each object, by a few writers at once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog

from taskloom.errors import Conflict, NotFound, Superseded, TaskloomError, Temporary
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.mirror import Mirror, Seen
from taskloom.providers.kubernetes.objects import OURS
from taskloom.providers.kubernetes.status import is_told, status_of
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict

log = structlog.get_logger()

WRITERS = 16
_TURN = 100
"""Objects that are looked at before others have their turn."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The status that an object of that uid should have, kept as JSON: many may wait."""

    uid: str
    written: bytes

    @property
    def status(self) -> Mapping[str, Any]:
        """The status, read anew each time."""
        made: dict[str, Any] = msgspec.json.decode(self.written)
        return made


class Teller:
    """Writes statuses; one that stands already is not written again.

    `sleep` waits before a write is tried again.
    `changed` is told of each object's former status and its new one.
    """

    def __init__(
        self,
        cluster: Cluster,
        mirror: Mirror,
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
        changed: Callable[[Key, Seen, Mapping[str, Any], Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._mirror = mirror
        self._sleep = sleep
        self._changed = changed
        self._wanted: dict[Key, _Wanted] = {}
        self._waiting: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._filled = asyncio.Condition()

    async def tell(
        self, judged: Mapping[Key, Seen], verdicts: Mapping[Key, Verdict], now: datetime
    ) -> int:
        """Note what became of the objects as they were judged; give how many are to be written.

        Only what does not stand there yet is noted.
        """
        count = 0
        for key in self._wanted.keys() - judged.keys():
            del self._wanted[key]
            self._waiting.pop(key, None)
        for number, (key, seen) in enumerate(judged.items(), 1):
            if number % _TURN == 0:
                await asyncio.sleep(0)
            verdict = verdicts.get(key)
            if verdict is not None:
                count += self._note(key, seen, verdict, now)
        return count

    def _note(self, key: Key, seen: Seen, verdict: Verdict, now: datetime) -> bool:
        """Note what became of one object; tell whether it is to be written."""
        before, present = self._wanted.get(key), self._mirror.seen(key)
        former = seen.status
        if before is not None and before.uid == seen.uid:
            former = before.status  # it may be on its way still
        elif present is not None and present.uid == seen.uid:
            former = present.status  # it may have been written since
            if verdict.stands(former, seen.generation):
                return False
        status = status_of(verdict, former, seen.generation, now)
        self._wanted[key] = _Wanted(uid=seen.uid, written=msgspec.json.encode(status))
        if self._changed is not None and status != former:
            self._changed(key, seen, former, status)
        if self._is_told(key):
            self._waiting.pop(key, None)
            self._forget(key)
            return False
        self._waiting[key] = None
        return True

    def _forget(self, key: Key) -> None:
        """Keep no status that stands: there are many."""
        if key not in self._busy and self._is_told(key):
            self._wanted.pop(key, None)

    async def write(self) -> None:
        """Write what is noted until cancelled, `WRITERS` at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._work())

    async def wake(self) -> None:
        """Let the writers look for work."""
        async with self._filled:
            self._filled.notify_all()

    async def settled(self) -> None:
        """Wait until everything noted is written."""
        async with self._filled:
            await self._filled.wait_for(lambda: not self._waiting and not self._busy)

    @property
    def waiting(self) -> int:
        """How many statuses are not written yet."""
        return len(self._waiting) + len(self._busy)

    async def _work(self) -> None:
        while True:
            async with self._filled:
                await self._filled.wait_for(lambda: self._next() is not None)
                key = self._next()
                assert key is not None
                del self._waiting[key]
                self._busy.add(key)
            try:
                await self._bring(key)
            finally:
                self._busy.discard(key)
                self._forget(key)
                await self.wake()

    def _next(self) -> Key | None:
        """Give an object that waits and that no other writer is at."""
        return next((key for key in self._waiting if key not in self._busy), None)

    async def _bring(self, key: Key) -> None:
        """Write one status, again and again until it stands or is not wanted any more."""
        pause = _FIRST_PAUSE
        while not self._is_told(key):
            wanted = self._wanted.get(key)
            if wanted is None:
                return
            kind, namespace, name = key
            try:
                body = await self._cluster.apply_status(OURS[kind], namespace, name, wanted.status)
            except NotFound:
                return  # it is gone: news of it are on their way
            except Temporary as error:
                delay = max(pause, error.delay)
            except Conflict:
                delay = pause
            except Superseded:
                raise
            except TaskloomError as error:
                log.warning(
                    "kubernetes.status-refused",
                    kind=kind,
                    namespace=namespace,
                    name=name,
                    error=error.message,
                )
                return  # the next reconciliation tries again
            else:
                self._mirror.take({"kind": kind, **body})
                if self._wanted.get(key) == wanted:
                    return
                continue
            await self._sleep(delay)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_told(self, key: Key) -> bool:
        wanted, seen = self._wanted.get(key), self._mirror.seen(key)
        if wanted is None or seen is None or seen.uid != wanted.uid:
            return True  # nobody to tell it to
        return is_told(wanted.status, seen.status)
