"""From news of a cluster to reconciliations and statuses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from taskloom.domain.conditions import Reason
from taskloom.errors import Forbidden, Unavailable
from taskloom.providers.kubernetes.feed import Feed
from taskloom.providers.kubernetes.follow import Follower, Rhythm, Surroundings, Watch
from taskloom.providers.kubernetes.meters import Meters
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.objects import OURS
from taskloom.providers.kubernetes.scope import Scope, read_scope
from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.figures import Look
from taskloom.reconcilers.reconcile import Report
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.reconcilers.verdict import Verdict, programmed
from taskloom.runtime.pulse import Pulse
from taskloom.runtime.vitals import Vitals
from taskloom.testing.cluster import FakeCluster

METER = "taskloom_controller"
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
QUICK = Rhythm(
    quiet=0.01,
    tick=0.005,
    burst=0.5,
    resync=60,
    retry=0.005,
    longest_retry=0.01,
    relist=60,
    glance=0.005,
)


def mapping(name: str, key: str = "order.placed", **metadata: Any) -> dict[str, Any]:
    """Write an EventMapping."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventMapping",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {"eventKey": key, "workflowKey": "buy"},
    }


def workflow(name: str, config_map: str) -> dict[str, Any]:
    """Write a Workflow whose model is in a ConfigMap."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"bpmn": {"configMapKeyRef": {"name": config_map}}},
    }


def config_map(name: str, text: str) -> dict[str, Any]:
    """Write a ConfigMap with a model."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"process.bpmn": text},
    }


@dataclass
class Plant:
    """A cluster, and a reconciliation that finds everything well unless it is told to fail."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    snapshots: list[Snapshot] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    due: list[datetime | None] = field(default_factory=list)
    running: bool = False  # whether instances of workflows run
    look: Look | None = None
    meters: Meters = field(default_factory=Meters)
    vitals: Vitals = field(default_factory=Vitals)
    holds: list[asyncio.Event] = field(default_factory=list)
    pulses: dict[Reason, Pulse] = field(default_factory=dict)

    async def reconcile(self, snapshot: Snapshot) -> Report:
        """Find every declared object in force."""
        self.snapshots.append(snapshot)
        for hold in self.holds:
            await hold.wait()
        if self.failures:
            raise self.failures.pop(0)
        verdicts = {}
        released = frozenset() if self.running else snapshot.leaving
        for declared in snapshot.resources:
            resource = declared.resource
            generation = resource.metadata.generation
            desired = Desired(
                resource=resource, manager="test", generation=generation, created_on=NOW
            )
            fields = {"runningInstances": int(self.running)} if resource.kind == "Workflow" else {}
            verdicts[resource.key] = programmed(desired, fields)
        due = self.due.pop(0) if self.due else None
        return Report(verdicts=verdicts, changes=0, due=due, released=released, look=self.look)

    @contextlib.asynccontextmanager
    async def following(
        self, scope: Scope | None = None, rhythm: Rhythm = QUICK, watch: Watch | None = None
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Follow the cluster within the block."""
        scope = scope or Scope()
        follower = Follower(
            self.cluster,
            scope,
            Mirror(scope),
            self.reconcile,
            surroundings=Surroundings(
                rhythm=rhythm, pulses=self.pulses, meters=self.meters, vitals=self.vitals
            ),
            now=lambda: NOW,
        )
        task = asyncio.create_task(follower.run(watch or self.cluster.watch))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def names(self) -> set[str]:
        """Name what the newest snapshot declares."""
        return {d.resource.metadata.name for d in self.snapshots[-1].resources}

    def ready(self, name: str, kind: str = "EventMapping") -> tuple[str, str, int] | None:
        """Read an object's Ready condition: status, reason, generation."""
        found = self.cluster.find(kind, "shop", name) or {}
        for condition in found.get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready":
                return (
                    condition["status"],
                    condition["reason"],
                    condition["observedGeneration"],
                )
        return None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_is_declared_is_reconciled_and_told() -> None:
    """Everything that is there at the start is one reconciliation, and gets its status."""
    plant = Plant()
    for number in range(5):
        plant.cluster.put(mapping(f"m{number}"))

    async with plant.following():
        await until(lambda: plant.ready("m4") is not None)

    assert ("True", "Reconciled", 1) == plant.ready("m0")
    assert 1 == len(plant.snapshots)
    assert plant.snapshots[0].complete
    assert 5 == plant.cluster.count("apply-status")


