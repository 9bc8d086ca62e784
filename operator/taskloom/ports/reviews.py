"""Whom a cluster's token speaks for, and what its roles let them do: asked of the cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taskloom.domain.permissions import Right


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterUser:
    """A user as the cluster knows it; a ServiceAccount is ``system:serviceaccount:<ns>:<name>``."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReview:
    """What the cluster says of a token: its user and audiences, or None and why not."""

    user: ClusterUser | None
    audiences: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """Whether the cluster's roles grant a right; `reason` may say why, or be empty."""

    allowed: bool
    reason: str = ""


class Reviews(Protocol):
    """A cluster that is asked about callers.

    Raises `taskloom.errors.Unavailable` where it does not answer, or may not be asked.
    """

    async def review_token(self, token: str, audience: str) -> TokenReview:
        """Ask whom a token that is meant for `audience` speaks for."""
        ...

    async def review_access(self, user: ClusterUser, right: Right, namespace: str) -> AccessReview:
        """Ask whether a user has a right in a namespace."""
        ...
