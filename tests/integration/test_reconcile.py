"""A folder into the database and back into statuses, on the real store and engine."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskloom.domain.secret import Secret
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Permanent, Unavailable
from taskloom.flow.mappings import map_task
from taskloom.flow.services import Services
from taskloom.flow.workflows import Draft, create_workflow
from taskloom.ids import new_id
from taskloom.ports.engine import StartRequest
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.follow import follow_folder
from taskloom.providers.files.read import merge, read_folder
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.snapshot import Declared, Snapshot
from taskloom.resources.command import Command
from taskloom.store.database import Database

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
BUILT_IN = frozenset({"create-tasks", "end-task"})


def bpmn(process: str, topic: str = "create-tasks") -> str:
    """Write a process with one external task."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="test">
  <process id="{process}" isExecutable="true">
    <startEvent id="start"/>
    <sequenceFlow id="a" sourceRef="start" targetRef="work"/>
    <serviceTask id="work" camunda:type="external" camunda:topic="{topic}"/>
    <sequenceFlow id="b" sourceRef="work" targetRef="end"/>
    <endEvent id="end"/>
  </process>
</definitions>
"""


def indented(text: str) -> str:
    """Indent a text as a block of YAML."""
    return "".join(f"      {line}\n" for line in text.splitlines())


def workflow(name: str, model: str, policy: str = "Retain") -> str:
    """Write a Workflow."""
    return (
        "---\napiVersion: taskloom.dev/v1alpha1\nkind: Workflow\n"
        f"metadata: {{name: {name}}}\nspec:\n  deletionPolicy: {policy}\n"
        f"  bpmn:\n    inline: |\n{indented(model)}"
    )


def resource(kind: str, name: str, spec: str) -> str:
    """Write a resource whose spec is a flow map."""
    return (
        f"---\napiVersion: taskloom.dev/v1alpha1\nkind: {kind}\n"
        f"metadata: {{name: {name}}}\nspec: {spec}\n"
    )


@dataclass
class Bench:
    """A folder, a database, and a clock that is set by hand."""

    services: Services
    folder: Path
    data_dir: Path
    now: datetime = NOW
    snapshot: Snapshot | None = None

    async def apply(self, **files: str) -> Report:
        """Write files (an empty one is deleted) and reconcile."""
        self.folder.mkdir(exist_ok=True)
        for name, text in files.items():
            path = self.folder / f"{name}.yaml"
            path.write_text(text) if text else path.unlink()
        self.now += timedelta(minutes=1)
        self.snapshot = merge(self.snapshot, read_folder(self.folder))
        return await self.reconcile(self.snapshot)

    async def reconcile(self, snapshot: Snapshot) -> Report:
        """Reconcile a snapshot."""
        return await reconcile(
            self.services,
            snapshot,
            credentials=CredentialFiles(self.data_dir),
            topics=BUILT_IN,
        )

    async def statuses(self) -> dict[str, str]:
        """Read what `taskloom get` would show: Ready and its reason, by kind and name."""
        async with self.services.tasks.begin() as tx:
            stored = await tx.resources.all()
        return {f"{item.kind}/{item.name}": _ready(item.status) for item in stored}


def _ready(status: Mapping[str, Any]) -> str:
    for condition in status["conditions"]:
        if condition["type"] == "Ready":
            return f"{condition['status']} {condition['reason']}"
    return "?"


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """Build a bench on a fresh database."""
    clock: Callable[[], datetime] = lambda: made.now  # noqa: E731 - made below
    services = Services(
        tasks=database,
        workflows=database,
        engine=EmbeddedEngine(database, now=clock),
        now=clock,
    )
    made = Bench(services=services, folder=tmp_path / "files", data_dir=tmp_path / "data")
    return made


STORY = (
    resource("ClientApp", "shop", "{}")
    + resource(
        "WebhookSubscription",
        "hook",
        "{clientAppRef: {name: shop}, eventKeys: ['*'], url: 'http://127.0.0.1:9/hook'}",
    )
    + resource("EventMapping", "m", "{eventKey: purchase, workflowRef: {name: buy}}")
    + resource("TaskMapping", "t", "{taskKey: approve, workflowKey: buy}")
    + resource("Command", "c", "{topic: charge, http: {url: 'http://127.0.0.1:9/charge'}}")
    + resource("EventSource", "s", "{http: {path: /purchases}}")
    + resource("EventSink", "k", "{kafka: {bootstrapServers: ['k:9092'], topic: t}}")
    + workflow("buy", bpmn("buy", "charge"))
)


async def test_a_folder_becomes_rows_and_statuses(bench: Bench) -> None:
    """Everything declared is in force, and what has no connector says so."""
    await bench.apply(all=STORY)

    expected = {
        "ClientApp/shop": "True Reconciled",
        "Command/c": "True Reconciled",
        "EventMapping/m": "True Reconciled",
        "EventSink/k": "False Unsupported",
        "EventSource/s": "True Reconciled",
        "TaskMapping/t": "True Reconciled",
        "WebhookSubscription/hook": "True Reconciled",
        "Workflow/buy": "True Reconciled",
    }
    assert expected == await bench.statuses()
    async with bench.services.tasks.begin() as tx:
        (client,) = await tx.webhooks.client_apps()
        (subscription,) = await tx.webhooks.subscriptions()
        (mapping,) = await tx.mappings.event_mappings()
        (stored,) = [r for r in await tx.resources.all() if r.kind == "Workflow"]
    kept = bench.data_dir / "credentials/default/shop-credentials"
    assert client.api_secret == Secret((kept / "apiSecret").read_text())
    assert client.id == subscription.client_id
    assert mapping.workflow_key == "buy"
    assert stored.status["currentVersion"] == 1
    assert stored.status["topics"] == ["charge"]
    assert stored.place == "all.yaml:37"


async def test_the_same_again_changes_nothing(bench: Bench) -> None:
    """A second reconciliation, and one by a new process, write nothing."""
    await bench.apply(all=STORY)
    async with bench.services.tasks.begin() as tx:
        before = await tx.resources.all()

    again = await bench.apply()
    bench.snapshot = None
    anew = await bench.apply()

    assert (0, 0) == (again.changes, anew.changes)
    async with bench.services.tasks.begin() as tx:
        assert before == await tx.resources.all()


async def test_one_bad_resource_among_ten(bench: Bench) -> None:
    """The nine work, and the tenth shows its reason."""
    bad = resource("EventMapping", "bad", "{eventKey: 'a b', workflowKey: buy}")
    await bench.apply(all=STORY, bad=bad)

    statuses = await bench.statuses()
    assert statuses.pop("EventMapping/bad") == "False InvalidSpec"
    assert 7 == list(statuses.values()).count("True Reconciled")


async def test_a_bad_model_is_told_and_the_former_version_stays(bench: Bench) -> None:
    """The element is named; mappings go on with the version that was good."""
    await bench.apply(all=STORY)
    script = bpmn("buy").replace("serviceTask", "scriptTask")

    report = await bench.apply(
        all=STORY.partition("---\napiVersion: taskloom.dev/v1alpha1\nkind: Workflow")[0]
        + workflow("buy", script)
    )

    statuses = await bench.statuses()
    assert statuses["Workflow/buy"] == "False InvalidSpec"
    assert statuses["EventMapping/m"] == "True Reconciled"
    (told,) = [v for key, v in report.verdicts.items() if key[0] == "Workflow"]
    assert any("work" in condition.message for condition in told.conditions)
    assert told.fields["currentVersion"] == 1


async def test_generations_count_changes_of_the_spec(bench: Bench) -> None:
    """A new spec raises the generation, also after a restart; the same spec does not."""
    one = resource("Command", "c", "{topic: charge, http: {url: 'http://127.0.0.1:9/a'}}")
    await bench.apply(all=one)
    await bench.apply(all=one + "# a comment\n")
    bench.snapshot = None
    await bench.apply(all=one.replace("/a'", "/b'"))

    async with bench.services.tasks.begin() as tx:
        (stored,) = await tx.resources.all()
    assert 2 == stored.generation == stored.status["observedGeneration"]
    assert "http://127.0.0.1:9/b" == stored.status["endpoint"]


async def test_what_is_deleted_goes(bench: Bench) -> None:
    """Rows, statuses and credentials go; the workflow stays by its policy."""
    await bench.apply(all=STORY)

    await bench.apply(all="")

    assert {} == await bench.statuses()
    async with bench.services.tasks.begin() as tx:
        assert [] == await tx.webhooks.client_apps()
        assert [] == await tx.webhooks.subscriptions()
        assert [] == await tx.mappings.event_mappings()
        assert [] == await tx.commands.all()
        assert [] == await tx.sources.all()
        assert ["api"] == [row.managed_by for row in await tx.workflows.all()]
    assert not (bench.data_dir / "credentials/default/shop-credentials").exists()


async def test_a_broken_file_deletes_nothing_even_after_a_restart(bench: Bench) -> None:
    """A process that never saw the good file keeps what the database knows of it."""
    await bench.apply(
        all=STORY, other=resource("Command", "d", "{topic: d, http: {url: 'http://a/'}}")
    )
    bench.snapshot = None

    await bench.apply(all="kind: [", other="")

    statuses = await bench.statuses()
    assert "Command/d" not in statuses
    assert statuses["Command/c"] == "True Reconciled"
    async with bench.services.tasks.begin() as tx:
        assert 1 == len(await tx.webhooks.client_apps())
        assert ["charge"] == [command.topic for command in await tx.commands.all()]


async def test_what_has_no_name_is_told_under_its_file(bench: Bench) -> None:
    """A file that is no YAML, an object that stands twice, a bad Secret: all can be seen."""
    await bench.apply(
        all=STORY,
        broken="kind: [",
        nameless="kind: Workflow",
        secret="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '!'}",
        twice=resource("ClientApp", "shop", "{}"),
    )

    statuses = await bench.statuses()
    expected = {f"File/{name}.yaml" for name in ("broken", "nameless", "secret", "twice")}
    assert expected == {name for name in statuses if name.startswith("File/")}
    assert {statuses[name] for name in expected} == {"False InvalidSpec"}
    assert statuses["ClientApp/shop"] == "True Reconciled"

    await bench.apply(broken="", nameless="", secret="", twice=resource("ClientApp", "other", "{}"))

    assert not [name for name in await bench.statuses() if name.startswith("File/")]


async def test_a_missing_folder_deletes_nothing(bench: Bench) -> None:
    """An unmounted folder is no order to delete; that it is missing can be seen."""
    await bench.apply(all=STORY)
    before = await bench.statuses()
    bench.folder.rename(bench.folder.with_name("away"))

    await bench.reconcile(read_folder(bench.folder))

    told = {f"File/{bench.folder}": "False InvalidSpec"}
    assert before | told == await bench.statuses()


async def test_a_workflow_with_instances_is_deleted_once_they_end(bench: Bench) -> None:
    """Delete waits for running instances, and asks to be tried again."""
    await bench.apply(all=workflow("buy", bpmn("buy"), policy="Delete"))
    engine = bench.services.engine
    instance = await engine.start(StartRequest(workflow_key="buy", start_id="one", variables={}))

    waiting = await bench.apply(all="")
    async with bench.services.workflows.begin() as tx:
        assert 1 == len(await tx.workflows.all())
    await engine.delete_instances([instance.id], "test")
    done = await bench.apply()

    assert (True, False) == (waiting.retry, done.retry)
    async with bench.services.workflows.begin() as tx:
        assert [] == list(await tx.workflows.all())
    assert {} == await bench.statuses()


def leaving(snapshot: Snapshot, policy: str) -> Snapshot:
    """Let a cluster say that the workflow is deleted, but kept from going."""
    (declared,) = snapshot.resources
    document = declared.resource.model_dump(by_alias=True, exclude_none=True, mode="json")
    document["spec"]["deletionPolicy"] = policy
    changed = replace(declared, resource=type(declared.resource).model_validate(document))
    key = declared.resource.key
    return replace(snapshot, resources=(changed,), leaving=frozenset({key}))


async def test_a_deleted_workflow_says_what_it_waits_for(bench: Bench) -> None:
    """While instances run it is not released and counts them; then its rows go, and it may go."""
    await bench.apply(all=workflow("buy", bpmn("buy"), policy="Delete"))
    engine = bench.services.engine
    instance = await engine.start(StartRequest(workflow_key="buy", start_id="one", variables={}))
    assert bench.snapshot is not None
    deleted = leaving(bench.snapshot, "Delete")
    (key,) = deleted.leaving

    report = await bench.reconcile(deleted)

    expected = (
        "deleted; waits for 1 running instance to end (`deletionPolicy: Retain` lets it go at once)"
    )
    told = {str(c.type): c for c in report.verdicts[key].conditions}
    assert ("False", "InstancesRunning", expected) == (
        told["Ready"].status,
        told["Ready"].reason,
        told["Ready"].message,
    )
    assert (frozenset(), False, bench.now + timedelta(seconds=5)) == (
        report.released,
        report.retry,
        report.due,
    )
    assert report.verdicts == (await bench.reconcile(deleted)).verdicts

    await engine.delete_instances([instance.id], "test")
    report = await bench.reconcile(deleted)

    assert (frozenset({key}), {}, None) == (report.released, dict(report.verdicts), report.due)
    async with bench.services.workflows.begin() as tx:
        assert [] == list(await tx.workflows.all())
    assert {} == await bench.statuses()


async def test_a_workflow_told_to_be_retained_is_released_at_once(bench: Bench) -> None:
    """The policy may be changed while it waits: then its rows stay, as the API's."""
    await bench.apply(all=workflow("buy", bpmn("buy"), policy="Delete"))
    await bench.services.engine.start(
        StartRequest(workflow_key="buy", start_id="one", variables={})
    )
    assert bench.snapshot is not None
    await bench.reconcile(leaving(bench.snapshot, "Delete"))

    report = await bench.reconcile(leaving(bench.snapshot, "Retain"))

    assert 1 == len(report.released)
    async with bench.services.workflows.begin() as tx:
        assert ["api"] == [row.managed_by for row in await tx.workflows.all()]