async def test_an_own_status_is_no_reason_to_reconcile() -> None:
    """The news of the statuses that were written do not lead to another reconciliation."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    async with plant.following():
        await until(lambda: plant.ready("m") is not None)
        await asyncio.sleep(0.05)

        assert 1 == len(plant.snapshots)


async def test_a_burst_of_a_hundred_changes_is_few_reconciliations() -> None:
    """A hundred objects applied at once are reconciled together."""
    plant = Plant()
    async with plant.following():
        await until(lambda: len(plant.snapshots) == 1)
        for number in range(100):
            plant.cluster.put(mapping(f"m{number}"))
        await until(lambda: bool(plant.snapshots) and len(plant.names()) == 100)
        await until(lambda: plant.cluster.count("apply-status") == 100)

        assert len(plant.snapshots) <= 3


async def test_nothing_is_written_after_a_restart_when_nothing_changed() -> None:
    """Statuses that stand in the cluster are not written again."""
    plant = Plant()
    for number in range(5):
        plant.cluster.put(mapping(f"m{number}"))
    async with plant.following():
        await until(lambda: plant.ready("m4") is not None)
    plant.cluster.calls.clear()
    plant.snapshots.clear()

    async with plant.following():
        await until(lambda: len(plant.snapshots) == 1)
        await asyncio.sleep(0.05)

    assert 0 == plant.cluster.count("apply-status")


async def test_a_change_is_told_with_its_generation() -> None:
    """The status speaks of the generation that was judged."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    async with plant.following():
        await until(lambda: plant.ready("m") is not None)
        plant.cluster.put(mapping("m", key="order.changed"))
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 2))


async def test_what_is_deleted_is_declared_no_more() -> None:
    """A deletion leads to a snapshot without the object."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    async with plant.following():
        await until(lambda: plant.ready("m") is not None)
        plant.cluster.drop("EventMapping", "shop", "m")
        await until(lambda: plant.names() == set())


async def test_a_deletion_that_the_watch_missed_is_found_by_listing() -> None:
    """Every so often everything is listed, and what is not in the list is gone."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    rhythm = Rhythm(quiet=0.01, burst=0.5, resync=0.05, retry=0.005, longest_retry=0.01)
    async with plant.following(rhythm=rhythm):
        await until(lambda: plant.ready("m") is not None)
        plant.cluster.drop("EventMapping", "shop", "m", told=False)
        await until(lambda: plant.names() == set())


async def test_nothing_is_done_before_every_kind_is_listed() -> None:
    """While a definition is missing nothing is reconciled, as nothing can be taken for gone."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.cluster.undefine("Workflow")
    async with plant.following():
        await until(lambda: plant.cluster.count("list", "Workflow") > 3)
        assert [] == plant.snapshots
        plant.cluster.define("Workflow")
        await until(lambda: plant.ready("m") is not None)


async def test_an_outage_is_waited_for_at_the_start() -> None:
    """An API server that does not answer at first is asked again."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.cluster.fail("list", *[Unavailable() for _ in range(20)])
    async with plant.following():
        await until(lambda: plant.ready("m") is not None)


