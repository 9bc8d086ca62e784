"""The loop that works every queue."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from taskloom.errors import Unavailable
from taskloom.runtime.bell import Bell
from taskloom.runtime.loop import Loop, Pace, limited

LONG = 60.0  # a poll that a test never waits for: only bells wake it


class Numbers:
    """A queue of numbers; counts what was asked of it."""

    def __init__(self, *numbers: int) -> None:
        self.waiting = list(numbers)
        self.limits: list[int] = []
        self.renewed = 0
        self.broken = 0

    async def claim(self, limit: int, lease: timedelta) -> Sequence[int]:
        """Give the next ones, or fail as often as `broken` says."""
        self.limits.append(limit)
        if self.broken:
            self.broken -= 1
            raise Unavailable(f"no database for {lease}")
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def renew(self, items: Sequence[int], lease: timedelta) -> None:
        """Count renewals."""
        del lease
        self.renewed += len(items)


def _loop(
    queue: Numbers, handle: Callable[[int], Awaitable[None]], bell: Bell, *, lease: float = 30.0
) -> Loop[int]:
    pace = Pace(poll=LONG, concurrency=2, lease=lease)
    return Loop("test", queue, handle, bell=bell, topic="numbers", pace=pace)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_everything_is_handled_never_more_at_once_than_allowed() -> None:
    """Seven items pass through two places."""
    queue, done = Numbers(*range(7)), list[int]()
    at_once, most = 0, 0

    async def handle(number: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        done.append(number)

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await _until(lambda: len(done) == 7)
    running.cancel()

    assert list(range(7)) == sorted(done)
    assert most == 2


async def test_a_bell_wakes_it() -> None:
    """Work that comes later is found when the bell rings, without waiting for the poll."""
    queue, bell, done = Numbers(), Bell(), list[int]()

    async def handle(number: int) -> None:
        done.append(number)

    running = asyncio.create_task(_loop(queue, handle, bell).run())
    await _until(lambda: queue.limits)
    queue.waiting.append(5)
    bell.ring("numbers")
    await _until(lambda: done)
    running.cancel()

    assert [5] == done


async def test_a_failing_item_stops_nothing() -> None:
    """What a handler raises is logged; the next item is handled."""
    queue, done = Numbers(1, 2, 3), list[int]()

    async def handle(number: int) -> None:
        if number == 1:
            raise RuntimeError("one")
        done.append(number)

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await _until(lambda: len(done) == 2)
    running.cancel()

    assert [2, 3] == sorted(done)


async def test_a_queue_that_is_away_is_asked_again() -> None:
    """A claim that fails for now is repeated after a pause."""
    queue, done = Numbers(1), list[int]()
    queue.broken = 2

    async def handle(number: int) -> None:
        done.append(number)

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await _until(lambda: done)
    running.cancel()

    assert [1] == done
    assert len(queue.limits) >= 3


async def test_what_is_in_hand_is_finished_at_the_end() -> None:
    """A cancelled loop drains: its items run to their end."""
    queue, done = Numbers(1), list[int]()
    begun, release = asyncio.Event(), asyncio.Event()

    async def handle(number: int) -> None:
        begun.set()
        await release.wait()
        done.append(number)

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait([running])

    assert [1] == done


async def test_leases_are_renewed_while_work_lasts() -> None:
    """Long work keeps its lease."""
    queue = Numbers(1)
    release = asyncio.Event()

    async def handle(_: int) -> None:
        await release.wait()

    running = asyncio.create_task(_loop(queue, handle, Bell(), lease=0.03).run())
    await _until(lambda: queue.renewed >= 2)
    release.set()
    running.cancel()

    assert queue.renewed >= 2


async def test_an_item_that_meets_an_outage_is_handled_again() -> None:
    """A short outage is waited out with the item in hand, not until its lease has run out."""
    queue, tries = Numbers(1), list[int]()

    async def handle(number: int) -> None:
        tries.append(number)
        if len(tries) < 3:
            raise Unavailable

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await _until(lambda: len(tries) == 3)
    running.cancel()

    assert [1, 1, 1] == tries


async def test_an_outage_that_outlasts_the_lease_is_not_waited_out() -> None:
    """By then the item may be another's: it is let go."""
    queue, tries = Numbers(1, 2), list[int]()

    async def handle(number: int) -> None:
        tries.append(number)
        if number == 1:
            raise Unavailable

    loop = _loop(queue, handle, Bell(), lease=0.01)
    running = asyncio.create_task(loop.run())
    await _until(lambda: 2 in tries)
    running.cancel()
    await asyncio.wait([running])

    assert [1, 2] == tries


async def test_the_end_does_not_wait_for_an_outage_to_end() -> None:
    """A loop that is to stop leaves what cannot be done now to its next life."""
    queue, tries = Numbers(1), list[int]()

    async def handle(number: int) -> None:
        tries.append(number)
        raise Unavailable

    running = asyncio.create_task(_loop(queue, handle, Bell()).run())
    await _until(lambda: tries)
    running.cancel()
    async with asyncio.timeout(2):
        await asyncio.wait([running])

    assert running.done()


async def test_more_is_claimed_when_little_is_left() -> None:
    """Where a claim is dear it brings several, of which some wait in hand for their turn."""
    queue, bell, done = Numbers(*range(10)), Bell(), list[int]()
    at_once, most = 0, 0

    async def handle(number: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        done.append(number)

    pace = Pace(poll=LONG, concurrency=6, refill=2)
    loop = Loop("test", queue, limited(handle, 2), bell=bell, topic="numbers", pace=pace)
    running = asyncio.create_task(loop.run())
    await _until(lambda: len(done) == 10)
    running.cancel()
    await asyncio.wait((running,))

    assert list(range(10)) == sorted(done)
    assert 2 == most
    assert [6, 4] == [limit for limit in queue.limits if limit][:2]
