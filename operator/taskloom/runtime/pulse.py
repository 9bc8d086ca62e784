"""Whether a part that is needed answers: it is asked again and again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from taskloom.errors import TaskloomError

log = structlog.get_logger()


class Pulse:
    """Asks one part every so many seconds; it may take `patience` seconds to answer.

    An answer that is late is waited for, as whoever waits for a part that was stopped may be held
    up by it for long; there is never more than one question.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[None]],
        *,
        every: float = 2.0,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._every = every
        self._patience = patience
        self._clock = clock
        self._since = 0.0
        self.error = ""
        """Why it does not answer; empty while it does."""

    @property
    def silent_for(self) -> float:
        """The seconds since it answered no more; zero while it answers."""
        return self._clock() - self._since if self.error else 0.0

    async def watch(self) -> None:
        """Ask until cancelled."""
        while True:
            asked = self._clock()
            question = asyncio.ensure_future(self._ask())
            try:
                await asyncio.wait((question,), timeout=self._patience)
                if not question.done():
                    self._miss(asked, f"it did not answer within {self._patience:g} seconds")
                    question.cancel()
                    await asyncio.wait((question,))
                self._note(asked, question)
            finally:
                question.cancel()
            await asyncio.sleep(self._every)

    def _note(self, asked: float, question: asyncio.Future[None]) -> None:
        if question.cancelled():
            return
        error = question.exception()
        if error is None:
            self.error = ""
        elif isinstance(error, TaskloomError):
            self._miss(asked, error.message)
        else:
            log.warning("pulse.failed", error=repr(error))
            self._miss(asked, type(error).__name__)

    def _miss(self, asked: float, error: str) -> None:
        if not self.error:
            self._since = asked
        self.error = error
