"""Wake-ups: who has left work rings, who looks for work waits, and polls slowly all the same.

A ring may be lost (another process, a cut connection); the poll behind it makes that a delay only.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Bell:
    """One process's bells, by topic."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self._listeners: dict[str, set[asyncio.Event]] = {}

    def ring(self, topic: str) -> None:
        """Wake whoever waits for `topic`, or the next one who does, and all who listen."""
        self._event(topic).set()
        for listener in self._listeners.get(topic, ()):
            listener.set()

    @contextlib.contextmanager
    def listening(self, topic: str) -> Iterator[asyncio.Event]:
        """Give an event of one's own that is set by each ring within the block.

        Who listens takes no ring from who waits.
        """
        event = asyncio.Event()
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(event)
        try:
            yield event
        finally:
            listeners.remove(event)

    async def wait(self, topic: str, timeout: float) -> bool:  # noqa: ASYNC109 - the slow poll is the point
        """Return when `topic` rings or after `timeout` seconds; tell whether it rang."""
        event = self._event(topic)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        rang = event.is_set()
        event.clear()
        return rang

    def _event(self, topic: str) -> asyncio.Event:
        return self._events.setdefault(topic, asyncio.Event())