async def test_a_waiting_workflow_whose_object_was_forced_away_still_goes(bench: Bench) -> None:
    """Its rows are remembered, and removed once its instances end, as if it had waited."""
    await bench.apply(all=workflow("buy", bpmn("buy"), policy="Delete"))
    engine = bench.services.engine
    instance = await engine.start(StartRequest(workflow_key="buy", start_id="one", variables={}))
    assert bench.snapshot is not None
    await bench.reconcile(leaving(bench.snapshot, "Delete"))
    await bench.apply(all="")
    await engine.delete_instances([instance.id], "test")

    await bench.apply()

    async with bench.services.workflows.begin() as tx:
        assert [] == list(await tx.workflows.all())
    assert {} == await bench.statuses()


async def test_old_versions_are_pruned(bench: Bench) -> None:
    """No more versions are kept than the limit says."""
    for topic in ("a", "b", "c", "d"):
        text = workflow("buy", bpmn("buy", topic)).replace(
            "  bpmn:", "  versionHistoryLimit: 2\n  bpmn:"
        )
        await bench.apply(all=text)

    async with bench.services.workflows.begin() as tx:
        (row,) = await tx.workflows.all()
        versions = await tx.workflows.versions([row.id])
    assert [3, 4] == [version.version for version in versions]


async def test_clients_may_exchange_their_keys(bench: Bench) -> None:
    """Though no two of them may ever have the same one."""

    def secret(name: str, key: str) -> str:
        return (
            f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n"
            f"stringData: {{apiKey: {key}, apiSecret: word}}\n"
        )

    apps = "".join(
        resource(
            "ClientApp", name, f"{{credentials: {{imported: {{secretRef: {{name: {name}}}}}}}}}"
        )
        for name in ("one", "two")
    )
    await bench.apply(apps=apps, secrets=secret("one", "a") + secret("two", "b"))
    await bench.apply(secrets=secret("one", "b") + secret("two", "a"))

    async with bench.services.tasks.begin() as tx:
        clients = await tx.webhooks.client_apps()
    assert {"one": "b", "two": "a"} == {client.name: client.api_key for client in clients}
    assert {"ClientApp/one": "True Reconciled", "ClientApp/two": "True Reconciled"} == (
        await bench.statuses()
    )


