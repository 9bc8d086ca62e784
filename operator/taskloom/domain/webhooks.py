"""Client apps and their webhook subscriptions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from uuid import UUID

from taskloom.domain.secret import Secret

_SHORTEST_WITHHELD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerSecrets:
    """The secrets that others have taken the place of; they are good until `valid_until`."""

    api_secret: Secret
    signing_secret: Secret
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientApp:
    """A program that calls us and is called by us.

    `api_secret` authenticates it and signs ``x-task-signature``; `signing_secret` signs
    ``webhook-signature``.
    `revision` is the one of its rotation that is in force, `issued_at` when its secrets were made
    or taken over.
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
    revision: int = 0
    issued_at: datetime | None = None
    former: FormerSecrets | None = None

    def api_secrets(self, now: datetime) -> tuple[Secret, ...]:
        """Give the API secrets that are good now, the newest first."""
        former = self.former_at(now)
        if former is None or former.api_secret == self.api_secret:
            return (self.api_secret,)
        return (self.api_secret, former.api_secret)

    def signing_secrets(self, now: datetime) -> tuple[Secret, ...]:
        """Give the signing secrets that are good now, the newest first."""
        former = self.former_at(now)
        if former is None or former.signing_secret == self.signing_secret:
            return (self.signing_secret,)
        return (self.signing_secret, former.signing_secret)

    def former_at(self, now: datetime) -> FormerSecrets | None:
        """Give the former secrets if they are good still."""
        return self.former if self.former is not None and now < self.former.valid_until else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a call goes and what it carries; encrypted at rest, as any part may hold a secret."""

    url: Secret
    headers: Mapping[str, Secret] = field(default_factory=dict)
    ca_bundle: str | None = None  # PEM
    client_certificate: Secret | None = None  # PEM, certificate and key

    def withhold(self, text: str) -> str:
        """Take the words of the headers' values out of what an endpoint sent back.

        Words of less than eight characters stay: they are no secrets, and stand anywhere.
        """
        for value in self.headers.values():
            for word in value.reveal().split():
                if len(word) >= _SHORTEST_WITHHELD:
                    text = text.replace(word, "***")
        return text


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
