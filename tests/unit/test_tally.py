"""Attempts at deliveries, summed up by subscription."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.deliveries import LONGEST_ERROR, Attempt, DeliveryState, Tally, tally

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
ONE, OTHER = UUID(int=1), UUID(int=2)
DELIVERED, PENDING, DEAD = DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.DEAD


def attempt(second: int, status: int | None = 503, error: str | None = None) -> Attempt:
    """Make an attempt that ended in a second."""
    return Attempt(
        delivery_id=UUID(int=second),
        number=1,
        started_at=NOW + timedelta(seconds=second - 1),
        milliseconds=1000,
        status=status,
        error=error,
        response_headers=None,
        response_body=None,
    )


def test_attempts_are_taken_in_the_order_of_their_ends() -> None:
    """Failures before a success do not count, those after it do, whatever order they come in."""
    summed = tally(
        [
            (ONE, attempt(3, 500), PENDING),
            (ONE, attempt(1, 503), PENDING),
            (OTHER, attempt(1, None, "timeout: no answer"), DEAD),
            (ONE, attempt(4, None, "dns: gone"), PENDING),
            (ONE, attempt(2, 204), DELIVERED),
        ]
    )

    expected = [
        Tally(
            subscription_id=ONE,
            last_success_at=NOW + timedelta(seconds=2),
            last_failure_at=NOW + timedelta(seconds=4),
            status=500,
            error="dns: gone",
            failures=2,
        ),
        Tally(
            subscription_id=OTHER,
            last_failure_at=NOW + timedelta(seconds=1),
            error="timeout: no answer",
            failures=1,
        ),
    ]
    assert expected == sorted(summed, key=lambda item: item.subscription_id)


def test_an_answer_that_is_a_failure_says_so() -> None:
    """Where there is no error of the network, the status is the reason; long ones are cut."""
    (answered,) = tally([(ONE, attempt(1, 503), PENDING)])
    (long,) = tally([(ONE, attempt(1, None, "x" * 1000), PENDING)])

    assert "the endpoint answered 503" == answered.error
    assert LONGEST_ERROR == len(long.error or "")


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_failures_count_back_to_the_last_success(outcomes: list[bool]) -> None:
    """However many, the sum says how many came after the last success."""
    (summed,) = tally(
        (ONE, attempt(second, 204 if good else 500), DELIVERED if good else PENDING)
        for second, good in enumerate(outcomes, start=1)
    )

    backwards = outcomes[::-1]
    expected = backwards.index(True) if True in outcomes else len(outcomes)
    assert expected == summed.failures
    assert (True in outcomes) == (summed.last_success_at is not None)
