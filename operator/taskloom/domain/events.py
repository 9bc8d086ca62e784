"""Events: what came in, and where it was routed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

EVERY_KEY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event at the door; `payload` is JSON text, kept as it came."""

    id: UUID
    key: str
    payload: str
    source: str | None
    description: str | None
    origin: str
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one mapping made of an event; `reason` says why it started nothing."""

    mapping_id: UUID
    workflow_key: str
    started: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stored event."""

    id: UUID
    key: str
    payload: str
    source: str | None
    description: str | None
    origin: str
    idempotency_key: str | None
    routing: tuple[Route, ...]
    created_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TellableEvent:
    """What subscribers are told; `payload` is JSON text."""

    id: UUID
    key: str
    payload: str
    source: str
    created_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent(TellableEvent):
    """The same, with where it comes from."""

    event_id: UUID | None
    task_id: UUID | None
    root_instance_id: str | None


def as_binding(key: str, payload: Any, source: str | None) -> dict[str, Any]:
    """Give the `event` that filters and mapping expressions see."""
    return {"key": key, "payload": payload, "source": source or ""}