async def test_rows_that_nothing_explains_go_where_it_is_looked(bench: Bench) -> None:
    """In the namespaces that an operator is limited to, and nowhere else."""
    await bench.apply(one=resource("Command", "one", "{topic: one, http: {url: 'http://h/'}}"))
    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.commands.all()
        for number, namespace in enumerate(("shop", "bank")):
            manager = f"kubernetes:Command/{namespace}/lost"
            await tx.commands.put(
                replace(row, id=new_id(), topic=f"lost-{number}", managed_by=manager)
            )

    await bench.reconcile(Snapshot(provider="kubernetes", namespaces=frozenset({"shop"})))

    async with bench.services.tasks.begin() as tx:
        assert ["file:Command/default/one", "kubernetes:Command/bank/lost"] == sorted(
            command.managed_by for command in await tx.commands.all()
        )


async def test_what_others_made_just_now_is_not_swept(bench: Bench) -> None:
    """Another operator may know an object that this one has not listed yet; it waits and looks."""
    command = Command.model_validate(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": "Command",
            "metadata": {"name": "one", "namespace": "shop", "generation": 1},
            "spec": {"topic": "one", "http": {"url": "http://h/"}},
        }
    )
    await bench.reconcile(Snapshot(provider="kubernetes", resources=(Declared(resource=command),)))

    async def look(since: datetime, **more: Any) -> tuple[bool, int]:
        report = await bench.reconcile(Snapshot(provider="kubernetes", since=since, **more))
        async with bench.services.tasks.begin() as tx:
            return report.unsure, len(await tx.commands.all())

    listed = datetime.now(UTC)
    assert (True, 1) == await look(min(listed, bench.now))
    async with bench.services.tasks.begin() as tx:
        (stored,) = await tx.resources.all()
        await tx.resources.remove(stored.kind, stored.namespace, stored.name)
    assert (False, 1) == await look(listed)  # a row of which nothing is remembered
    async with bench.services.tasks.begin() as tx:
        await tx.resources.put(stored)
    assert (False, 0) == await look(
        min(listed, bench.now), gone=frozenset({("Command", "shop", "one")})
    )


