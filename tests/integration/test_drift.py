"""Rows that another has changed or removed are put right, and that is told; nothing else is."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from taskloom.domain.secret import Secret
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Unavailable
from taskloom.flow.services import Services
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.snapshot import Key
from taskloom.store.database import Database

MODEL = """\
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="t">
  <process id="buy" isExecutable="true">
    <startEvent id="start"/><sequenceFlow id="f" sourceRef="start" targetRef="end"/>
    <endEvent id="end"/>
  </process>
</definitions>
"""
SPECS = {
    "ClientApp": "{displayName: Shop, scopes: [events.trigger]}",
    "WebhookSubscription": "{clientAppRef: {name: it}, eventKeys: [a], url: 'http://127.0.0.1:9/'}",
    "Command": "{topic: pack, http: {url: 'http://127.0.0.1:9/'}}",
    "EventSource": "{http: {path: /in, auth: {clientAppRefs: [{name: it}]}}}",
    "EventMapping": "{eventKey: order.placed, workflowRef: {name: it}}",
    "TaskMapping": "{taskKey: pay, workflowRef: {name: it}}",
}


def resource(kind: str, spec: str) -> str:
    """Write a resource named `it`."""
    return (
        f"---\napiVersion: taskloom.dev/v1alpha1\nkind: {kind}\n"
        f"metadata: {{name: it}}\nspec: {spec}\n"
    )


def story(**changes: str) -> str:
    """Write one resource of each kind; `changes` are other specs, by kind."""
    model = "".join(f"      {line}\n" for line in MODEL.splitlines())
    bpmn = changes.pop("Workflow", f"\n  name: Buy\n  bpmn:\n    inline: |\n{model}")
    specs = SPECS | changes
    return resource("Workflow", bpmn) + "".join(resource(k, s) for k, s in specs.items() if s)


def key(kind: str) -> Key:
    """Name the resource of a kind."""
    return (kind, "default", "it")


@dataclass
class Bench:
    """A folder and a database that are followed by one process."""

    services: Services
    folder: Path
    data_dir: Path
    now: datetime = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    applied: Applied = field(default_factory=Applied)

    async def look(self, text: str | None = None, *, look: bool = True) -> Report:
        """Reconcile what is declared, all of it anew."""
        self.folder.mkdir(exist_ok=True)
        if text is not None:
            (self.folder / "all.yaml").write_text(text)
        self.now += timedelta(minutes=5)
        return await reconcile(
            self.services,
            replace(read_folder(self.folder), look=look),
            credentials=CredentialFiles(self.data_dir),
            topics=frozenset(),
            applied=self.applied,
        )

    async def tamper(self, statement: str) -> None:
        """Change rows as somebody does by hand."""
        async with self.services.tasks.begin() as tx:
            await tx.connection.execute(text(statement))

    async def drifted(self) -> dict[str, str]:
        """Read which objects say that they had drifted, and what was repaired."""
        async with self.services.tasks.begin() as tx:
            stored = await tx.resources.all()
        return {
            item.kind: condition["message"]
            for item in stored
            for condition in item.status["conditions"]
            if condition["type"] == "Drifted" and condition["status"] == "True"
        }


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """Build a bench on a fresh database."""
    clock: Callable[[], datetime] = lambda: made.now  # noqa: E731 - made below
    engine = EmbeddedEngine(database, now=clock)
    services = Services(tasks=database, workflows=database, engine=engine, now=clock)
    made = Bench(services=services, folder=tmp_path / "files", data_dir=tmp_path / "data")
    return made


CHANGES = {
    "ClientApp": ("UPDATE client_apps SET name = 'x', scopes = '[]'", "name, scopes"),
    "WebhookSubscription": ("UPDATE webhook_subscriptions SET suspended = true", "suspended"),
    "Command": ("UPDATE commands SET timeout_seconds = 1", "timeout_seconds"),
    "EventSource": ("UPDATE event_sources SET path = '/other'", "path"),
    "EventMapping": ("UPDATE event_workflows SET event_key = 'x'", "event_key"),
    "TaskMapping": ("UPDATE task_workflows SET managed_by = 'file:else'", "managed_by"),
    "Workflow": ("UPDATE workflows SET name = 'x'", "name"),
}


GARBAGE = {
    "ClientApp": ("client_apps", ("secrets = 'x'", "scopes = '{}'")),
    "WebhookSubscription": (
        "webhook_subscriptions",
        ("target = 'x'", "event_keys = '{}'", "delivery = '3'"),
    ),
    "Command": (
        "commands",
        ("target = 'x'", "target = (SELECT secrets FROM client_apps)"),
    ),
    "EventSource": ("event_sources", ("secrets = 'x'", "spec = '[]'", "kind = 'x'")),
    "EventSink": ("event_sinks", ("secrets = 'x'", "spec = '3'", "event_keys = '{}'")),
}
SINK = "{suspend: true, eventKeys: [a], kafka: {bootstrapServers: ['k:9092'], topic: a}}"


@pytest.mark.parametrize("kind", GARBAGE)
async def test_a_row_that_cannot_be_read_is_made_anew(bench: Bench, kind: str) -> None:
    """And it goes with its object; the others are none the worse for it."""
    table, garbage = GARBAGE[kind]
    await bench.look(story(EventSink=SINK))
    for change in garbage:
        await bench.tamper(f"UPDATE {table} SET {change}")

        report = await bench.look()

        assert {key(kind)} == set(report.repaired), change
        assert all(verdict.ready for verdict in report.verdicts.values())
        assert {} == (await bench.look()).repaired

    await bench.tamper(f"UPDATE {table} SET {garbage[0]}")
    await bench.look(story(**{"EventSink": SINK, kind: ""}))
    async with bench.services.tasks.begin() as tx:
        left = await tx.connection.execute(text(f"SELECT count(*) FROM {table}"))
        assert left.scalar_one() == 0


@pytest.mark.parametrize(
    "change",
    [
        "spec = '[]'",
        "spec = 'null', digest = ''",
        "status = 'null'",
        """status = '{"conditions": 3}'""",
        """status = '{"conditions": [{"type": "Ready"}, 3]}'""",
        """status = '{"conditions": [{"type": "Ready"}]}'""",
        "kind = 'Strange' || kind",
        "name = 'ghost'",
    ],
)
async def test_a_memory_that_is_overwritten_holds_up_nothing(bench: Bench, change: str) -> None:
    """Objects are told of anew; those that go do so with their rows."""
    await bench.look(story())
    await bench.tamper(f"UPDATE resources SET {change}")
    report = await bench.look()
    assert all(verdict.ready for verdict in report.verdicts.values())
    async with bench.services.tasks.begin() as tx:
        told = await tx.resources.all()
    assert set(report.verdicts) == {(item.kind, item.namespace, item.name) for item in told}
    assert all(item.status["conditions"] for item in told)

    await bench.tamper(f"UPDATE resources SET {change}")
    await bench.look("")

    async with bench.services.tasks.begin() as tx:
        assert [] == await tx.resources.all()
        assert [] == await tx.commands.all()
        assert [] == await tx.webhooks.client_apps()


@pytest.mark.parametrize(
    "table", ["commands", "task_workflows", "event_workflows", "event_sources", "event_sinks"]
)
async def test_a_row_that_is_an_objects_only_by_its_word_goes(bench: Bench, table: str) -> None:
    """Another id was given to its row by hand: its own is made, that one is removed."""
    await bench.look(story(EventSink=SINK))
    before = await ids(bench, table)
    await bench.tamper(f"UPDATE {table} SET id = gen_random_uuid()")

    report = await bench.look()

    assert all(verdict.ready for verdict in report.verdicts.values())
    assert before == await ids(bench, table)


async def ids(bench: Bench, table: str) -> list[str]:
    """List the ids in a table."""
    async with bench.services.tasks.begin() as tx:
        found = await tx.connection.execute(text(f"SELECT id FROM {table} ORDER BY id"))
        return [str(row.id) for row in found]


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_row_changed_by_hand_is_put_right_and_told(bench: Bench, kind: str) -> None:
    """Its object says which columns it was, until a look finds all well."""
    statement, columns = CHANGES[kind]
    await bench.look(story())
    await bench.tamper(statement)

    report = await bench.look()

    told = await bench.drifted()
    assert {kind} == set(told)
    assert f"({columns})" in told[kind]
    assert {key(kind): told[kind]} == report.repaired
    assert all(verdict.ready for verdict in report.verdicts.values())
    assert {} == (await bench.look(look=False)).repaired
    assert {kind} == set(await bench.drifted())
    await bench.look()
    assert {} == await bench.drifted()


REMOVALS = {
    "client_apps": {"ClientApp", "WebhookSubscription"},  # a cascade
    "webhook_subscriptions": {"WebhookSubscription"},
    "commands": {"Command"},
    "event_sources": {"EventSource"},
    "event_workflows": {"EventMapping"},
    "task_workflows": {"TaskMapping"},
    "workflows": {"Workflow"},
    "workflow_versions": {"Workflow"},
}


@pytest.mark.parametrize("table", REMOVALS)
async def test_a_row_removed_by_hand_is_made_again_and_told(bench: Bench, table: str) -> None:
    """So are the rows that went with it; the workflow keeps its version."""
    await bench.look(story())
    await bench.tamper(f"DELETE FROM {table}")

    report = await bench.look()

    assert REMOVALS[table] == {kind for kind, _, _ in report.repaired}
    assert REMOVALS[table] == set(await bench.drifted())
    assert all(verdict.ready for verdict in report.verdicts.values())
    assert 1 == report.verdicts[key("Workflow")].fields["currentVersion"]
    await bench.look()
    assert {} == await bench.drifted()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE workflows SET version = 7",
        "UPDATE workflow_versions SET bpmn = 'x'",
        "UPDATE workflow_versions SET version = 9",
        "UPDATE workflow_versions SET digest = 'x'",
    ],
)
async def test_a_workflow_whose_version_is_changed_by_hand_is_mended(
    bench: Bench, statement: str
) -> None:
    """It ends with the model that is declared, in force."""
    await bench.look(story())
    await bench.tamper(statement)

    report = await bench.look()

    assert {key("Workflow")} == set(report.repaired)
    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.workflows.all()
        version = await tx.workflows.version(row.id, row.version)
    assert version is not None
    assert MODEL == version.bpmn
    assert 0 == (await bench.look()).changes


async def test_a_workflow_that_the_engine_has_lost_is_deployed_again(bench: Bench) -> None:
    """As when the engine is another one now: the version that is in force is one that it has."""
    await bench.look(story())
    await bench.tamper("DELETE FROM engine_definitions")

    await bench.look()

    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.workflows.all()
        (version,) = await tx.workflows.versions([row.id])
    known = await bench.services.engine.known_definitions([version.definition_id])
    assert {version.definition_id} == known
    assert (row.version, MODEL) == (version.version, version.bpmn)
    assert 0 == (await bench.look()).changes


async def test_a_secret_changed_by_hand_is_put_right_and_not_shown(bench: Bench) -> None:
    """The message names the column and no value."""
    await bench.look(story())
    async with bench.services.tasks.begin() as tx:
        (client,) = await tx.webhooks.client_apps()
        await tx.webhooks.put_client(replace(client, signing_secret=client.api_secret))

    report = await bench.look()

    assert "(signing_secret)" in report.repaired[key("ClientApp")]
    async with bench.services.tasks.begin() as tx:
        (mended,) = await tx.webhooks.client_apps()
    assert client.signing_secret == mended.signing_secret


@pytest.mark.parametrize("due", [True, False])
async def test_a_secret_put_into_a_row_is_good_for_nothing(bench: Bench, *, due: bool) -> None:
    """Not as a former one either, where a rotation is due; that one leaves the genuine one behind.

    Both are done in two reconciliations, and the second is asked for.
    """
    await bench.look(story())
    forged = Secret("forged")
    async with bench.services.tasks.begin() as tx:
        (client,) = await tx.webhooks.client_apps()
        await tx.webhooks.put_client(replace(client, api_secret=forged))
    spec = f"{{credentials: {{generated: {{rotation: {{revision: {int(due)}}}}}}}}}"

    mending = await bench.look(story(ClientApp=spec))
    async with bench.services.tasks.begin() as tx:
        (mended,) = await tx.webhooks.client_apps()
    await bench.look()
    async with bench.services.tasks.begin() as tx:
        (settled,) = await tx.webhooks.client_apps()

    assert due == mending.retry
    assert (client.api_secret,) == mended.api_secrets(bench.now)
    assert due == (client.api_secret != settled.api_secret)
    assert (client.api_secret,) == settled.api_secrets(bench.now)[-1:]
    assert forged not in settled.api_secrets(bench.now)


async def test_what_is_changed_where_it_is_declared_is_no_drift(bench: Bench) -> None:
    """First rows, changed specs, objects that go and come, others' keys: nothing has drifted."""
    reports = [
        await bench.look(text)
        for text in (
            story(),
            story(ClientApp="{displayName: New}", Command="{topic: p, http: {url: 'http://h/'}}"),
            story(WebhookSubscription="", EventMapping="", TaskMapping="", Workflow="{bpmn: {}}"),
            story(),
            story(ClientApp=""),
            story(),
            story(ClientApp="{credentials: {generated: {rotation: {revision: 1}}}}"),
            story(ClientApp="{credentials: {generated: {rotation: {revision: 2, overlap: 1m}}}}"),
        )
    ]
    reports += [await bench.look() for _ in range(300 // 60)]

    assert [{}] * len(reports) == [report.repaired for report in reports]


async def test_a_key_that_was_lost_and_won_back_is_no_drift(bench: Bench) -> None:
    """A row that made way for an older object's comes back when that one goes."""
    await bench.look(story())
    (bench.folder / "b.yaml").write_text(
        resource("Command", SPECS["Command"]).replace("{name: it}", "{name: other}")
    )
    await bench.look()
    await bench.look(story(Command=""))
    await bench.look(story())
    (bench.folder / "b.yaml").unlink()

    assert {} == (await bench.look()).repaired


async def test_a_process_that_did_not_leave_the_rows_tells_of_no_drift(bench: Bench) -> None:
    """What another version left is put right in silence: it may be an upgrade."""
    await bench.look(story())
    await bench.tamper("UPDATE commands SET timeout_seconds = 1")
    bench.applied = Applied()

    report = await bench.look()

    assert ({}, 1) == (report.repaired, report.changes)


async def test_a_repair_is_told_though_the_rest_failed_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database goes away right after a repair, the next time tells of it."""
    await bench.look(story())
    await bench.tamper("UPDATE client_apps SET name = 'x'")
    with monkeypatch.context() as patched:

        async def fail(*_: object) -> None:
            raise Unavailable

        patched.setattr("taskloom.reconcilers.reconcile._sources", fail)
        with pytest.raises(Unavailable):
            await bench.look()

    assert {key("ClientApp")} == set((await bench.look()).repaired)


async def test_credentials_removed_by_hand_are_made_again_and_told(bench: Bench) -> None:
    """They are the same; the report names where they are kept."""
    first = await bench.look(story())
    for file in sorted(bench.data_dir.rglob("*")):
        if file.is_file():
            file.unlink()

    report = await bench.look()

    assert ({}, {}) == (first.remade, report.repaired)
    assert {key("ClientApp"): "it-credentials"} == report.remade
    assert {} == (await bench.look()).remade
