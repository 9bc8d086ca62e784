"""The one finalizer: on Workflows to be deleted with their rows, until no instance runs."""

from typing import Any

import pytest

from taskloom.errors import Conflict, Forbidden, NotFound, TaskloomError
from taskloom.providers.kubernetes.finalizer import FINALIZER, keep_finalizers, wants_finalizer
from taskloom.providers.kubernetes.mirror import Mirror, Seen
from taskloom.providers.kubernetes.scope import Scope
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict
from taskloom.testing.cluster import FakeCluster

KEY: Key = ("Workflow", "shop", "buy")


def workflow(policy: str, **metadata: Any) -> dict[str, Any]:
    """Write a Workflow."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "buy", "namespace": "shop", "generation": 1, "uid": "u", **metadata},
        "spec": {"bpmn": {"inline": "x"}, "deletionPolicy": policy},
    }


def seen(policy: str, *, held: bool, deleted: bool) -> Seen:
    """Look at a Workflow."""
    mirror = Mirror(Scope())
    metadata: dict[str, Any] = {"finalizers": [FINALIZER, "other/one"] if held else ["other/one"]}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    mirror.take(workflow(policy, **metadata))
    found = mirror.seen(KEY)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("policy", "running", "held", "deleted", "released", "expected"),
    [
        ("Delete", 2, False, False, False, True),
        ("Delete", 2, True, False, False, None),
        ("Delete", 0, False, False, False, None),
        ("Delete", 0, True, False, False, False),
        ("Delete", None, False, False, False, None),  # nobody knows: it stays as it is
        ("Delete", None, True, False, False, None),
        ("Retain", 2, False, False, False, None),
        ("Retain", 2, True, False, False, False),
        ("Delete", 2, True, True, False, None),
        ("Delete", 0, True, True, False, None),  # its rows are not gone yet
        ("Delete", 0, True, True, True, False),
        ("Delete", 2, False, True, False, None),  # too late: no finalizer is taken on any more
        ("Retain", 2, True, True, True, False),
    ],
)
def test_who_is_held(
    *,
    policy: str,
    running: int | None,
    held: bool,
    deleted: bool,
    released: bool,
    expected: bool | None,
) -> None:
    """Only a Workflow with the policy Delete and instances, and a deleted one until released."""
    found = seen(policy, held=held, deleted=deleted)

    assert expected is wants_finalizer(found, running=running, released=released)


def test_an_object_that_is_not_valid_is_left_as_it_is() -> None:
    """What its newest form asks for is not known."""
    mirror = Mirror(Scope())
    mirror.take({**workflow("Delete"), "spec": {}})
    found = mirror.seen(KEY)

    assert found is not None
    assert wants_finalizer(found, running=1, released=False) is None


@pytest.mark.parametrize(
    ("error", "well"), [(NotFound(), True), (Conflict(), True), (Forbidden(), False)]
)
async def test_what_cannot_be_written(error: TaskloomError, *, well: bool) -> None:
    """One that is gone is no trouble; a refusal is told, and tried again."""
    cluster, mirror = FakeCluster(), Mirror(Scope())
    mirror.take(cluster.put(workflow("Delete")))
    cluster.fail("set-finalizers", error)
    verdicts = {KEY: Verdict(conditions=(), fields={"runningInstances": 1})}

    assert well == await keep_finalizers(cluster, mirror, dict(mirror.selected()), verdicts)
    assert await keep_finalizers(cluster, mirror, dict(mirror.selected()), verdicts)
    kept = cluster.find(*KEY)
    assert kept is not None
    assert [FINALIZER] == kept["metadata"]["finalizers"]
