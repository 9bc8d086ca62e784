"""When a delivery is tried again."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.retry import (
    CLUSTER,
    STANDARD,
    Action,
    Outcome,
    RetryDecision,
    Schedule,
    Verdict,
    backoff_schedule,
    custom_schedule,
    default_schedule_for,
    limit_schedule,
    next_attempt,
)
from taskloom.errors import Invalid

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
SCHEDULE = Schedule(delays=tuple(timedelta(seconds=n) for n in (0, 10, 100)))
RETRY = Verdict(outcome=Outcome.RETRY, reason="HTTP 500")


def seconds(*values: float) -> tuple[timedelta, ...]:
    """Make durations of numbers."""
    return tuple(timedelta(seconds=value) for value in values)


def test_the_cluster_schedule_is_dense_and_lasts_a_day() -> None:
    """0, 1s, 2s, 5s, 15s, 30s, 1m, 5m, 15m, 1h, then hourly until a day has passed."""
    expected = seconds(0, 1, 2, 5, 15, 30, 60, 300, 900, 3600, 3600)

    assert expected == CLUSTER.delays[:11]
    assert set(CLUSTER.delays[9:]) == {timedelta(hours=1)}
    assert timedelta(hours=23) < sum(CLUSTER.delays, timedelta()) <= timedelta(hours=24)


def test_the_standard_schedule_is_patient() -> None:
    """0, 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h."""
    expected = seconds(0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

    assert expected == STANDARD.delays


@pytest.mark.parametrize(
    ("attempt", "jitter", "wait"), [(1, 0.5, 10), (2, 0.5, 100), (1, 0, 8), (1, 1, 12)]
)
def test_a_failure_is_retried_after_the_schedules_delay(
    attempt: int, jitter: float, wait: float
) -> None:
    """The n-th failure waits the delay before attempt n + 1, give or take a fifth."""
    expected = RetryDecision(
        action=Action.RETRY, reason="HTTP 500", at=NOW + timedelta(seconds=wait)
    )

    assert expected == next_attempt(SCHEDULE, attempt, NOW, RETRY, jitter)


@given(st.integers(1, 60), st.floats(0, 1), st.sampled_from([CLUSTER, STANDARD, SCHEDULE]))
def test_a_retry_is_never_in_the_past_nor_far_off(
    attempt: int, jitter: float, schedule: Schedule
) -> None:
    """Whatever the attempt and the chance, the next one is within a fifth of its delay."""
    decision = next_attempt(schedule, attempt, NOW, RETRY, jitter)

    if attempt < len(schedule.delays):
        assert decision.at is not None
        delay = schedule.delays[attempt]
        assert delay * 0.8 <= decision.at - NOW <= delay * 1.2
    else:
        assert decision.action is Action.GIVE_UP
        assert decision.at is None


@pytest.mark.parametrize("attempt", [3, 4, 32_000])
def test_the_last_failure_gives_up(attempt: int) -> None:
    """When the schedule is used up the delivery is dead, and the subscription lives."""
    expected = RetryDecision(
        action=Action.GIVE_UP, reason=f"HTTP 500 (attempt {attempt} was the last)"
    )

    assert expected == next_attempt(SCHEDULE, attempt, NOW, RETRY, 0.5)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (timedelta(seconds=3), timedelta(seconds=10)),
        (timedelta(seconds=60), timedelta(seconds=60)),
        (timedelta(days=7), timedelta(hours=24)),
    ],
)
def test_retry_after_lengthens_the_delay_up_to_a_day(asked: timedelta, wait: timedelta) -> None:
    """The longer of schedule and Retry-After counts, and of Retry-After 24 hours at most."""
    expected = NOW + wait
    verdict = Verdict(outcome=Outcome.RETRY, reason="HTTP 500", retry_after=asked)

    assert expected == next_attempt(SCHEDULE, 1, NOW, verdict, 0.5).at


def test_throttling_pauses_the_endpoint() -> None:
    """A throttled attempt is retried, and says that others should wait too."""
    verdict = Verdict(outcome=Outcome.THROTTLE, reason="HTTP 429")
    decision = next_attempt(SCHEDULE, 1, NOW, verdict, 0.5)

    assert decision.action is Action.RETRY
    assert decision.pauses_endpoint


def test_a_delivered_message_is_finished() -> None:
    """Nothing follows a delivery, even after the last attempt of the schedule."""
    verdict = Verdict(outcome=Outcome.DELIVERED, reason="HTTP 204")
    expected = RetryDecision(action=Action.FINISH, reason="HTTP 204")

    assert expected == next_attempt(SCHEDULE, 3, NOW, verdict, 0.5)


@pytest.mark.parametrize(
    ("outcome", "disables", "action"),
    [
        (Outcome.ABORT, False, Action.GIVE_UP),
        (Outcome.ABORT, True, Action.GIVE_UP),
        (Outcome.RETRY, True, Action.GIVE_UP),
        (Outcome.DELIVERED, True, Action.FINISH),
    ],
)
def test_the_receivers_wishes_are_obeyed(outcome: Outcome, disables: bool, action: Action) -> None:
    """An aborted message is given up; a disabled subscription is said so, delivered or not."""
    verdict = Verdict(outcome=outcome, reason="HTTP 410", disables_subscription=disables)
    expected = RetryDecision(action=action, reason="HTTP 410", disables_subscription=disables)

    assert expected == next_attempt(SCHEDULE, 1, NOW, verdict, 0.5)


@pytest.mark.parametrize(
    "host",
    [
        "receiver.shop.svc",
        "receiver.shop.svc.cluster.local",
        "Receiver.Shop.SVC.cluster.local.",
        "localhost",
        "hooks.localhost",
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "::1",
        "[::1]",
        "fd00::1",
        "::ffff:10.0.0.1",
    ],
)
def test_receivers_nearby_get_the_cluster_schedule(host: str) -> None:
    """Services of the cluster, this machine and private addresses are retried densely."""
    assert default_schedule_for(host) is CLUSTER


@pytest.mark.parametrize(
    "host",
    ["example.com", "svc.example.com", "mysvc", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", ""],
)
def test_receivers_elsewhere_get_the_standard_schedule(host: str) -> None:
    """Everyone else is retried patiently."""
    assert default_schedule_for(host) is STANDARD


def test_a_custom_schedule_is_taken_as_it_is() -> None:
    """A user's delays, the first attempt's included, are the schedule."""
    expected = Schedule(delays=seconds(3, 0, 60))

    assert expected == custom_schedule(seconds(3, 0, 60))


@pytest.mark.parametrize("delays", [(), seconds(-1), (timedelta(days=31),), seconds(*([1] * 1001))])
def test_an_impossible_schedule_is_refused(delays: tuple[timedelta, ...]) -> None:
    """No delays, too many, negative or endless ones are an error."""
    with pytest.raises(Invalid, match="schedule"):
        custom_schedule(delays)


def test_a_backoff_doubles_up_to_its_longest_delay() -> None:
    """The first attempt is immediate; then the delays double until the longest."""
    expected = seconds(0, 5, 10, 20, 30, 30)

    assert (
        expected
        == backoff_schedule(
            initial=timedelta(seconds=5), longest=timedelta(seconds=30), max_attempts=6
        ).delays
    )


def test_a_backoff_without_limits_lasts_three_days() -> None:
    """Nobody has to choose: 72 hours are tried."""
    total = sum(backoff_schedule().delays, timedelta())

    assert timedelta(hours=71) <= total <= timedelta(hours=72)


@pytest.mark.parametrize(
    ("initial", "longest"),
    [(timedelta(0), timedelta(1)), (timedelta(2), timedelta(1)), (timedelta(1), timedelta(31))],
)
def test_an_impossible_backoff_is_refused(initial: timedelta, longest: timedelta) -> None:
    """The initial delay is a second at least and not above the longest."""
    with pytest.raises(Invalid, match="backoff"):
        backoff_schedule(initial=initial, longest=longest)


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=20),
    st.none() | st.integers(1, 30),
    st.none() | st.integers(0, 500),
)
def test_limits_cut_a_schedule(
    delays: list[int], max_attempts: int | None, max_age: int | None
) -> None:
    """What is left is a start of the schedule within both limits, one attempt at least."""
    limited = limit_schedule(
        Schedule(delays=seconds(*delays)),
        max_attempts=max_attempts,
        max_age=None if max_age is None else timedelta(seconds=max_age),
    ).delays
    ages = list(accumulate(delays))
    fitting = [
        number
        for number, age in enumerate(ages, start=1)
        if (max_attempts is None or number <= max_attempts) and (max_age is None or age <= max_age)
    ]

    assert limited == seconds(*delays)[: max(1, len(fitting))]


def test_no_attempts_at_all_is_refused() -> None:
    """A schedule without an attempt would deliver nothing."""
    with pytest.raises(Invalid, match="maxAttempts"):
        limit_schedule(STANDARD, max_attempts=0)
