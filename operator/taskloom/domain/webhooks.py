"""Client apps and their webhook subscriptions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from uuid import UUID

from taskloom.domain.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientApp:
    """A program that calls us and is called by us.

    `api_secret` authenticates it and signs ``x-task-signature``; `signing_secret` signs
    ``webhook-signature``.
    """

    id: UUID
    name: str
    api_key: str
    api_secret: Secret
    signing_secret: Secret
    scopes: tuple[str, ...]
    suspended: bool
    managed_by: str
    created_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a call goes and what it carries; encrypted at rest, as any part may hold a secret."""

    url: Secret
    headers: Mapping[str, Secret] = field(default_factory=dict)
    ca_bundle: str | None = None  # PEM
    client_certificate: Secret | None = None  # PEM, certificate and key


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """How a subscription is delivered to; `schedule` (seconds) None = by the kind of host."""

    timeout_seconds: float = 15.0
    schedule: tuple[float, ...] | None = None
    max_in_flight: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Tell `target` of outgoing events whose key matches one of `event_keys` (globs)."""

    id: UUID
    client_id: UUID
    event_keys: tuple[str, ...]
    filter: str | None  # CEL over `event`
    target: Target
    host: str
    scheme: str  # TaskSignature | StandardWebhooks | Both
    delivery: DeliveryOptions
    suspended: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    managed_by: str
    created_on: datetime


def matches_key(globs: Iterable[str], key: str) -> bool:
    """Tell whether an event's key matches one of the globs (``*`` within and alone)."""
    return any(fnmatchcase(key, glob) for glob in globs)
