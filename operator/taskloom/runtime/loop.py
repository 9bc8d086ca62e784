"""The one loop that all queues are worked by.

claim up to the free places → run each → claim again; woken by a bell, with a slow poll behind it.
While work is in hand its leases are renewed; at the end it is drained.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import structlog

from taskloom.errors import Temporary
from taskloom.runtime.bell import Bell

log = structlog.get_logger()

Item = TypeVar("Item")
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_WAY_GIVEN = 0.02


class Queue(Protocol[Item]):
    """Work that can be claimed under a lease."""

    async def claim(self, limit: int, lease: timedelta) -> Sequence[Item]:
        """Take up to `limit` items for `lease`."""
        ...

    async def renew(self, items: Sequence[Item], lease: timedelta) -> None:
        """Hold items longer, counted from now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard a loop works; `poll` and `lease` in seconds.

    More is claimed when `refill` items or fewer are in hand, by default whenever there is room:
    where a claim is dear it should bring several.
    """

    concurrency: int = 8
    refill: int | None = None
    poll: float = 1.0
    lease: float = 30.0
    drain: float = 20.0


class Loop(Generic[Item]):
    """Works one queue.  `handle` settles each item itself; what it raises is logged, not fatal.

    An item that meets a `Temporary` error is handled again for as long as one lease lasts,
    so that a short outage costs no more than itself; then it is left to whoever claims it next.
    While `gives_way` holds it does one thing at a time, with pauses: it is slow then, not still.
    """

    def __init__(
        self,
        name: str,
        queue: Queue[Item],
        handle: Callable[[Item], Awaitable[None]],
        *,
        bell: Bell,
        topic: str,
        pace: Pace | None = None,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._queue = queue
        self._handle = handle
        self._bell = bell
        self._topic = topic
        self._pace = pace or Pace()
        self._gives_way = gives_way
        self._running: dict[asyncio.Task[None], Item] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled, then finish what is in hand."""
        self._stopping.clear()
        renewing = asyncio.create_task(self._renew())
        try:
            await self._work()
        finally:
            renewing.cancel()
            self._stopping.set()
            if self._running:
                await asyncio.wait(self._running, timeout=self._pace.drain)
            for task in self._running:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def _work(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            free = self._room()
            if self._gives_way() and free:
                await asyncio.sleep(_WAY_GIVEN)
                free = max(0, 1 - len(self._running))
            try:
                lease = timedelta(seconds=self._pace.lease)
                items = await self._queue.claim(free, lease) if free else ()
            except Temporary as exc:
                # One line a pause, not one a try: the part that is down is down for all.
                log.warning("loop.claim-failed", loop=self._name, error=exc.message, pause=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            for item in items:
                task = asyncio.create_task(self._guard(item))
                self._running[task] = item
                task.add_done_callback(self._finished)
            if not free or len(items) < free:
                await self._bell.wait(self._topic, self._pace.poll)

    def _room(self) -> int:
        """Tell how many items may be claimed now."""
        held = len(self._running)
        if self._pace.refill is not None and held > self._pace.refill:
            return 0
        return self._pace.concurrency - held

    def _finished(self, task: asyncio.Task[None]) -> None:
        was_full = self._room() == 0
        self._running.pop(task, None)
        if was_full and self._room():  # there may be more where it came from
            self._bell.ring(self._topic)

    async def _guard(self, item: Item) -> None:
        clock = asyncio.get_running_loop().time
        end, pause = clock() + self._pace.lease, _FIRST_PAUSE
        while True:
            try:
                await self._handle(item)
            except Temporary as exc:
                if self._stopping.is_set() or clock() + pause > end:
                    log.warning("loop.item-put-off", loop=self._name, error=exc.message)
                    return
            except Exception:
                log.exception("loop.item-failed", loop=self._name)
                return
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            held = list(self._running.values())
            if held:
                with contextlib.suppress(Temporary):
                    await self._queue.renew(held, timedelta(seconds=self._pace.lease))


def limited(
    handle: Callable[[Item], Awaitable[None]], most: int
) -> Callable[[Item], Awaitable[None]]:
    """Let `most` items be handled at once; the others wait in hand, their leases renewed."""
    turn = asyncio.Semaphore(most)

    async def in_turn(item: Item) -> None:
        async with turn:
            await handle(item)

    return in_turn
