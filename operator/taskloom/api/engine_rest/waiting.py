"""Where long polls wait: one look for all of them when the bell rings, none while it does not.

A look is one query for every topic that is waited for.  It is made when work was left (the bell),
when a lock or a pause after a failure ends (its time is known from the last look), and when a poll
begins to wait.  Where rings can be lost on their way from other processes a slow poll stands behind
them, one for all who wait.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from taskloom.runtime.bell import Bell

log = structlog.get_logger()

BELL = "external-tasks"
_PAUSE = 1.0  # after the database has not answered
_UNWANTED = 5.0  # until due tasks that nobody here wants are looked at again
_LEAST = 0.001  # of a time that is just past by another clock

Due = Callable[[Sequence[str]], Awaitable[Mapping[str, datetime]]]
"""Tells of topics when their next task is due."""


class WaitingRoom:
    """Wakes polls whose topics have something due; `now` is the clock that `due` goes by.

    `poll` is the most seconds between two looks while somebody waits, None where no ring is lost.
    """

    def __init__(
        self, bell: Bell, due: Due, now: Callable[[], datetime], *, poll: float | None = None
    ) -> None:
        self._bell = bell
        self._due = due
        self._now = now
        self._poll = poll
        self._waiting: dict[asyncio.Event, Collection[str]] = {}
        self._look_again = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.closed = False

    @contextlib.contextmanager
    def waiting(self, topics: Collection[str]) -> Iterator[asyncio.Event]:
        """Give an event that is set when something of these topics may be had.

        Fetch after this, and what is left behind your back sets it.
        """
        woken = asyncio.Event()
        self._waiting[woken] = topics
        if self._watch is None:
            self._watch = asyncio.create_task(self._run())
        try:
            yield woken
        finally:
            del self._waiting[woken]
            if not self._waiting and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    def nothing_found(self) -> None:
        """Say that a poll waits: it is time to look when what is held by others falls due."""
        self._look_again.set()

    def close(self) -> None:
        """Let every poll return now, and those to come at once."""
        self.closed = True
        for woken in self._waiting:
            woken.set()

    async def _run(self) -> None:
        with self._bell.listening(BELL) as rung:
            wake = True
            while True:
                topics = sorted({topic for topics in self._waiting.values() for topic in topics})
                rung.clear()
                self._look_again.clear()
                try:
                    due = await self._due(topics)
                except Exception as exc:  # noqa: BLE001 - or the polls would be deaf from then on
                    log.warning("waiting-room.look-failed", error=str(exc))
                    await asyncio.sleep(_PAUSE)
                    wake = True
                    continue
                now = self._now()
                ready = {topic for topic, at in due.items() if at <= now}
                if wake:
                    self._wake(ready)
                # who was not woken by what is due already has just found that he does not want it
                wake = await self._until_next_look(rung, _seconds(due.values(), now, self._poll))

    def _wake(self, ready: Collection[str]) -> None:
        for woken, topics in self._waiting.items():
            if any(topic in ready for topic in topics):
                woken.set()

    async def _until_next_look(self, rung: asyncio.Event, seconds: float | None) -> bool:
        """Return when it is time; tell whether there may be something new."""
        again = asyncio.create_task(self._look_again.wait())
        ring = asyncio.create_task(rung.wait())
        try:
            await asyncio.wait({again, ring}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return rung.is_set() or not self._look_again.is_set()
        finally:
            again.cancel()
            ring.cancel()


def _seconds(due: Iterable[datetime], now: datetime, poll: float | None) -> float | None:
    """Say how long until something falls due, `poll` seconds at most; None if nothing is to."""
    waits = [_UNWANTED if at <= now else max(_LEAST, (at - now).total_seconds()) for at in due]
    return min(waits if poll is None else [*waits, poll], default=None)
