"""Who leads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from taskloom.errors import Superseded, Unavailable
from taskloom.providers.kubernetes.leader import Leader, Pace
from taskloom.providers.kubernetes.lease import (
    Sighting,
    Step,
    decide,
    lease_body,
    released_body,
    sight,
)
from taskloom.testing.cluster import FakeCluster

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def lease(holder: str | None, *, renewed: str = "2026-11-24T10:00:00.000000Z") -> dict[str, Any]:
    """Write a lease as it is read."""
    spec: dict[str, Any] = {"leaseDurationSeconds": 15, "renewTime": renewed}
    spec |= {"leaseTransitions": 3, "acquireTime": "2026-11-24T09:00:00.000000Z"}
    if holder is not None:
        spec["holderIdentity"] = holder
    return {"metadata": {"name": "l", "namespace": "n", "resourceVersion": "7"}, "spec": spec}


@pytest.mark.parametrize(
    ("seen", "clock", "step"),
    [
        (None, 100.0, Step.CREATE),
        (Sighting(body=lease("me"), since=0.0), 1000.0, Step.RENEW),
        (Sighting(body=lease("other"), since=100.0), 114.9, Step.WAIT),
        (Sighting(body=lease("other"), since=100.0), 115.0, Step.TAKE),
        (Sighting(body=lease(None), since=100.0), 100.0, Step.TAKE),
        (Sighting(body={"metadata": {}, "spec": None}, since=100.0), 100.0, Step.TAKE),
    ],
)
def test_a_lease_decides_who_leads(seen: Sighting | None, clock: float, step: Step) -> None:
    """A lease is taken from nobody, or from one who let it stand for as long as it lasts."""
    assert step == decide(seen, "me", clock)


def test_a_renewed_lease_is_young_again() -> None:
    """How old a lease is counts from when it was first seen in its present form."""
    first = sight(lease("other"), None, 100.0)
    same = sight(lease("other"), first, 110.0)
    renewed = sight(lease("other", renewed="2026-11-24T10:00:02.000000Z"), same, 112.0)

    assert [100.0, 100.0, 112.0] == [first.since, same.since, renewed.since]


def test_a_lease_that_is_taken_counts_the_change_and_keeps_to_the_version() -> None:
    """Taking is a condition on the version that was read, and one transition more."""
    seen = Sighting(body=lease("other"), since=0.0)

    body = lease_body("n", "l", "me", seen=seen, step=Step.TAKE, now=NOW)

    assert "7" == body["metadata"]["resourceVersion"]
    assert 4 == body["spec"]["leaseTransitions"]
    assert "2026-11-24T10:00:00.000000Z" == body["spec"]["acquireTime"]


def test_a_lease_that_is_renewed_keeps_when_it_was_acquired() -> None:
    """Renewing changes nothing but the time of renewal."""
    seen = Sighting(body=lease("me"), since=0.0)

    body = lease_body("n", "l", "me", seen=seen, step=Step.RENEW, now=NOW)

    assert "2026-11-24T09:00:00.000000Z" == body["spec"]["acquireTime"]
    assert 3 == body["spec"]["leaseTransitions"]


def test_a_lease_that_is_let_go_is_nobodys() -> None:
    """Whoever looks at it next may take it at once."""
    body = released_body(Sighting(body=lease("me"), since=0.0), NOW)

    assert Step.TAKE == decide(sight(body, None, 0.0), "other", 0.0)


class Work:
    """Notes whether it runs."""

    def __init__(self) -> None:
        self.running = False
        self.begun = 0

    async def __call__(self) -> None:
        """Run until cancelled."""
        self.running, self.begun = True, self.begun + 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        """Give the time."""
        return self.time


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def leading(
    cluster: FakeCluster, me: str, work: Work, clock: Clock | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a candidate."""
    pace = Pace(look=0.002, deadline=10.0)
    leader = Leader(cluster, "n", "l", me, pace=pace, clock=clock, now=lambda: NOW)
    task = asyncio.create_task(leader.lead(work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_one_of_two_leads_and_the_other_follows_when_it_ends() -> None:
    """Two candidates never work at once; who ends lets go of the lease."""
    cluster, first, second = FakeCluster(), Work(), Work()
    async with leading(cluster, "second", second) as task:
        async with leading(cluster, "first", first):
            await until(lambda: first.running or second.running)
            assert {first.running, second.running} == {True, False}
            if second.running:
                task.cancel()
                await asyncio.wait([task])
        assert not first.running
        if not task.done():
            await until(lambda: second.running)


async def test_a_killed_leaders_lease_is_taken_when_it_has_run_out() -> None:
    """A lease that nobody renews is taken after as long as it lasts, on one's own clock."""
    cluster, work, clock = FakeCluster(), Work(), Clock()
    cluster.put({"kind": "Lease", **lease("killed")})
    async with leading(cluster, "me", work, clock):
        looks = cluster.count("get")
        await until(lambda: cluster.count("get") > looks + 3)
        assert not work.running
        clock.time += 15
        await until(lambda: work.running)


async def test_a_leader_that_cannot_renew_stops_before_its_lease_runs_out() -> None:
    """When the API server does not answer until the deadline, the work is stopped."""
    cluster, work, clock = FakeCluster(), Work(), Clock()
    async with leading(cluster, "me", work, clock):
        await until(lambda: work.running)
        cluster.fail("get", *[Unavailable() for _ in range(1000)])
        clock.time += 9
        looks = cluster.count("get")
        await until(lambda: cluster.count("get") > looks + 3)
        assert work.running
        clock.time += 1
        await until(lambda: not work.running)


async def test_a_lease_that_another_took_ends_the_work() -> None:
    """A leader that sees another's name in the lease stops at once."""
    cluster, work = FakeCluster(), Work()
    async with leading(cluster, "me", work):
        await until(lambda: work.running)
        cluster.put({"kind": "Lease", **lease("other")})
        await until(lambda: not work.running)


async def test_a_lease_that_was_deleted_is_made_anew() -> None:
    """A lease deleted by hand does not end the lead of who holds it."""
    cluster, work = FakeCluster(), Work()
    async with leading(cluster, "me", work):
        await until(lambda: work.running)
        cluster.drop("Lease", "n", "l")
        await until(lambda: cluster.find("Lease", "n", "l") is not None)
        assert 1 == work.begun


async def test_work_that_was_superseded_stands_by_and_begins_again() -> None:
    """Whoever finds out that another led meanwhile lets go, and leads when it is its turn again."""
    cluster, begun = FakeCluster(), 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            async with asyncio.TaskGroup():
                raise Superseded
        await asyncio.Event().wait()

    leader = Leader(cluster, "n", "l", "me", pace=Pace(look=0.002), now=lambda: NOW)
    task = asyncio.create_task(leader.lead(work))
    await until(lambda: begun == 2)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_who_slept_through_its_lease_knows_it_before_it_looks() -> None:
    """The lead is over as soon as the deadline is, whether or not anything has run since."""
    cluster, clock = FakeCluster(), Clock()
    leader = Leader(cluster, "n", "l", "me", clock=clock, now=lambda: NOW)
    held: list[bool] = []

    async def work() -> None:
        held.append(leader.holds())
        clock.time += 10
        held.append(leader.holds())
        raise Superseded

    task = asyncio.create_task(leader.lead(work))
    await until(lambda: len(held) == 2)
    task.cancel()
    await asyncio.wait([task])

    assert [True, False] == held


async def test_work_that_fails_lets_go_and_is_heard_of() -> None:
    """What the work raises is passed on, with the lease free for another."""

    async def fail() -> None:
        raise ValueError("broken")

    cluster = FakeCluster()
    leader = Leader(cluster, "n", "l", "me", now=lambda: NOW)

    with pytest.raises(ValueError, match="broken"):
        await leader.lead(fail)

    found = cluster.find("Lease", "n", "l")
    assert found is not None
    assert "holderIdentity" not in found["spec"]
