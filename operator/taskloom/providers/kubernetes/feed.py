"""News on their way from the watch to whoever works: keyed, the newest of each object only."""

import asyncio
import threading
from dataclasses import dataclass

from taskloom.providers.kubernetes.mirror import key_of
from taskloom.providers.kubernetes.objects import Body
from taskloom.reconcilers.snapshot import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An object as it is now, or as it last was; `listed` if it was found by listing."""

    body: Body
    deleted: bool = False
    listed: bool = False


class Feed:
    """Holds news until they are taken; may be filled from another thread.

    It belongs to the event loop that it is made in.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._events: dict[Key, Event] = {}
        self._filled = asyncio.Event()
        self._lost = False
        self._asked = False
        self._broken = False
        self._renewal = False

    def put(self, event: Event) -> None:
        """Add news; they take the place of older ones of the same object."""
        with self._lock:
            first = not self._events
            self._events[key_of(event.body)] = event
        if first:
            self._wake()

    def lose(self) -> None:
        """Tell that the watch was cut off, and cannot say what it missed."""
        with self._lock:
            first = not self._lost
            self._lost = True
        if first:
            self._wake()

    def break_off(self) -> None:
        """Tell that the watch has ended, and may come back without a kind that is gone."""
        self._broken = True
        self.lose()

    def take_break(self) -> bool:
        """Tell whether the watch has ended since this was called last."""
        broken, self._broken = self._broken, False
        return broken

    def renew(self) -> None:
        """Ask for a new watch: there are kinds that the present one may not know."""
        self._renewal = True

    def take_renewal(self) -> bool:
        """Tell whether a new watch was asked for since this was called last."""
        renewal, self._renewal = self._renewal, False
        return renewal

    def ask(self) -> None:
        """Ask for a reconciliation of what is known: something else than objects has changed."""
        with self._lock:
            self._asked = True
        self._wake()

    def take_request(self) -> bool:
        """Tell whether one was asked for since this was called last."""
        with self._lock:
            asked, self._asked = self._asked, False
        return asked

    def drain(self) -> tuple[list[Event], bool]:
        """Take all there is, and whether there may have been more that was missed."""
        with self._lock:
            events, lost = list(self._events.values()), self._lost
            self._events.clear()
            self._lost = False
            self._filled.clear()
        return events, lost or any(event.listed for event in events)

    def __len__(self) -> int:
        return len(self._events)

    async def wait(self, seconds: float) -> bool:
        """Wait for news, so many seconds at most; tell whether there are any."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._filled.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._fill)
        except RuntimeError:
            return  # the loop has ended: nobody waits any more

    def _fill(self) -> None:
        if self._events or self._lost or self._asked:
            self._filled.set()
