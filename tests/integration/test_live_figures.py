"""Figures in statuses: read together, at most every 30 seconds, and told when they change."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskloom.delivery.dispatch import DeliveryQueue, Dispatcher
from taskloom.domain.conditions import timestamp
from taskloom.domain.egress import STANDALONE
from taskloom.domain.events import NewEvent
from taskloom.domain.query_tree import Filter
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Unavailable
from taskloom.flow.publish import publish
from taskloom.flow.services import Services
from taskloom.ids import new_id
from taskloom.outbox.relay import JobQueue, Relay
from taskloom.ports.engine import StartRequest
from taskloom.ports.sender import Answer, ErrorClass, Failure, SendResult
from taskloom.providers.files import follow
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.follow import follow_folder
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.figures import EVERY, FAILING_AFTER, Live
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.store.database import Database
from taskloom.testing.sender import FakeSender

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
"""Behind the database's clock, by which deliveries are due."""
LEASE = timedelta(seconds=30)
URL = "http://127.0.0.1:9/hook"
HOOK: Key = ("WebhookSubscription", "default", "hook")
BUY: Key = ("Workflow", "default", "buy")
FOLDER = f"""
apiVersion: taskloom.dev/v1alpha1
kind: ClientApp
metadata: {{name: till}}
spec: {{}}
---
apiVersion: taskloom.dev/v1alpha1
kind: WebhookSubscription
metadata: {{name: hook}}
spec:
  clientAppRef: {{name: till}}
  eventKeys: ['*']
  url: {URL}
  delivery: {{schedule: [0s, 0s, 0s, 0s, 0s, 0s, 0s, 0s, 0s, 0s]}}
---
apiVersion: taskloom.dev/v1alpha1
kind: Workflow
metadata: {{name: buy}}
spec:
  bpmn:
    inline: |
      <definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="t">
        <process id="buy" isExecutable="true">
          <startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
          <userTask id="work"/><sequenceFlow id="b" sourceRef="work" targetRef="end"/>
          <endEvent id="end"/>
        </process>
      </definitions>
"""


def answer(status: int) -> Answer:
    """Answer with a status."""
    return Answer(status=status, headers={}, body=b"", elapsed_ms=1)


class Bench:
    """A folder with a client, its subscription and a workflow, and a clock set by hand."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.now = NOW
        self.folder, self.data_dir = tmp_path / "files", tmp_path / "data"
        self.folder.mkdir()
        (self.folder / "all.yaml").write_text(FOLDER)
        self.sender = FakeSender()
        self.live = Live()
        self.services = Services(
            tasks=database,
            workflows=database,
            engine=EmbeddedEngine(database, now=lambda: self.now),
            now=lambda: self.now,
        )
        self.queue = DeliveryQueue(database)
        self.dispatcher = Dispatcher(
            database, self.queue, self.sender, STANDALONE, now=lambda: self.now, version="test"
        )

    async def reconcile(self, snapshot: Snapshot | None = None) -> Report:
        """Reconcile the folder."""
        return await reconcile(
            self.services,
            snapshot or read_folder(self.folder),
            credentials=CredentialFiles(self.data_dir),
            topics=frozenset(),
            live=self.live,
        )

    async def status(self, key: Key = HOOK) -> dict[str, Any]:
        """Read an object's status as `taskloom get` does."""
        async with self.services.tasks.begin() as tx:
            (stored,) = await tx.resources.some([key])
        return dict(stored.status)

    async def condition(self, type_: str) -> tuple[str, str, str] | None:
        """Read one of the subscription's conditions."""
        for entry in (await self.status())["conditions"]:
            if entry["type"] == type_:
                return (entry["status"], entry["reason"], entry["message"])
        return None

    async def publish(self) -> None:
        """Leave one delivery."""
        async with self.services.tasks.begin() as tx:
            await publish(self.services, tx, "task-created", {})
        for job in await JobQueue(self.services.tasks).claim(10, LEASE):
            await Relay(self.services).run(job)

    async def deliver(self, *results: SendResult) -> None:
        """Attempt what is due, with these results one after another."""
        for result in results:
            self.sender.script(URL, result)
            for item in await self.queue.claim(10, LEASE):
                await self.dispatcher.run(item)

    async def look(self) -> set[Key]:
        """Look at the figures half a minute later; name whose verdict is another."""
        self.now += EVERY
        return set(await self.live.look(self.services))


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> Bench:
    """Build a bench whose folder is reconciled."""
    made = Bench(database, tmp_path)
    await made.reconcile()
    return made