async def test_what_the_api_made_keeps_its_key(bench: Bench) -> None:
    """A declared object does not take over what came by REST, and says so."""
    await create_workflow(bench.services, Draft(name="Buy", bpmn=bpmn("buy")))
    await map_task(bench.services, "approve", "buy")

    await bench.apply(all=STORY)

    statuses = await bench.statuses()
    assert statuses["Workflow/buy"] == "False KeyConflict"
    assert statuses["TaskMapping/t"] == "False KeyConflict"
    assert statuses["EventMapping/m"] == "False WorkflowNotFound"


async def test_credentials_outlive_the_database_and_the_files(bench: Bench) -> None:
    """What either of the two still knows is not made anew."""
    await bench.apply(all=resource("ClientApp", "shop", "{}"))
    async with bench.services.tasks.begin() as tx:
        (first,) = await tx.webhooks.client_apps()
    folder = bench.data_dir / "credentials/default/shop-credentials"

    (folder / "apiSecret").unlink()
    await bench.apply()
    assert first.api_secret.reveal() == (folder / "apiSecret").read_text()

    async with bench.services.tasks.begin() as tx:
        await tx.webhooks.remove_client(first.id)
    await bench.apply()
    async with bench.services.tasks.begin() as tx:
        (second,) = await tx.webhooks.client_apps()
    assert (first.api_key, first.api_secret) == (second.api_key, second.api_secret)
    assert first.signing_secret == second.signing_secret


