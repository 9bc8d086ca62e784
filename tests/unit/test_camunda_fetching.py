"""The one long poll of a process, and what happens beside it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.fetching import Fetching, Wanted
from taskloom.engines.camunda.refusals import Answer
from taskloom.errors import Unavailable

WAIT = timedelta(seconds=5)
NONE = timedelta(0)


class Scripted(Client):
    """An engine whose polls end when the test says."""

    def __init__(self) -> None:
        super().__init__(Connection(url="http://127.0.0.1:9"))
        self.polls: list[asyncio.Future[list[dict[str, Any]]]] = []
        self.bodies: list[Mapping[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.unlocked: list[str] = []

    async def demand(self, method: str, path: str, **options: Any) -> Any:
        """Answer at once, or when the poll is ended."""
        body = options["json_body"]
        self.bodies.append(body)
        if "asyncResponseTimeout" not in body:
            taken, self.waiting = self.waiting[: body["maxTasks"]], []
            return taken
        poll: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self.polls.append(poll)
        return await poll

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Note what is unlocked."""
        self.unlocked.append(path.split("/")[2])
        return Answer(status=204)


class Clock:
    """A clock set by hand."""

    time = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.time


def tasks(*ids: str) -> list[dict[str, Any]]:
    """Make what the engine gives."""
    return [{"id": id_} for id_ in ids]


def wanted(limit: int = 10) -> Wanted:
    """Want tasks of one topic."""
    return Wanted(topics=("a",), worker_id="w", limit=limit, lock=timedelta(seconds=30))


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def engine() -> Scripted:
    """Script an engine."""
    return Scripted()


async def test_poll_waits_for_the_first(engine: Scripted) -> None:
    """What is asked says how long to wait, and by whom, and keeps to no priority."""
    fetching = Fetching(engine, spin=True)
    fetched = asyncio.create_task(fetching.fetch(wanted(), WAIT))
    await _settle()
    engine.polls[0].set_result(tasks("1"))

    assert tasks("1") == await fetched
    assert (5000, 10, "w", False) == tuple(
        engine.bodies[0][name]
        for name in ("asyncResponseTimeout", "maxTasks", "workerId", "usePriority")
    )
    assert [{"topicName": "a", "lockDuration": 30000, "deserializeValues": False}] == (
        engine.bodies[0]["topics"]
    )


async def test_variables_are_asked_for_that_a_command_reads(engine: Scripted) -> None:
    """Of a topic that says which; our own start id with them."""
    fetching = Fetching(engine, spin=True)
    both = replace(wanted(), topics=("a", "b"), only={"a": ("tasks",)})
    await fetching.fetch(both, NONE)

    one, other = engine.bodies[0]["topics"]
    assert ["tasks", "taskloomStartId"] == one["variables"]
    assert "variables" not in other


async def test_known_due_time_is_met_beside_the_poll(engine: Scripted) -> None:
    """A poll is not woken by a pause that ends; its own answer comes with the next fetch."""
    clock = Clock()
    fetching = Fetching(engine, spin=True, clock=clock)
    fetching.expect(timedelta(seconds=1))
    engine.waiting = tasks("due")
    first = asyncio.create_task(fetching.fetch(wanted(), WAIT))
    await _settle()
    assert not first.done()
    clock.time += 2
    first.cancel()
    await asyncio.wait((first,))

    assert tasks("due") == await fetching.fetch(wanted(), WAIT)
    assert 1 == len(engine.polls)
    second = asyncio.create_task(fetching.fetch(wanted(), WAIT))
    await _settle()
    engine.polls[0].set_result(tasks("polled"))
    assert tasks("polled") == await second
    assert 1 == len(engine.polls)


async def test_no_more_is_handed_out_than_asked(engine: Scripted) -> None:
    """A poll that was asked for more keeps what is left for the next."""
    fetching = Fetching(engine, spin=True)
    fetched = asyncio.create_task(fetching.fetch(wanted(3), WAIT))
    await _settle()
    fetched.cancel()
    await asyncio.wait((fetched,))
    engine.polls[0].set_result(tasks("1", "2", "3"))

    assert tasks("1", "2") == await fetching.fetch(wanted(2), WAIT)
    assert tasks("3") == await fetching.fetch(wanted(2), WAIT)


async def test_engine_that_does_not_answer_is_told_of_each_time(engine: Scripted) -> None:
    """The failure is the caller's to pause for; the next fetch polls anew."""
    fetching = Fetching(engine, spin=True)
    for number in range(2):
        fetched = asyncio.create_task(fetching.fetch(wanted(), WAIT))
        await _settle()
        engine.polls[number].set_exception(Unavailable("away"))
        with pytest.raises(Unavailable, match="away"):
            await fetched


async def test_close_frees_what_an_abandoned_poll_has_locked(engine: Scripted) -> None:
    """Nobody would work on it until its lock ends."""
    fetching = Fetching(engine, spin=True)
    fetched = asyncio.create_task(fetching.fetch(wanted(), WAIT))
    await _settle()
    fetched.cancel()
    await asyncio.wait((fetched,))
    closing = asyncio.create_task(fetching.close())
    await _settle()
    assert not closing.done()
    engine.polls[0].set_result(tasks("1", "2"))
    await closing

    assert ["1", "2"] == engine.unlocked


async def test_without_a_wait_it_is_asked_at_once(engine: Scripted) -> None:
    """As the port does where nobody says how long."""
    engine.waiting = tasks("1")
    fetching = Fetching(engine, spin=False)

    assert tasks("1") == await fetching.fetch(wanted(), NONE)
    assert engine.bodies[0]["topics"][0]["deserializeValues"]