async def test_what_is_quiet_tells_nothing(bench: Bench) -> None:
    """A subscription that nothing was sent to has no figures, and no look changes anything."""
    assert 0 == (await bench.status(BUY))["runningInstances"]
    assert "delivery" not in await bench.status()
    assert set() == await bench.look()
    report = await bench.reconcile()
    assert (0, set()) == (report.changes, await bench.look())


async def test_running_instances_are_counted(bench: Bench) -> None:
    """A look tells of instances that have started and ended, of that object alone."""
    engine = bench.services.engine
    instance = await engine.start(StartRequest(workflow_key="buy", start_id="1", variables={}))
    assert {BUY} == await bench.look()
    assert 1 == (await bench.status(BUY))["runningInstances"]

    await engine.delete_instances([instance.id], "test")
    assert {BUY} == await bench.look()
    assert 0 == (await bench.status(BUY))["runningInstances"]


async def test_deliveries_are_told(bench: Bench) -> None:
    """Times, the last answer, why it failed, and what waits: through failure and success."""
    await bench.publish()
    await bench.publish()
    await bench.deliver(answer(503))
    assert {HOOK} == await bench.look()
    failed = bench.now - EVERY

    expected = {
        "lastFailureTime": failed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastStatusCode": 503,
        "lastError": "the endpoint answered 503",
        "consecutiveFailures": 2,
        "pending": 2,
    }
    assert expected == (await bench.status())["delivery"]

    await bench.deliver(answer(204))
    assert {HOOK} == await bench.look()

    expected |= {
        "lastSuccessTime": (bench.now - EVERY).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastStatusCode": 204,
        "consecutiveFailures": 0,
        "pending": 0,
    }
    assert expected == (await bench.status())["delivery"]
    assert set() == await bench.look()


async def test_a_status_changes_by_figures_every_half_minute_at_most(bench: Bench) -> None:
    """Within it neither a look nor a reconciliation tells of new ones; then either does."""
    before = await bench.status()
    await bench.publish()
    await bench.deliver(answer(503))
    bench.now += EVERY - timedelta(seconds=1)
    assert {} == await bench.live.look(bench.services)
    await bench.reconcile()
    assert before == await bench.status()

    bench.now += timedelta(seconds=1)
    await bench.reconcile()
    assert 1 == (await bench.status())["delivery"]["consecutiveFailures"]


async def test_an_endpoint_that_fails_is_told(bench: Bench) -> None:
    """After some failures in a row it is degraded, though ready; one success ends that."""
    refused = Failure(error=ErrorClass.CONNECT, message="127.0.0.1:9: refused", elapsed_ms=1)
    await bench.publish()
    await bench.deliver(*[refused] * (FAILING_AFTER - 1))
    await bench.look()
    assert await bench.condition("Degraded") is None

    await bench.deliver(refused)
    await bench.look()

    message = "5 failures or more in a row, the last: connect: 127.0.0.1:9: refused"
    assert ("True", "EndpointFailing", message) == await bench.condition("Degraded")
    assert ("True", "Reconciled", "") == await bench.condition("Ready")
    assert await bench.reconcile()
    assert ("True", "EndpointFailing", message) == await bench.condition("Degraded")

    await bench.deliver(answer(204))
    await bench.look()
    assert await bench.condition("Degraded") is None


async def test_a_receiver_that_is_gone_is_told_by_the_next_look(bench: Bench) -> None:
    """It does not take a reconciliation, and that says the same afterwards."""
    await bench.publish()
    await bench.deliver(answer(410))

    assert {HOOK} == await bench.look()

    told = await bench.status()
    ready = await bench.condition("Ready")
    assert ready is not None
    assert ("False", "DisabledAfterFailures") == ready[:2]
    assert set() == await bench.look()
    await bench.reconcile()
    assert told == await bench.status()

    # Told where else to send, it is in force again, though the figures are from before.
    changed = (bench.folder / "all.yaml").read_text().replace("/hook", "/other")
    (bench.folder / "all.yaml").write_text(changed)
    await bench.reconcile()
    assert ("True", "Reconciled", "") == await bench.condition("Ready")
    await bench.look()
    assert ("True", "Reconciled", "") == await bench.condition("Ready")


