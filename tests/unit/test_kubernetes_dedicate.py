"""Dedicated sources get their pods, and lose them: on an API server in memory."""

from pathlib import Path
from typing import Any

import pytest

from taskloom.errors import Forbidden, Unavailable
from taskloom.providers.kubernetes.dedicate import Dedicator, Pods
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.objects import OURS
from taskloom.providers.kubernetes.scope import Scope, read_scope
from taskloom.testing.cluster import FakeCluster

TEMPLATE = Path(__file__).parents[1] / "golden" / "workloads" / "template.yaml"
KEY = ("EventSource", "shop", "orders")


def document(name: str = "orders", **spec: Any) -> dict[str, Any]:
    """Write a dedicated Kafka source."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {
            "kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]},
            "placement": {"mode": "Dedicated", "replicas": 2},
            **spec,
        },
    }


class Bench:
    """A cluster in memory, without KEDA, and who gives pods in it."""

    def __init__(
        self, scope: Scope | None = None, template: Path = TEMPLATE, owner: str | None = None
    ) -> None:
        self.cluster = FakeCluster()
        self.cluster.undefine("ScaledObject")
        self.mirror = Mirror(scope or read_scope((), None))
        self.changed = 0
        self.pods = Pods(
            template=template,
            kinds=frozenset({"kafka", "cron"}),
            owner=owner,
            changed=self._change,
        )
        self.dedicator = Dedicator(self.cluster, self.mirror, "taskloom", self.pods)

    def _change(self) -> None:
        self.changed += 1

    def declare(self, *documents: dict[str, Any]) -> None:
        """Make these all there is."""
        for kind in OURS:
            found = [self.cluster.put(one) for one in documents if one["kind"] == kind]
            versions = [int(one["metadata"]["resourceVersion"]) for one in found]
            self.mirror.take_listing(kind, None, found, max(versions, default=1) + 1)

    def made(self) -> list[tuple[str, str]]:
        """List what there is in the pods' namespace: kinds and the sources they are for."""
        return sorted(
            (body["kind"], body["metadata"]["annotations"]["taskloom.dev/source"])
            for (_, namespace, _), body in self.cluster._objects.items()
            if namespace == "taskloom"
        )

    def deployment(self) -> dict[str, Any]:
        """Give the only Deployment."""
        [found] = [
            body for (kind, _, _), body in self.cluster._objects.items() if kind == "Deployment"
        ]
        return found


async def test_a_dedicated_source_is_given_a_deployment_once() -> None:
    """The second look finds it as it should be and writes nothing."""
    bench = Bench()
    bench.declare(document())

    assert await bench.dedicator.look()
    assert await bench.dedicator.look()

    assert [("Deployment", "shop/orders")] == bench.made()
    assert 1 == bench.cluster.count("apply")


async def test_others_are_given_nothing() -> None:
    """Shared ones, those that the API runs, and those that nobody can run."""
    bench = Bench()
    shared, http, sqs = document("a"), document("b"), document("c")
    shared["spec"]["placement"] = {}
    del http["spec"]["kafka"], sqs["spec"]["kafka"]
    http["spec"]["http"] = {"path": "/p"}
    sqs["spec"]["sqs"] = {"queueUrl": "https://sqs/q"}
    bench.declare(shared, http, sqs)

    assert await bench.dedicator.look()

    assert [] == bench.made()


async def test_a_change_by_hand_is_put_right() -> None:
    """The replicas are those of the source."""
    bench = Bench()
    bench.declare(document())
    await bench.dedicator.look()
    bench.deployment()["spec"]["replicas"] = 9

    await bench.dedicator.look()

    assert 2 == bench.deployment()["spec"]["replicas"]


async def test_with_autoscaling_an_autoscaler_is_made_and_goes_with_it() -> None:
    """A HorizontalPodAutoscaler without KEDA, a ScaledObject with it."""
    bench = Bench()
    scaled = document(placement={"mode": "Dedicated", "autoscaling": {}})
    bench.declare(scaled)
    await bench.dedicator.look()
    assert [
        ("Deployment", "shop/orders"),
        ("HorizontalPodAutoscaler", "shop/orders"),
    ] == bench.made()

    bench.cluster.define("ScaledObject")
    await bench.dedicator.look()
    assert [("Deployment", "shop/orders"), ("ScaledObject", "shop/orders")] == bench.made()

    bench.declare(document())
    await bench.dedicator.look()
    assert [("Deployment", "shop/orders")] == bench.made()


@pytest.mark.parametrize("how", ["deleted", "shared"])
async def test_what_no_source_asks_for_is_removed(how: str) -> None:
    """Deleted, or run by the shared pool from now on."""
    bench = Bench()
    bench.declare(document())
    await bench.dedicator.look()

    if how == "deleted":
        bench.cluster.drop(*KEY)
        bench.declare()
    else:
        bench.declare(document(placement={"mode": "Shared"}))
    await bench.dedicator.look()

    assert [] == bench.made()


async def test_what_a_source_had_stays_while_its_newest_form_is_not_valid() -> None:
    """It stands on in its last valid form."""
    bench = Bench()
    bench.declare(document())
    await bench.dedicator.look()

    bench.declare(document(maxInFlight=0))
    await bench.dedicator.look()

    assert [("Deployment", "shop/orders")] == bench.made()


