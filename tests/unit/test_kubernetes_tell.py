"""Statuses on their way: each is written once, and what stands is not kept."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.tell import Teller
from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, programmed
from taskloom.testing.cluster import FakeCluster

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
KEY: Key = ("EventMapping", "shop", "m")


def mapping() -> dict[str, Any]:
    """Write an EventMapping."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventMapping",
        "metadata": {"name": "m", "namespace": "shop"},
        "spec": {"eventKey": "placed", "workflowKey": "buy"},
    }


def verdict_of(mirror: Mirror) -> Verdict:
    """Find the object in force."""
    seen = mirror.seen(KEY)
    assert seen is not None
    assert seen.declared is not None
    resource = seen.declared.resource
    desired = Desired(resource=resource, manager="test", generation=seen.generation, created_on=NOW)
    return programmed(desired, {"mappingId": "1"})


async def test_what_was_written_while_it_was_judged_again_is_not_written_twice() -> None:
    """A judgement may be of an object as it was before its status came: it stands already."""
    cluster, mirror = FakeCluster(), Mirror(Scope())
    mirror.take(cluster.put(mapping()))
    teller = Teller(cluster, mirror)
    writing = asyncio.create_task(teller.write())
    judged = dict(mirror.selected())
    assert 1 == await teller.tell(judged, {KEY: verdict_of(mirror)}, NOW)
    await teller.wake()
    await teller.settled()

    later = NOW + timedelta(minutes=1)
    assert 0 == await teller.tell(judged, {KEY: verdict_of(mirror)}, later)
    assert 0 == await teller.tell(dict(mirror.selected()), {KEY: verdict_of(mirror)}, later)
    writing.cancel()
    await asyncio.wait([writing])

    assert 1 == cluster.count("apply-status")
