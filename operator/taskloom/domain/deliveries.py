"""Deliveries: one outgoing event to one subscription, and the attempts at it.

::

    pending ──► delivered
      │ ▲
      │ └── due again later, by the schedule
      └───► dead      schedule used up, endpoint gone, or subscription disabled
"""

from dataclasses import dataclass
from datetime import datetime
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
    """A delivery; `attempts` counts those made."""

    id: UUID
    outgoing_event_id: UUID
    subscription_id: UUID
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
class Attempt:
    """One call of an endpoint: an answer (`status`) or an `error`."""

    delivery_id: UUID
    number: int
    started_at: datetime
    milliseconds: int
    status: int | None
    error: str | None
    response_headers: str | None  # JSON text
    response_body: str | None
