"""Deliveries: one outgoing event to one subscription or sink, and the attempts at it.

::

    pending ──► delivered
      │ ▲
      │ └── due again later, by the schedule
      └───► dead      schedule used up, endpoint gone, or subscription disabled
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from taskloom.domain.events import TellableEvent


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery, to a subscription or to a sink; `attempts` counts those made."""

    id: UUID
    outgoing_event_id: UUID
    subscription_id: UUID | None
    sink_id: UUID | None
    state: DeliveryState
    attempts: int
    due_at: datetime
    created_on: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery taken to be attempted; `attempt` counts the present one.

    `stamp` is when its subscription or client app was changed last.
    """

    id: UUID
    subscription_id: UUID
    attempt: int
    stamp: datetime
    event: TellableEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkDelivery:
    """A delivery to a sink, taken to be attempted; `attempt` counts the present one."""

    id: UUID
    attempt: int
    event: TellableEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call of an endpoint: an answer (`status`) or an `error`.

    At a sink there is no status: `response_body` says where the record was put.
    """

    delivery_id: UUID
    number: int
    started_at: datetime
    milliseconds: int
    status: int | None
    error: str | None
    response_headers: str | None  # JSON text
    response_body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What some attempts say of a subscription's endpoint.

    `failures` counts those after the last success; `status` is the last answer's, `error` says why
    the last failure failed.
    """

    subscription_id: UUID
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    status: int | None = None
    error: str | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFigures:
    """How deliveries to a subscription went of late; `disabled` says why it was given up."""

    subscription_id: UUID
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_status: int | None
    last_error: str | None
    consecutive_failures: int
    pending: int
    disabled: str | None


LONGEST_ERROR = 512


def tally(attempts: Iterable[tuple[UUID, Attempt, DeliveryState]]) -> list[Tally]:
    """Sum attempts up by subscription, in the order in which they ended."""
    sums: dict[UUID, Tally] = {}
    for subscription_id, attempt, state in sorted(attempts, key=lambda item: _end(item[1])):
        before = sums.get(subscription_id) or Tally(subscription_id=subscription_id)
        status = before.status if attempt.status is None else attempt.status
        if state is DeliveryState.DELIVERED:
            after = replace(before, last_success_at=_end(attempt), status=status, failures=0)
        else:
            error = attempt.error or f"the endpoint answered {attempt.status}"
            after = replace(
                before,
                last_failure_at=_end(attempt),
                status=status,
                error=error[:LONGEST_ERROR],
                failures=before.failures + 1,
            )
        sums[subscription_id] = after
    return list(sums.values())


def _end(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.milliseconds)
