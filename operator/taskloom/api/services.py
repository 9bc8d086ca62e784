"""What the HTTP door works with, given by the bootstrap."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from taskloom.api.auth import Authenticator
from taskloom.api.callers import ClusterCallers
from taskloom.api.engine_rest.hosting import Hosted
from taskloom.errors import NotFound
from taskloom.flow.ingest import TakesEvents
from taskloom.flow.services import Services

Check = Callable[[], Awaitable[None]]
"""Returns when a part is ready; raises a `TaskloomError` that says what is missing."""

MAX_BODY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The use cases' services, the door for events, who may enter, and what is watched.

    `callers` admits a cluster's ServiceAccounts, and leaves all others to the `authenticator`.
    `checks` are the parts that /readyz asks, by name; `stuck` names what a restart would help.
    `max_body_bytes` bounds a request's body.
    `hosted` is what /engine-rest works with, None where the engine serves its own clients.
    """

    flow: Services
    ingest: TakesEvents
    authenticator: Authenticator
    callers: ClusterCallers | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    stuck: Callable[[], Mapping[str, str]] = dict
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    max_body_bytes: int = MAX_BODY_BYTES
    hosted: Hosted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a process shows of itself: whether it is ready, whether it is stuck, and its metrics."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    stuck: Callable[[], Mapping[str, str]] = dict
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def _watched(request: Request) -> Watched:
    watched: Watched = request.app.state.watched
    return watched


def _services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


def check_webhooks(services: ApiServices) -> None:
    """Raise `NotFound` where the webhook tables were left out."""
    if not services.flow.webhooks:
        raise NotFound("Webhooks are left out of this installation.")


Process = Annotated[Watched, Depends(_watched)]
"""A route's argument: the process itself."""
Api = Annotated[ApiServices, Depends(_services)]
"""A route's argument: the services."""
