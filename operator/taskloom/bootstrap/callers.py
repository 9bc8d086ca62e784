"""Callers of the cluster, if the settings let them in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from taskloom.api.callers import CallerOptions, ClusterCallers
from taskloom.errors import Permanent
from taskloom.settings import Settings


@contextlib.asynccontextmanager
async def cluster_callers(settings: Settings) -> AsyncIterator[ClusterCallers | None]:
    """Connect to the cluster that knows the callers; `Permanent` if there is none."""
    if not settings.kubernetes_callers:
        yield None
        return
    try:
        # An extra (kubernetes), which only who has a cluster has.
        from taskloom.providers.kubernetes import pod, reviews  # noqa: PLC0415 - extra
    except ModuleNotFoundError as error:
        raise Permanent(
            f"TASKLOOM_KUBERNETES_CALLERS needs the package {error.name}: "
            "pip install 'taskloom[kubernetes]'."
        ) from error
    namespace = settings.kubernetes_namespace
    if namespace is None:
        namespace = await asyncio.to_thread(pod.own_namespace)
    async with reviews.asking_the_cluster() as cluster:
        yield ClusterCallers(
            cluster,
            CallerOptions(audience=settings.kubernetes_audience, namespace=namespace),
        )
