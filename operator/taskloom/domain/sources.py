"""Ways in and out that are declared: sources and sinks; and programs that run a topic: commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target

PREFIX = "/sources"
"""Where the HTTP door serves the paths of http sources."""
STATES = "connection-states"
"""Rung when a source or sink stands otherwise than before."""
FORMER_HMAC, FORMER_UNTIL = "hmacFormer", "hmacFormerUntil"
"""Where a source keeps the secret that was rotated, and until when that is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """Where events come from; `spec` is the resource's, `secrets` what its references held."""

    id: UUID
    kind: str  # http | kafka | …
    path: str | None  # of an http source
    spec: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    suspended: bool = False
    pool: str | None = "default"  # of connectors processes; None if it has pods of its own
    managed_by: str = "api"
    created_on: datetime | None = None

    def hmac_secrets(self, now: datetime) -> tuple[Secret, ...]:
        """Give the secrets that sign bodies now, the newest first."""
        until = self.spec["resolved"].get(FORMER_UNTIL)
        if until is None or datetime.fromisoformat(until) <= now:
            return (self.secrets["hmac"],)
        return (self.secrets["hmac"], self.secrets[FORMER_HMAC])


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSink:
    """Where outgoing events are produced to; `secrets` is what the spec's references held."""

    id: UUID
    kind: str  # kafka | sqs
    spec: Mapping[str, Any]
    event_keys: tuple[str, ...]
    filter: str | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    suspended: bool = False
    managed_by: str = "api"
    created_on: datetime | None = None


class ConnectionState(StrEnum):
    """How a source's or a sink's connector stands."""

    IDLE = "idle"  # nobody runs it
    STARTING = "starting"
    CONNECTED = "connected"
    FAILING = "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a connector tells of the source it runs, or the sink it produces to."""

    state: ConnectionState
    since: datetime
    reason: str | None = None
    message: str = ""
    last_event_on: datetime | None = None
    partitions: int | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """One of the places that a source runs in; `holder` is the process that has it, if one has."""

    source_id: UUID
    slot: int
    holder: str | None
    standing: Standing
    reported_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How a sink stands; `holder` is the process that produces to it, if one does."""

    holder: str | None
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCommand:
    """A topic that a service of the user's runs, called over HTTP."""

    id: UUID
    topic: str
    target: Target
    timeout_seconds: float
    suspended: bool = False
    managed_by: str = "api"
    created_on: datetime | None = None


def object_of(manager: str) -> tuple[str, str] | None:
    """Give namespace and name of the object that manages a row; None for a row of the API."""
    parts = manager.partition(":")[2].split("/")
    return (parts[1], parts[2]) if len(parts) == 3 else None


def origin_of(source: EventSource) -> str:
    """Name a source as the door that its events come in by: an idempotency key is its own."""
    home = object_of(source.managed_by)
    return f"source:{source.id}" if home is None else f"source:{home[0]}/{home[1]}"


def name_of(sink: EventSink) -> str:
    """Name a sink for people: its kind, and its object if one declares it."""
    home = object_of(sink.managed_by)
    return f"{sink.kind}:{sink.id}" if home is None else f"{sink.kind}:{home[0]}/{home[1]}"
