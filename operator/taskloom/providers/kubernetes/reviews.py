"""TokenReview and SubjectAccessReview: the cluster says who calls, and what its roles allow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog

from taskloom.domain.permissions import Right
from taskloom.errors import TaskloomError, Unavailable
from taskloom.ports.reviews import AccessReview, ClusterUser, TokenReview
from taskloom.providers.kubernetes.client import (
    KubernetesCluster,
    connected,
    load_configuration,
)
from taskloom.providers.kubernetes.objects import Body, ResourceType
from taskloom.resources.base import GROUP

log = structlog.get_logger()

_SECONDS = 5.0
_DELAY = 2.0
_TOKENS = ResourceType(
    group="authentication.k8s.io", version="v1", plural="tokenreviews", kind="TokenReview"
)
_ACCESS = ResourceType(
    group="authorization.k8s.io",
    version="v1",
    plural="subjectaccessreviews",
    kind="SubjectAccessReview",
)


@contextlib.asynccontextmanager
async def asking_the_cluster() -> AsyncIterator["ClusterReviews"]:
    """Open a connection to the cluster: the pod's own, else the kubeconfig's."""
    async with connected(await load_configuration()) as cluster:
        yield ClusterReviews(cluster)


class ClusterReviews:
    """`Reviews` by a real API server."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster

    async def review_token(self, token: str, audience: str) -> TokenReview:
        """Ask whom a token speaks for."""
        return read_token_review(
            await self._ask(_TOKENS, {"token": token, "audiences": [audience]})
        )

    async def review_access(self, user: ClusterUser, right: Right, namespace: str) -> AccessReview:
        """Ask whether a user has a right in a namespace."""
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra.items()},
            "resourceAttributes": {
                "group": GROUP,
                "resource": right.resource,
                "verb": right.verb,
                "namespace": namespace,
            },
        }
        status = await self._ask(_ACCESS, spec)
        allowed = status.get("allowed") is True and status.get("denied") is not True
        return AccessReview(allowed=allowed, reason=str(status.get("reason") or ""))

    async def _ask(self, type_: ResourceType, spec: Mapping[str, Any]) -> Body:
        """Give the status of a review; whatever keeps us from it is our trouble, not the caller's.

        An error's text may not go on: the API server could repeat what it was sent.
        """
        body = {"apiVersion": type_.api_version, "kind": type_.kind, "spec": spec}
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._cluster.review(type_, body)
        except (Unavailable, TimeoutError) as error:
            raise Unavailable(
                "The Kubernetes API server, which knows who calls, does not answer.", delay=_DELAY
            ) from error
        except TaskloomError as error:
            log.warning("callers.review-refused", kind=type_.kind, error=error.code)
            raise Unavailable(
                f"Taskloom may not ask the Kubernetes API server for a {type_.kind}: bind its "
                "ServiceAccount to the ClusterRole system:auth-delegator.",
                delay=_DELAY,
            ) from error
        status = answer.get("status")
        return status if isinstance(status, Mapping) else {}


def read_token_review(status: Body) -> TokenReview:
    """Read the status of a TokenReview."""
    user = status.get("user")
    if status.get("authenticated") is not True or not isinstance(user, Mapping):
        return TokenReview(user=None, error=str(status.get("error") or ""))
    return TokenReview(
        user=ClusterUser(
            name=str(user.get("username") or ""),
            uid=str(user.get("uid") or ""),
            groups=tuple(user.get("groups") or ()),
            extra=user.get("extra") or {},
        ),
        audiences=tuple(status.get("audiences") or ()),
    )
