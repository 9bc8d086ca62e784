"""Answers that are kept for a while: few of them, and each asked for once at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from taskloom.errors import Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Keeps at most `size` answers; the oldest makes room.  At most `questions` are open at once.

    `clock` gives seconds, in which the answers' times are said too.
    """

    def __init__(self, size: int, clock: Callable[[], float], *, questions: int = 64) -> None:
        self._size = size
        self._questions = questions
        self._clock = clock
        self._known: dict[K, tuple[V, float]] = {}
        self._asked: dict[K, asyncio.Task[V]] = {}

    def known(self, key: K) -> V | None:
        """Give an answer that still holds."""
        found = self._known.get(key)
        if found is None:
            return None
        if self._clock() < found[1]:
            return found[0]
        del self._known[key]
        return None

    def until(self, key: K) -> float:
        """Say until when an answer holds; 0 if there is none."""
        found = self._known.get(key)
        return 0.0 if found is None else found[1]

    async def ask(self, key: K, question: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """Give the answer that holds, or ask: `question` says until when its answer does.

        Who asks the same meanwhile waits for the same answer, and one that gives up waiting does
        not take it from the others.  A failure is told to all who wait, and not kept.
        Raises `Unavailable` where too many questions are open.
        """
        known = self.known(key)
        if known is not None:
            return known
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= self._questions:
                raise Unavailable("Too many unknown callers at once: try again.")
            task = asyncio.create_task(self._find_out(key, question))
            self._asked[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def keep(self, key: K, answer: V, until: float) -> None:
        """Keep an answer until a moment of the clock."""
        self._known.pop(key, None)
        while len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[key] = (answer, until)

    async def _find_out(self, key: K, question: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        answer, until = await question()
        self.keep(key, answer, until)
        return answer

    def _forget(self, key: K, done: asyncio.Task[V]) -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # nobody may be left who waits for it
