"""Ways in that are declared: event sources; and programs that run a topic: commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target

PREFIX = "/sources"
"""Where the HTTP door serves the paths of http sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """Where events come from; `spec` is the resource's, `secrets` what its references held."""

    id: UUID
    kind: str  # http | kafka | …
    path: str | None  # of an http source
    spec: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    suspended: bool = False
    managed_by: str = "api"
    created_on: datetime | None = None


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
