"""Group commit: what arrives while one batch is being written is written together, next.

One row a transaction costs a flush to disk each; a batch costs one for all, and nobody waits for
a timer: the batch is what has gathered meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from taskloom.errors import Temporary

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Passes items to `write` in batches of at most `limit`; its results come in the same order.

    When a batch fails, its items are tried one by one, so that only the culprit fails.
    When it fails for a while (`Temporary`), that is nobody's fault: it is tried once more, as a
    connection may just have been cut, and then fails as a whole.
    """

    def __init__(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, limit: int = 256
    ) -> None:
        self._write = write
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._writing = 0

    async def put(self, item: Item) -> Result:
        """Hand an item over; returns or raises once it is written or refused."""
        return await self._hand_over([item])[0]

    async def put_all(self, items: Sequence[Item]) -> Sequence[Result]:
        """Hand items over, written in their order; raises for the first that is refused."""
        return await asyncio.gather(*self._hand_over(items))

    def _hand_over(self, items: Sequence[Item]) -> Sequence[asyncio.Future[Result]]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if futures and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._drain())
        return futures

    @property
    def load(self) -> int:
        """How many items wait or are being written."""
        return len(self._waiting) + self._writing

    async def _drain(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._limit)
            batch = [self._waiting.popleft() for _ in range(count)]
            self._writing = count
            await self._write_batch(batch)
            self._writing = 0

    async def _write_batch(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write_or_again([item for item, _ in batch])
        except Exception as exc:  # noqa: BLE001 - handed to those who wait
            if len(batch) == 1 or isinstance(exc, Temporary):
                for _, future in batch:
                    if not future.done():
                        future.set_exception(exc)
                return
            for one in batch:
                await self._write_batch([one])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():  # else its caller has gone away
                future.set_result(result)

    async def _write_or_again(self, items: Sequence[Item]) -> Sequence[Result]:
        try:
            return await self._write(items)
        except Temporary:
            return await self._write(items)
