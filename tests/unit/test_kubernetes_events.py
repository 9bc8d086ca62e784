"""Events: what is worth one, and how few are written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from taskloom.errors import Forbidden, Unavailable
from taskloom.providers.kubernetes.announce import Allowance, Announcer
from taskloom.providers.kubernetes.notices import Notice, notices_of
from taskloom.reconcilers.snapshot import Key
from taskloom.testing.cluster import FakeCluster

KEY: Key = ("Command", "shop", "pack")


def status(**conditions: str) -> dict[str, Any]:
    """Write a status: ``Ready="False/KeyConflict/taken"``."""
    return {
        "conditions": [
            dict(zip(("type", "status", "reason", "message"), (t, *v.split("/")), strict=True))
            for t, v in conditions.items()
        ]
    }


def told(former: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Tell what changed: reason, note, and whether it is a warning."""
    found = notices_of(KEY, "u", "taskloom.dev/v1alpha1", former, after)
    return [(notice.reason, notice.note, notice.warning) for notice in found]


READY = status(Ready="True/Reconciled/")


@pytest.mark.parametrize(
    ("former", "after", "expected"),
    [
        ({}, READY, [("Ready", "it is in force", False)]),
        (READY, READY, []),
        (
            READY,
            status(Ready="False/KeyConflict/`pack` is taken"),
            [("KeyConflict", "`pack` is taken", True)],
        ),
        (status(Ready="False/KeyConflict/a"), status(Ready="False/KeyConflict/b"), []),
        (READY, status(Ready="True/Suspended/"), [("Suspended", "it is suspended", False)]),
        (
            READY,
            status(Ready="Unknown/DatabaseUnavailable/down"),
            [("DatabaseUnavailable", "down", True)],
        ),
        (
            READY,
            status(Ready="True/Reconciled/", Drifted="True/Repaired/the row"),
            [("Drifted", "the row", True)],
        ),
        (
            READY,
            status(Ready="True/Reconciled/", Degraded="True/RotationFailed/no"),
            [("RotationFailed", "no", True)],
        ),
        (status(Ready="True/Reconciled/", Drifted="True/Repaired/the row"), READY, []),
    ],
)
def test_a_change_is_told_and_nothing_else(
    former: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, str, bool]]
) -> None:
    """Readiness that changed, and faults that are new."""
    assert expected == told(former, after)


def test_a_long_message_is_cut() -> None:
    """The API server takes 1024 characters."""
    ((_, note, _),) = told({}, status(Ready="False/InvalidSpec/" + "x" * 2000))

    assert 1024 == len(note)


def notice(number: int = 0, *, warning: bool = True) -> Notice:
    """Write a notice."""
    return Notice(
        key=KEY, uid=f"u{number}", api_version="v1", reason="R", note="n", warning=warning
    )


@contextlib.asynccontextmanager
async def announcing(
    cluster: FakeCluster, clock: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[Announcer]:
    """Write Events within the block."""
    announcer = Announcer(cluster, allowance=Allowance(burst=10, rate=1, silence=3600), clock=clock)
    task = asyncio.create_task(announcer.write())
    try:
        yield announcer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def settle() -> None:
    """Let the writer write."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_same_is_not_said_again_within_an_hour() -> None:
    """After that it is."""
    cluster, now = FakeCluster(), 0.0
    async with announcing(cluster, lambda: now) as announcer:
        for at in (0.0, 1.0, 3599.0, 3601.0):
            now = at
            announcer.announce(notice())
        await settle()

    assert 2 == cluster.count("create", "Event")


async def test_a_burst_is_cut_short_and_leaves_room_for_warnings() -> None:
    """Of many good news half the allowance is written; time gives some back."""
    cluster, now = FakeCluster(), 0.0
    async with announcing(cluster, lambda: now) as announcer:
        for number in range(1000):
            announcer.announce(notice(number, warning=False))
        await settle()
        assert 5 == cluster.count("create", "Event")
        for number in range(1000, 2000):
            announcer.announce(notice(number))
        await settle()
        assert 10 == cluster.count("create", "Event")
        now = 2.0
        for number in range(2000, 3000):
            announcer.announce(notice(number))
        await settle()

    assert 12 == cluster.count("create", "Event")


async def test_what_cannot_be_written_is_dropped() -> None:
    """It is tried twice where that may help, and the next ones are written."""
    cluster = FakeCluster()
    cluster.fail("create", Forbidden("no"), Unavailable(delay=0), Unavailable(delay=0))
    async with announcing(cluster) as announcer:
        for number in range(3):
            announcer.announce(notice(number))
        await settle()

    assert 4 == cluster.count("create", "Event")
    assert 1 == len(cluster.names("Event"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"issuedAt": "10:00"}, None),
        ({"issuedAt": "10:00"}, {"issuedAt": "10:00", "revision": 1}, None),
        (
            {"issuedAt": "10:00"},
            {"issuedAt": "11:00", "previousValidUntil": "12:00"},
            "the secrets in force are of 11:00; the former ones are good until 12:00",
        ),
        (
            {"issuedAt": "10:00"},
            {"issuedAt": "11:00"},
            "the secrets in force are of 11:00; the former ones are refused",
        ),
        (
            {"issuedAt": "10:00"},
            {"issuedAt": "10:00", "previousValidUntil": "12:00"},
            "the secrets in force are of 10:00; the former ones are good until 12:00",
        ),
        ({"issuedAt": "10:00", "previousValidUntil": "12:00"}, {"issuedAt": "10:00"}, None),
    ],
)
def test_new_secrets_are_told(
    before: dict[str, str], after: dict[str, str], expected: str | None
) -> None:
    """A client's first secrets are no news, its next ones are, with the end of the former."""
    found = told({**READY, "credentials": before}, {**READY, "credentials": after})

    assert ([] if expected is None else [("SecretsChanged", expected, False)]) == found
