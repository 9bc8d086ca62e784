"""When a delivery is tried again: schedules as data, and the decision after each attempt."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Final

from taskloom.errors import Invalid

JITTER: Final = 0.2  # a delay is up to a fifth shorter or longer
LONGEST_RETRY_AFTER: Final = timedelta(hours=24)
_MOST_ATTEMPTS: Final = 1000
_LONGEST_DELAY: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The delay before each attempt: the first counts from the event, each other from a failure."""

    delays: tuple[timedelta, ...]


class Outcome(StrEnum):
    """What one attempt came to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    THROTTLE = "throttle"  # retry, and spare the whole endpoint until then
    ABORT = "abort"  # the receiver wants this message no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An attempt's outcome and what the receiver asked for with it.

    `disables_subscription` may come with any outcome: nothing more is to be sent there.
    """

    outcome: Outcome
    reason: str
    retry_after: timedelta | None = None
    disables_subscription: bool = False


class Action(StrEnum):
    """What is to be done with a delivery."""

    FINISH = "finish"  # it arrived
    RETRY = "retry"
    GIVE_UP = "give-up"  # it is dead


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """What is to be done after an attempt; `at` is set for `RETRY` alone."""

    action: Action
    reason: str
    at: datetime | None = None
    pauses_endpoint: bool = False
    disables_subscription: bool = False


def next_attempt(
    schedule: Schedule, attempt: int, now: datetime, outcome: Verdict, jitter: float
) -> RetryDecision:
    """Decide after the `attempt`-th attempt (from 1); `jitter` is a random number from 0 to 1.

    The next attempt comes after the longer of the schedule's delay, give or take a fifth,
    and the receiver's Retry-After, of which at most 24 hours count.
    """
    if outcome.outcome is Outcome.DELIVERED:
        action = Action.FINISH
    elif outcome.outcome is Outcome.ABORT or outcome.disables_subscription:
        action = Action.GIVE_UP
    elif attempt >= len(schedule.delays):
        return RetryDecision(
            action=Action.GIVE_UP, reason=f"{outcome.reason} (attempt {attempt} was the last)"
        )
    else:
        delay = schedule.delays[attempt] * (1 - JITTER + 2 * JITTER * jitter)
        asked = min(outcome.retry_after or timedelta(0), LONGEST_RETRY_AFTER)
        return RetryDecision(
            action=Action.RETRY,
            reason=outcome.reason,
            at=now + max(delay, asked),
            pauses_endpoint=outcome.outcome is Outcome.THROTTLE,
        )
    return RetryDecision(
        action=action,
        reason=outcome.reason,
        disables_subscription=outcome.disables_subscription,
    )


def custom_schedule(delays: Sequence[timedelta]) -> Schedule:
    """Make a schedule of a user's delays; `Invalid` if one is negative or beyond 30 days."""
    if not 1 <= len(delays) <= _MOST_ATTEMPTS:
        raise Invalid(f"A schedule has between 1 and {_MOST_ATTEMPTS} delays: give that many")
    for delay in delays:
        if not timedelta(0) <= delay <= _LONGEST_DELAY:
            raise Invalid(f"A schedule's delay is between 0 and 30 days, not {delay}: correct it")
    return Schedule(delays=tuple(delays))


def backoff_schedule(
    *,
    initial: timedelta = timedelta(seconds=5),
    longest: timedelta = timedelta(hours=1),
    max_attempts: int | None = None,
    max_age: timedelta | None = None,
) -> Schedule:
    """Make delays that double from `initial` to `longest`, over 72 hours unless limited otherwise.

    `max_age` counts from the event to the start of the last attempt.
    """
    if not timedelta(seconds=1) <= initial <= longest <= _LONGEST_DELAY:
        raise Invalid("A backoff goes from `initial`, 1s at least, up to `max`, 30 days at most")
    if max_attempts is None and max_age is None:
        max_age = timedelta(hours=72)
    delays = [timedelta(0)]
    while len(delays) < _MOST_ATTEMPTS:
        delays.append(min(initial * 2 ** min(len(delays) - 1, 40), longest))
    return limit_schedule(
        Schedule(delays=tuple(delays)), max_attempts=max_attempts, max_age=max_age
    )


def limit_schedule(
    schedule: Schedule, *, max_attempts: int | None = None, max_age: timedelta | None = None
) -> Schedule:
    """Cut a schedule to so many attempts and to those that start within `max_age`.

    One attempt is always left.
    """
    if max_attempts is not None and max_attempts < 1:
        raise Invalid("`maxAttempts` is 1 at least: raise it, or suspend the subscription")
    delays = schedule.delays[:max_attempts]
    if max_age is not None:
        delays = delays[: sum(age <= max_age for age in accumulate(delays))]
    return Schedule(delays=delays or schedule.delays[:1])


def default_schedule_for(host: str) -> Schedule:
    """Give the schedule for a receiver nobody chose one for: dense nearby, patient on the internet.

    Nearby are a cluster's services (``*.svc``, ``*.svc.cluster.local``), ``localhost`` and
    private addresses.
    """
    name = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if name.endswith((".svc", ".svc.cluster.local", ".localhost")) or name == "localhost":
        return CLUSTER
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return STANDARD
    embedded = getattr(address, "ipv4_mapped", None)
    return CLUSTER if (embedded or address).is_private else STANDARD


def _seconds(delays: Iterable[int]) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=delay) for delay in delays)


_MINUTE: Final = 60
_HOUR: Final = 3600
CLUSTER: Final = Schedule(
    delays=_seconds(
        # hourly at the end, until a day has passed
        (0, 1, 2, 5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, *(_HOUR for _ in range(23)))
    )
)
STANDARD: Final = Schedule(
    delays=_seconds(
        (
            *(0, 5, 5 * _MINUTE, 30 * _MINUTE),
            *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
        )
    )
)