async def test_a_sources_last_event_is_told(bench: Bench) -> None:
    """The sources at paths tell when an event came last, also after a restart."""
    source = (
        "---\napiVersion: taskloom.dev/v1alpha1\nkind: EventSource\nmetadata: {name: in}\n"
        "spec: {http: {path: /in, auth: {anonymous: true}}}\n"
    )
    (bench.folder / "all.yaml").write_text(FOLDER + source)
    await bench.reconcile()
    key = ("EventSource", "default", "in")
    assert "lastEventTime" not in await bench.status(key)
    event = NewEvent(
        id=new_id(),
        key="paid",
        payload="{}",
        source=None,
        description=None,
        origin="source:default/in",
        idempotency_key=None,
    )
    async with bench.services.tasks.begin() as tx:
        await tx.events.add([(event, ())])
        (stored,) = await tx.events.list(Filter())

    assert {key} == await bench.look()

    expected = timestamp(stored.created_on)
    assert expected == (await bench.status(key))["lastEventTime"]
    assert set() == await bench.look()

    bench.live = Live()
    bench.now = stored.created_on + timedelta(days=1)
    await bench.reconcile()
    assert expected == (await bench.status(key))["lastEventTime"]


async def test_that_a_workflow_has_instances_now_is_told_at_once(bench: Bench) -> None:
    """If it would wait for them once deleted; that they have ended is told when figures are."""
    text = (bench.folder / "all.yaml").read_text()
    (bench.folder / "all.yaml").write_text(
        text.replace("  bpmn:", "  deletionPolicy: Delete\n  bpmn:")
    )
    report = await bench.reconcile()
    assert report.look is not None
    engine = bench.services.engine
    start = StartRequest(workflow_key=BUY[2], start_id="1", variables={})

    bench.now += timedelta(seconds=2)
    assert {} == await report.look()
    instance = await engine.start(start)
    told = await report.look()
    await engine.delete_instances([instance.id], "test")

    assert {BUY} == told.keys()
    assert 1 == told[BUY].fields["runningInstances"]
    assert {} == await report.look()
    bench.now += EVERY
    assert 0 == (await report.look())[BUY].fields["runningInstances"]


async def test_an_engine_that_does_not_answer_leaves_its_figures(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay as they were, and deliveries are told all the same."""

    async def fail() -> None:
        raise Unavailable

    monkeypatch.setattr(bench.services.engine, "running_by_workflow", fail)
    await bench.publish()
    await bench.deliver(answer(503))

    assert {HOOK} == await bench.look()
    assert 0 == (await bench.status(BUY))["runningInstances"]


async def test_the_figures_of_a_subscription_go_with_it(bench: Bench) -> None:
    """Made anew under the same name, it begins with none."""
    await bench.publish()
    await bench.deliver(answer(503), answer(204))
    (bench.folder / "all.yaml").write_text("")
    await bench.reconcile()
    (bench.folder / "all.yaml").write_text(FOLDER)
    await bench.look()
    await bench.reconcile()

    assert "delivery" not in await bench.status()


async def test_a_folder_that_does_not_change_is_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower looks between two reconciliations, and is not ended by a look that fails."""
    monkeypatch.setattr(follow, "GLANCE_SECONDS", 0.01)
    looks = 0
    seen = asyncio.Event()

    async def look() -> dict[Key, Any]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise Unavailable
        if looks == 2:
            raise ValueError
        seen.set()
        return {}

    async def attempt(_snapshot: Snapshot) -> Report:
        return Report(verdicts={}, changes=0, look=look)

    stop = asyncio.Event()
    following = asyncio.create_task(follow_folder(bench.folder, attempt, stop))
    await asyncio.wait_for(seen.wait(), 10)
    stop.set()
    following.cancel()
    await asyncio.wait([following])