async def test_the_autoscaler_that_keda_makes_is_left_alone() -> None:
    """It carries the labels and annotations of the ScaledObject that owns it."""
    bench = Bench()
    bench.cluster.define("ScaledObject")
    bench.declare(document(placement={"mode": "Dedicated", "autoscaling": {}}))
    await bench.dedicator.look()
    [scaled] = [b for (kind, _, _), b in bench.cluster._objects.items() if kind == "ScaledObject"]
    owner = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "name": "s",
        "uid": "1",
        "controller": True,
    }
    metadata = scaled["metadata"] | {"name": "keda-hpa-s", "ownerReferences": [owner]}
    bench.cluster.put(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {},
        }
    )

    await bench.dedicator.look()

    assert ("HorizontalPodAutoscaler", "shop/orders") in bench.made()


async def test_other_peoples_objects_are_left_alone() -> None:
    """Those of another installation's namespaces or labels, and those without a source."""
    bench = Bench(read_scope(("shop",), "team=a"))
    labels = {
        "app.kubernetes.io/component": "source",
        "app.kubernetes.io/managed-by": "taskloom",
    }
    for name, source in (("a", "elsewhere/orders"), ("b", "shop/orders"), ("c", "")):
        bench.cluster.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": name,
                    "namespace": "taskloom",
                    "labels": labels,
                    "annotations": {"taskloom.dev/source": source},
                },
                "spec": {},
            }
        )
    for kind in OURS:
        found = [bench.cluster.put(document())] if kind == "EventSource" else []
        bench.mirror.take_listing(kind, "shop", found, 100)

    await bench.dedicator.look()

    assert 3 == len(bench.made())


async def test_what_is_made_belongs_to_the_owner_and_waits_for_it() -> None:
    """An owner made anew is taken over; one that is not there yet, or no more, is told of."""
    bench = Bench(owner="taskloom-source")
    bench.declare(document(placement={"mode": "Dedicated", "autoscaling": {}}))
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "taskloom-source", "namespace": "taskloom"},
    }
    assert not await bench.dedicator.look()
    told = "the ConfigMap taskloom-source that they are to belong to is not there"
    assert {KEY: told} == bench.pods.problems
    assert [] == bench.cluster.names("Deployment")

    for _ in range(2):
        uid = bench.cluster.put(owner)["metadata"]["uid"]
        assert await bench.dedicator.look()
        expected = {"apiVersion": "v1", "kind": "ConfigMap", "name": "taskloom-source"}
        for kind in ("Deployment", "HorizontalPodAutoscaler"):
            [name] = bench.cluster.names(kind)
            made = bench.cluster.find(kind, "taskloom", name)
            assert made is not None
            assert [expected | {"uid": uid}] == made["metadata"]["ownerReferences"]
        bench.cluster.drop("ConfigMap", "taskloom", "taskloom-source")
    assert not await bench.dedicator.look()
    assert 1 == len(bench.cluster.names("Deployment"))

    bench.cluster.put(owner)
    bench.declare()
    assert await bench.dedicator.look()
    assert [] == bench.cluster.names("Deployment")
    assert [] == bench.cluster.names("HorizontalPodAutoscaler")


async def test_a_template_that_cannot_be_used_is_told_and_removes_nothing(tmp_path: Path) -> None:
    """Mended, it is used at the next look."""
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE.read_text())
    bench = Bench(template=template)
    bench.declare(document())
    await bench.dedicator.look()
    template.write_text("{}")

    assert not await bench.dedicator.look()
    assert {
        KEY: "their template cannot be used: it must be a Deployment of apps/v1"
    } == bench.pods.problems
    assert 1 == bench.changed
    assert [("Deployment", "shop/orders")] == bench.made()

    template.unlink()
    await bench.dedicator.look()
    assert "cannot be read" in bench.pods.problems[KEY]

    template.write_text(TEMPLATE.read_text().replace("taskloom:1", "taskloom:2"))
    assert await bench.dedicator.look()
    assert {} == bench.pods.problems
    assert 3 == bench.changed
    containers = bench.deployment()["spec"]["template"]["spec"]["containers"]
    assert "taskloom:2" == containers[1]["image"]


async def test_a_refusal_is_told_of_its_source_only() -> None:
    """The next one is given its pods all the same."""
    bench = Bench()
    bench.declare(document("a"), document("b"))
    bench.cluster.fail("apply", Forbidden("you may not"))

    assert not await bench.dedicator.look()

    assert {("EventSource", "shop", "a"): "you may not"} == bench.pods.problems
    assert [("Deployment", "shop/b")] == bench.made()


async def test_an_api_server_that_does_not_answer_is_asked_again_later() -> None:
    """Nothing is told of the source, and nothing removed."""
    bench = Bench()
    bench.declare(document())
    bench.cluster.fail("list", Unavailable("no answer"))
    assert not await bench.dedicator.look()
    bench.cluster.fail("apply", Unavailable("no answer"))
    assert not await bench.dedicator.look()
    assert {} == bench.pods.problems

    assert await bench.dedicator.look()

    assert [("Deployment", "shop/orders")] == bench.made()