async def test_an_edited_credential_is_adopted(bench: Bench) -> None:
    """Who writes another secret into the file has rotated it."""
    await bench.apply(all=resource("ClientApp", "shop", "{}"))
    folder = bench.data_dir / "credentials/default/shop-credentials"
    (folder / "apiSecret").write_text("a-new-word\n")

    await bench.apply()

    async with bench.services.tasks.begin() as tx:
        (client,) = await tx.webhooks.client_apps()
    assert Secret("a-new-word") == client.api_secret


async def test_credentials_that_cannot_be_kept_are_not_used(bench: Bench) -> None:
    """A data folder that cannot be written is told, and nothing goes into the database."""
    bench.data_dir.write_text("a file")

    report = await bench.apply(all=resource("ClientApp", "shop", "{}"))

    assert report.retry
    assert {"ClientApp/shop": "False SecretNotFound"} == await bench.statuses()
    async with bench.services.tasks.begin() as tx:
        assert [] == await tx.webhooks.client_apps()


async def test_a_spec_that_the_database_cannot_hold_is_refused(bench: Bench) -> None:
    """A NUL in one object is that object's problem alone."""
    nul = resource("Workflow", "nul", '{description: "a\\0b", bpmn: {inline: x}}')

    await bench.apply(all=STORY + nul)

    statuses = await bench.statuses()
    assert statuses["Workflow/nul"] == "False InvalidSpec"
    assert statuses["Workflow/buy"] == "True Reconciled"


async def test_following_a_folder_survives_failures(bench: Bench) -> None:
    """A part that does not answer and a fault of ours are tried again; then changes are seen."""
    outcomes: list[Exception | None] = [Unavailable(), Permanent(), None, None]
    seen: list[Snapshot] = []
    stop = asyncio.Event()
    arrived = asyncio.Condition()

    async def attempt(snapshot: Snapshot) -> Report:
        outcome = outcomes[min(len(seen), 3)]
        async with arrived:
            seen.append(snapshot)
            arrived.notify_all()
        if outcome is not None:
            raise outcome
        return Report(verdicts={}, changes=0)

    async def until(count: int) -> None:
        async with arrived:
            await asyncio.wait_for(arrived.wait_for(lambda: len(seen) >= count), 10)

    bench.folder.mkdir()
    following = asyncio.create_task(
        follow_folder(
            bench.folder, attempt, stop, resync_seconds=60, retry_seconds=0.01, poll_seconds=0.05
        )
    )
    await until(3)
    (bench.folder / "a.yaml").write_text(resource("ClientApp", "shop", "{}"))
    await until(4)
    stop.set()
    await asyncio.wait_for(following, 10)

    assert 1 == len(seen[3].resources)