async def test_a_listing_that_fails_later_leaves_what_is_known() -> None:
    """When listing fails after the start, nothing is taken for gone."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    rhythm = Rhythm(quiet=0.01, burst=0.5, resync=0.05, retry=0.005, longest_retry=0.01)
    async with plant.following(rhythm=rhythm):
        await until(lambda: plant.ready("m") is not None)
        plant.cluster.fail("list", *[Unavailable() for _ in range(30)])
        count = len(plant.snapshots)
        await until(lambda: len(plant.snapshots) > count + 3)

        assert all(
            snapshot.complete and len(snapshot.resources) == 1 for snapshot in plant.snapshots
        )


async def test_data_that_is_referred_to_is_handed_over_and_watched() -> None:
    """A ConfigMap that a workflow names is in the snapshot, and its change is a reason to look."""
    plant = Plant()
    plant.cluster.put(config_map("model", "one"))
    plant.cluster.put(config_map("other", "of no interest"))
    plant.cluster.put(workflow("w", "model"))

    def model() -> bytes | None:
        found = plant.snapshots[-1].config_maps.get(("shop", "model")) if plant.snapshots else None
        return None if found is None else found.data["process.bpmn"]

    async with plant.following():
        await until(lambda: model() == b"one")
        assert {("shop", "model")} == set(plant.snapshots[-1].config_maps)
        plant.cluster.put(config_map("model", "two"))
        await until(lambda: model() == b"two")
        plant.cluster.drop("ConfigMap", "shop", "model")
        await until(lambda: model() is None)
        plant.cluster.put(config_map("model", "three"))
        await until(lambda: model() == b"three")


async def test_data_of_a_new_reference_are_looked_up() -> None:
    """What an object comes to refer to is read, though it did not change."""
    plant = Plant()
    plant.cluster.put(config_map("model", "one"))
    async with plant.following():
        await until(lambda: len(plant.snapshots) == 1)
        plant.cluster.put(workflow("w", "model"))
        await until(lambda: ("shop", "model") in plant.snapshots[-1].config_maps)


async def test_an_invalid_object_is_refused_and_the_others_stand() -> None:
    """An object that the models do not take is handed over as refused."""
    plant = Plant()
    plant.cluster.put(mapping("good"))
    plant.cluster.put(mapping("bad") | {"spec": {"eventKey": "x", "unknown": 1}})
    async with plant.following():
        await until(lambda: plant.ready("good") is not None)

    assert [("EventMapping", "shop", "bad")] == [item.key for item in plant.snapshots[-1].refused]


async def test_only_what_is_selected_is_followed() -> None:
    """Objects with other labels are known to be elsewhere, and get no status."""
    plant = Plant()
    plant.cluster.put(mapping("mine", labels={"team": "a"}))
    plant.cluster.put(mapping("other", labels={"team": "b"}))
    async with plant.following(read_scope((), "team=a")):
        await until(lambda: plant.ready("mine") is not None)

    assert {"mine"} == plant.names()
    assert {("EventMapping", "shop", "other")} == plant.snapshots[-1].elsewhere
    assert plant.ready("other") is None


async def test_only_the_namespaces_asked_for_are_listed() -> None:
    """With namespaces given, no list is of the whole cluster."""
    plant = Plant()
    plant.cluster.put(mapping("mine"))
    async with plant.following(read_scope(("shop", "bakery"), None)):
        await until(lambda: plant.ready("mine") is not None)

    asked = {call.namespace for call in plant.cluster.calls if call.verb == "list"}
    assert {"shop", "bakery"} == asked
    assert frozenset({"shop", "bakery"}) == plant.snapshots[-1].namespaces


async def test_an_outage_of_the_database_is_told_and_outlived() -> None:
    """Objects that wait say why; when the database is back they are in force."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.failures = [Unavailable("The database does not answer.") for _ in range(3)]
    told = set()
    async with plant.following():
        async with asyncio.timeout(5):
            while ("True", "Reconciled", 1) not in told:
                told.add(plant.ready("m"))
                await asyncio.sleep(0)

    assert ("False", "DatabaseUnavailable", 1) in told


async def test_an_outage_that_lasts_is_told_of_what_is_in_force() -> None:
    """Though nothing changes, every object says that nobody knows, and is ready again after it."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    down = False

    async def ask() -> None:
        if down:
            raise Unavailable("The database does not answer.")

    plant.pulses = {Reason.DATABASE_UNAVAILABLE: Pulse(ask, every=0.005)}
    async with plant.following(rhythm=replace(QUICK, grace=0.02)):
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 1))
        count, down = len(plant.snapshots), True
        await until(lambda: plant.ready("m") == ("Unknown", "DatabaseUnavailable", 1))
        plant.cluster.put(mapping("n"))
        await until(lambda: plant.ready("n") == ("False", "DatabaseUnavailable", 1))
        assert count == len(plant.snapshots)  # it would be in vain
        down = False
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 1))
        await until(lambda: plant.ready("n") == ("True", "Reconciled", 1))


async def test_a_reconciliation_that_a_stopped_database_holds_up_is_given_up() -> None:
    """It is cancelled when the database is found to be silent, and done again afterwards."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    stopped = asyncio.Event()
    plant.holds.append(stopped)

    async def answer() -> None:
        await stopped.wait()

    plant.pulses = {Reason.DATABASE_UNAVAILABLE: Pulse(answer, every=0.005, patience=0.02)}
    async with plant.following():
        await until(lambda: plant.ready("m") == ("False", "DatabaseUnavailable", 1))
        plant.holds.clear()
        stopped.set()
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 1))


