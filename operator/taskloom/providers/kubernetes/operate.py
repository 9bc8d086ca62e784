"""The operator as a whole: connect, lead, follow."""

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from taskloom.providers.kubernetes.announce import Announcer
from taskloom.providers.kubernetes.client import connected, load_configuration
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.dedicate import Dedicator, Pods
from taskloom.providers.kubernetes.follow import Follower, Surroundings
from taskloom.providers.kubernetes.leader import Leader
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.notices import Notice
from taskloom.providers.kubernetes.objects import LEASES
from taskloom.providers.kubernetes.pod import own_namespace
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.secrets import ClusterSecrets
from taskloom.providers.kubernetes.watch import watching
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.reconcile import Report
from taskloom.reconcilers.snapshot import Snapshot

_WATCH = "watch"
_WATCH_SECONDS = 120.0

Reconcile = Callable[[Snapshot, CredentialStore], Awaitable[Report]]
Begin = Callable[[str, Callable[[], bool]], Reconcile]
"""Begins a lead: given the lease's name, and what tells whether it is held still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """The Lease that decides who leads; its namespace is the pod's own by default."""

    name: str = "taskloom-controller"
    namespace: str | None = None


async def operate(
    scope: Scope,
    begin: Begin,
    *,
    candidacy: Candidacy,
    standing_by: Callable[[], None] = lambda: None,
    surroundings: Surroundings | None = None,
    pods: Pods | None = None,
) -> None:
    """Reconcile a cluster whenever this process leads, until cancelled.

    `standing_by` is called while another process leads; `pods` are given to dedicated sources, in
    the namespace of the Lease.
    """
    surroundings = surroundings or Surroundings()
    meters = surroundings.meters
    async with connected(await load_configuration(), meters.count_request) as cluster:
        namespace = candidacy.namespace
        if namespace is None:
            namespace = await asyncio.to_thread(own_namespace)
        me = identity()
        leader = Leader(cluster, namespace, candidacy.name, me)
        announcer = Announcer(cluster, me, count=meters.count_event)

        async def work() -> None:
            announcer.announce(
                Notice(
                    key=(LEASES.kind, namespace, candidacy.name),
                    uid=leader.lease_uid,
                    api_version=LEASES.api_version,
                    reason="LeaderElection",
                    note=f"{me} became leader",
                    warning=False,
                )
            )
            reconcile = begin(f"{namespace}/{candidacy.name}", leader.holds)
            own, mirror = cluster.written_while(leader.holds), Mirror(scope)
            dedicating: AbstractAsyncContextManager[None] = contextlib.nullcontext()
            if pods is not None:
                dedicating = _beside(Dedicator(own, mirror, namespace, pods).run())
            async with dedicating:
                await _follow(
                    own,
                    scope,
                    mirror,
                    reconcile,
                    surroundings=surroundings,
                    announcer=announcer,
                )

        await leader.lead(work, standing_by=standing_by)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _follow(
    cluster: Cluster,
    scope: Scope,
    mirror: Mirror,
    reconcile: Reconcile,
    *,
    surroundings: Surroundings,
    announcer: Announcer,
) -> None:
    """Begin with a mirror of nothing: what an earlier lead knew may be long out of date."""
    secrets = ClusterSecrets(cluster, mirror)

    async def reconcile_snapshot(snapshot: Snapshot) -> Report:
        return await reconcile(snapshot, secrets)

    follower = Follower(
        cluster, scope, mirror, reconcile_snapshot, surroundings=surroundings, announcer=announcer
    )
    vitals, meters = surroundings.vitals, surroundings.meters

    def live() -> None:
        vitals.beat(_WATCH, within=_WATCH_SECONDS)

    meters.leader.set(1)
    try:
        await follower.run(
            lambda feed: watching(scope, feed, lambda: mirror.references, live, knows=mirror.knows)
        )
    finally:
        vitals.end(_WATCH)
        meters.end()


def identity() -> str:
    """Name this process as no other is named, not even the one before it in the same pod."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
