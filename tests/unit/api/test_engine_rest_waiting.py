"""Long polls wait without a query, and are woken by what they wait for alone."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from taskloom.api.engine_rest.waiting import BELL, WaitingRoom
from taskloom.errors import Unavailable
from taskloom.runtime.bell import Bell

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Queue:
    """Tells when the next task of each topic is due, and counts how often it was asked."""

    def __init__(self) -> None:
        self.dues: dict[str, datetime] = {}
        self.looks = 0
        self.error: Exception | None = None
        self.looked = asyncio.Event()

    async def due(self, topics: Sequence[str]) -> Mapping[str, datetime]:
        """Answer one look."""
        self.looks += 1
        self.looked.set()
        if self.error is not None:
            raise self.error
        return {topic: at for topic, at in self.dues.items() if topic in topics}

    async def next_look(self) -> None:
        """Wait until it is asked."""
        await asyncio.wait_for(self.looked.wait(), 5)
        self.looked.clear()


@pytest.fixture
def queue() -> Queue:
    """Make a queue."""
    return Queue()


@pytest.fixture
def bell() -> Bell:
    """Make a bell."""
    return Bell()


@pytest.fixture
def room(queue: Queue, bell: Bell) -> WaitingRoom:
    """Make a room where no ring is lost."""
    return WaitingRoom(bell, queue.due, lambda: NOW)


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_nobody_looks_while_nothing_rings(room: WaitingRoom, queue: Queue) -> None:
    """However many wait, they cost one look when they come and none from then on."""
    with room.waiting({"a"}), room.waiting({"b"}), room.waiting({"a"}):
        await settle()
        before = queue.looks
        await asyncio.sleep(0.1)

        assert (1, 1) == (before, queue.looks)


async def test_a_ring_wakes_those_whose_topic_is_due(
    room: WaitingRoom, queue: Queue, bell: Bell
) -> None:
    """One look tells for all who wait; the others go on sleeping."""
    with room.waiting({"a", "x"}) as one, room.waiting({"b"}) as other:
        await queue.next_look()
        queue.dues["a"] = NOW
        bell.ring(BELL)
        await asyncio.wait_for(one.wait(), 5)

        assert not other.is_set()
        assert 2 == queue.looks


async def test_a_ring_is_also_heard_by_who_waits_at_the_bell(
    room: WaitingRoom, queue: Queue, bell: Bell
) -> None:
    """Polls take no ring from our own worker, nor it from them."""
    with room.waiting({"a"}):
        await queue.next_look()
        own = asyncio.create_task(bell.wait(BELL, 5))
        await settle()
        bell.ring(BELL)

        assert await own
        await queue.next_look()


async def test_the_end_of_a_lock_wakes_without_a_ring(room: WaitingRoom, queue: Queue) -> None:
    """What is held now is had when its lock ends."""
    queue.dues["a"] = NOW + timedelta(seconds=0.05)
    with room.waiting({"a"}) as woken:
        await queue.next_look()
        assert not woken.is_set()
        queue.dues["a"] = NOW
        await asyncio.wait_for(woken.wait(), 5)


async def test_a_poll_that_found_nothing_asks_when_something_is_due(
    room: WaitingRoom, queue: Queue
) -> None:
    """Who lost the race for a task is woken when its lock ends, and not at once again."""
    with room.waiting({"a"}) as woken:
        await queue.next_look()
        queue.dues["a"] = NOW
        room.nothing_found()
        await queue.next_look()
        await settle()

        assert not woken.is_set()


async def test_a_database_that_does_not_answer_is_asked_again(
    room: WaitingRoom, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that fails leaves nobody deaf."""
    monkeypatch.setattr("taskloom.api.engine_rest.waiting._PAUSE", 0.01)
    queue.error = Unavailable("It does not answer.")
    with room.waiting({"a"}) as woken:
        await queue.next_look()
        queue.error = None
        queue.dues["a"] = NOW
        await asyncio.wait_for(woken.wait(), 5)


async def test_rings_that_are_lost_cost_a_delay_only(queue: Queue, bell: Bell) -> None:
    """Where other processes leave work, a slow look stands behind the bell."""
    room = WaitingRoom(bell, queue.due, lambda: NOW, poll=0.02)
    with room.waiting({"a"}) as woken:
        await queue.next_look()
        queue.dues["a"] = NOW
        await asyncio.wait_for(woken.wait(), 5)


async def test_closing_sends_everybody_home(room: WaitingRoom) -> None:
    """A server that stops does not wait for polls."""
    with room.waiting({"a"}) as woken:
        room.close()

        assert woken.is_set()
        assert room.closed


async def test_a_room_that_was_left_is_entered_again(
    room: WaitingRoom, queue: Queue, bell: Bell
) -> None:
    """Nobody looks while nobody waits, and who comes later is woken as the first was."""
    with room.waiting({"a"}):
        await queue.next_look()
    bell.ring(BELL)
    await settle()
    looks = queue.looks
    with room.waiting({"a"}) as woken:
        await queue.next_look()
        queue.dues["a"] = NOW
        bell.ring(BELL)
        await asyncio.wait_for(woken.wait(), 5)

    assert 1 == looks