async def test_a_fault_in_a_reconciliation_does_not_end_the_following() -> None:
    """An unexpected error is logged, told of what waits, and it is tried again."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.failures = [ValueError("broken")] * 3
    told = set()
    async with plant.following():
        async with asyncio.timeout(5):
            while ("True", "Reconciled", 1) not in told:
                told.add(plant.ready("m"))
                await asyncio.sleep(0)

    assert ("False", "InternalError", 1) in told


async def test_statuses_are_written_in_spite_of_errors() -> None:
    """A busy API server is asked again; each object ends with its status."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.cluster.fail("apply-status", Unavailable(delay=0.01), Unavailable(delay=0.01))
    async with plant.following():
        await until(lambda: plant.ready("m") is not None)


async def test_a_status_that_may_not_be_written_does_not_hold_up_the_others() -> None:
    """One refusal is logged; the other objects get their statuses."""
    plant = Plant()
    for number in range(3):
        plant.cluster.put(mapping(f"m{number}"))
    plant.cluster.fail("apply-status", Forbidden("no"))
    async with plant.following():
        await until(lambda: plant.cluster.count("apply-status") == 3)
        await until(lambda: sum(plant.ready(f"m{n}") is not None for n in range(3)) == 2)


async def test_a_status_changed_by_hand_is_put_right() -> None:
    """At the next look at everything a status that lies is written again."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    rhythm = Rhythm(quiet=0.01, burst=0.5, resync=0.05, retry=0.005, longest_retry=0.01)
    async with plant.following(rhythm=rhythm):
        await until(lambda: plant.ready("m") is not None)
        found = plant.cluster.find("EventMapping", "shop", "m")
        assert found is not None
        found["status"]["conditions"][-1]["status"] = "Unknown"
        await plant.cluster.merge(OURS["EventMapping"], "shop", "m", {"status": found["status"]})
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 1))


async def test_a_report_names_when_the_next_is_due() -> None:
    """What changes by time alone is reconciled then, though nothing is declared anew."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.due = [NOW + timedelta(milliseconds=20), None]

    async with plant.following():
        await until(lambda: len(plant.snapshots) == 2)
        await asyncio.sleep(0.05)

        assert 2 == len(plant.snapshots)


async def test_a_workflow_that_goes_with_its_rows_waits_for_them() -> None:
    """It is held while instances run; deleted, it is told of and goes once it is released."""
    plant = Plant(running=True)
    held = workflow("buy", "models")
    held["spec"]["deletionPolicy"] = "Delete"
    plant.cluster.put(held)
    plant.cluster.put(workflow("keep", "models"))

    async with plant.following():
        await until(lambda: plant.ready("buy", "Workflow") is not None)
        kept = plant.cluster.find("Workflow", "shop", "keep")
        assert kept is not None
        assert "finalizers" not in kept["metadata"]
        seen = len(plant.snapshots)
        plant.cluster.drop("Workflow", "shop", "buy")
        plant.cluster.drop("Workflow", "shop", "keep")
        await until(lambda: len(plant.snapshots) > seen)
        assert plant.cluster.find("Workflow", "shop", "buy") is not None
        assert plant.cluster.find("Workflow", "shop", "keep") is None
        assert {("Workflow", "shop", "buy")} == plant.snapshots[-1].leaving

        plant.running = False
        plant.cluster.put(mapping("m"))
        await until(lambda: plant.cluster.find("Workflow", "shop", "buy") is None)


async def test_a_policy_changed_while_it_waits_lets_a_workflow_go() -> None:
    """The change of a deleted object is seen like any other."""
    plant = Plant(running=True)
    held = workflow("buy", "models")
    held["spec"]["deletionPolicy"] = "Delete"
    plant.cluster.put(held)

    async with plant.following():
        await until(lambda: plant.ready("buy", "Workflow") is not None)
        plant.cluster.drop("Workflow", "shop", "buy")
        await until(lambda: bool(plant.snapshots[-1].leaving))
        plant.running = False  # the reconcilers release what is retained
        plant.cluster.put(workflow("buy", "models"))

        await until(lambda: plant.cluster.find("Workflow", "shop", "buy") is None)


async def test_what_changes_without_being_declared_is_told() -> None:
    """A look between two reconciliations writes the statuses that it changes, and only those."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    plant.cluster.put(mapping("other"))
    results: list[dict[Key, Verdict] | Exception] = [Unavailable(), ValueError()]
    key = ("EventMapping", "shop", "m")

    async def look() -> Mapping[Key, Verdict]:
        if not results:
            return {}
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    plant.look = look
    async with plant.following():
        await until(lambda: not results and plant.ready("m") is not None)
        written = plant.cluster.count("apply-status")
        kept = plant.cluster.find(*key)
        assert kept is not None
        resource = plant.snapshots[-1].resources[0].resource
        desired = Desired(resource=resource, manager="test", generation=1, created_on=NOW)
        results.append({key: programmed(desired, {}, message="by figures")})
        await until(lambda: "by figures" in str(plant.cluster.find(*key)))

    assert 1 == len(plant.snapshots)
    assert written + 1 == plant.cluster.count("apply-status")


async def test_a_workflow_that_could_not_be_held_is_held_by_the_next_reconciliation() -> None:
    """That instances run is told once: what then fails is tried again all the same."""
    plant = Plant()
    held = workflow("buy", "models")
    held["spec"]["deletionPolicy"] = "Delete"
    plant.cluster.put(held)
    results: list[dict[Key, Verdict]] = []

    async def look() -> Mapping[Key, Verdict]:
        return results.pop(0) if results else {}

    plant.look = look
    async with plant.following():
        await until(lambda: plant.ready("buy", "Workflow") is not None)
        resource = plant.snapshots[-1].resources[0].resource
        desired = Desired(resource=resource, manager="test", generation=1, created_on=NOW)
        plant.cluster.fail("set-finalizers", Forbidden())
        plant.running = True
        results.append({resource.key: programmed(desired, {"runningInstances": 1})})
        await until(
            lambda: (
                "finalizers" in (plant.cluster.find("Workflow", "shop", "buy") or {})["metadata"]
            )
        )


async def test_metrics_show_how_the_objects_stand() -> None:
    """Objects by kind and readiness, when everything was reconciled, and nothing that waits."""
    plant = Plant()
    for name in ("a", "b"):
        plant.cluster.put(mapping(name))
    registry = CollectorRegistry()
    plant.meters = Meters(registry)
    async with plant.following():
        await until(lambda: plant.ready("b") is not None)
        await until(lambda: registry.get_sample_value(f"{METER}_statuses_waiting") == 0)
        labels = {"kind": "EventMapping", "ready": "True"}

        assert 2 == registry.get_sample_value(f"{METER}_resources", labels)
        assert NOW.timestamp() == registry.get_sample_value(f"{METER}_listed_timestamp_seconds")
        assert 0 == registry.get_sample_value(f"{METER}_queue_age_seconds")


async def test_a_change_that_waits_grows_old() -> None:
    """While a part does not answer the queue's age grows; after that it is nothing again."""
    plant = Plant()
    registry = CollectorRegistry()
    plant.meters = Meters(registry)
    down = False

    async def ask() -> None:
        if down:
            raise Unavailable("The database does not answer.")

    def age() -> float:
        return registry.get_sample_value(f"{METER}_queue_age_seconds") or 0.0

    plant.pulses = {Reason.DATABASE_UNAVAILABLE: Pulse(ask, every=0.005)}
    async with plant.following():
        await until(lambda: len(plant.snapshots) == 1)
        down = True
        plant.cluster.put(mapping("m"))
        await until(lambda: age() > 0.05)
        down = False
        await until(lambda: plant.ready("m") == ("True", "Reconciled", 1))
        await until(lambda: age() == 0)


async def test_a_reconciliation_that_never_ends_is_stuck() -> None:
    """While the database answers it shows no sign of life."""
    plant = Plant()
    now = 0.0
    plant.vitals = Vitals(lambda: now)
    plant.holds.append(asyncio.Event())
    async with plant.following():
        await until(lambda: len(plant.snapshots) == 1)
        now = 299.0
        await asyncio.sleep(0.02)
        assert {} == plant.vitals.stuck()
        now = 301.0
        await asyncio.sleep(0.02)
        assert {"reconciliation"} == set(plant.vitals.stuck())

    assert {} == plant.vitals.stuck()  # whoever leads no more is not stuck


async def test_definitions_that_come_again_need_a_new_watch() -> None:
    """When the watch ends everything is listed at once; what was missing and is back is watched."""
    plant = Plant()
    plant.cluster.put(mapping("m"))
    feeds: list[Feed] = []

    @contextlib.asynccontextmanager
    async def watch(feed: Feed) -> AsyncIterator[None]:
        feeds.append(feed)
        async with plant.cluster.watch(feed):
            yield

    async with plant.following(watch=watch):
        await until(lambda: plant.ready("m") is not None)
        plant.cluster.undefine("Workflow")
        listed = plant.cluster.count("list", "Workflow")
        feeds[0].break_off()
        await until(lambda: plant.cluster.count("list", "Workflow") > listed + 1)
        assert not feeds[0].take_renewal()
        plant.cluster.define("Workflow")
        await until(feeds[0].take_renewal)
