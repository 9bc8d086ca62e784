"""The operator on a real API server: what is applied becomes rows, and is told."""

import asyncio
import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskloom.store.database import Database
from taskloom.store.transaction import Transaction
from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.operator import Operator, Start, condition, until

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
CRDS = Path(__file__).parents[2] / "crds"
VERSION = "taskloom.dev/v1alpha1"


def documents(folder: Path, namespace: str) -> list[Json]:
    """Read a folder of manifests, put into a namespace."""
    found = [
        document
        for file in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document
    ]
    for document in found:
        document["metadata"]["namespace"] = namespace
    return found


def resource(kind: str, name: str, namespace: str, spec: Json) -> Json:
    """Write a resource."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def ours(found: list[Json]) -> list[Json]:
    """Keep Taskloom's own resources."""
    return [document for document in found if document["apiVersion"] == VERSION]


def apply(api: Api, *found: Json) -> None:
    """Apply documents that are not refused."""
    for document in found:
        answer = api.apply(document)
        assert not isinstance(answer, Refusal), answer


def ready(api: Api, document: Json) -> bool:
    """Tell whether an object is in force."""
    found = condition(api, document)
    return found is not None and found[0] == "True"


async def table(database: Database) -> dict[str, list[Any]]:
    """Read what the reconcilers made, without ids, times and secrets."""
    async with database.begin() as tx:
        clients = {row.id: row for row in await tx.webhooks.client_apps()}
        return {
            "workflows": sorted(
                (row.key, row.name, row.description, row.version)
                for row in await tx.workflows.all()
            ),
            "clients": sorted((row.name, sorted(row.scopes)) for row in clients.values()),
            "events": sorted(
                (row.event_key, row.workflow_key) for row in await tx.mappings.event_mappings()
            ),
            "tasks": sorted(
                (row.task_key, row.workflow_key) for row in await tx.mappings.task_mappings()
            ),
            "subscriptions": sorted(
                (clients[row.client_id].name, sorted(row.event_keys), row.target.url.reveal())
                for row in await tx.webhooks.subscriptions()
            ),
            "commands": sorted(row.topic for row in await tx.commands.all()),
        }


def scenario(namespace: str) -> list[Json]:
    """Declare what is well and what is not: each failure has its own reason."""
    return [
        *documents(QUICKSTART, namespace),
        resource("EventMapping", "lost", namespace, {"eventKey": "x", "workflowKey": "nowhere"}),
        resource(
            "Workflow",
            "broken",
            namespace,
            {"bpmn": {"inline": "<definitions/>"}},
        ),
        resource("Workflow", "unfed", namespace, {"bpmn": {"configMapKeyRef": {"name": "none"}}}),
        resource(
            "WebhookSubscription",
            "orphan",
            namespace,
            {"clientAppRef": {"name": "nobody"}, "eventKeys": ["*"], "url": "http://127.0.0.1:9/"},
        ),
        resource(
            "Command",
            "charge",
            namespace,
            {"topic": "charge", "http": {"url": "http://127.0.0.1:9000/"}},
        ),
        resource("EventSource", "http", namespace, {"http": {"path": "/purchases"}}),
    ]


def _status(api: Api, document: Json) -> Json:
    found = api.get(document)
    assert not isinstance(found, Refusal)
    status: Json = found["status"]
    return status


async def test_what_is_deleted_leaves_no_rows_and_hangs_nowhere(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """Objects are gone as soon as they are deleted, and their rows after them."""
    declared = scenario(namespace)
    apply(cluster, *declared)
    await operate()
    await until(lambda: all(condition(cluster, document) for document in ours(declared)))

    for document in ours(declared):
        cluster.delete(document)

    assert all(isinstance(cluster.get(document), Refusal) for document in ours(declared))
    async with rows.begin() as tx:
        assert [] != await tx.resources.all()
    expected: dict[str, list[Any]] = {
        name: [] for name in ("clients", "events", "tasks", "subscriptions", "commands")
    }
    async with asyncio.timeout(30):
        while (found := await table(rows)) | expected != found:
            await asyncio.sleep(0.1)


async def test_what_was_deleted_while_nobody_looked_is_swept(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """A deletion while no operator runs takes its rows when one starts.

    Rows made seconds before wait for one more look: another operator's listing may be newer.
    """
    mapping, command = (
        resource("TaskMapping", "gone", namespace, {"taskKey": "t", "workflowKey": "w"}),
        resource(
            "Command", "gone", namespace, {"topic": "gone", "http": {"url": "http://127.0.0.1:9/"}}
        ),
    )
    apply(cluster, mapping, command)
    operator = await operate()
    await until(lambda: ready(cluster, command))
    await operator.stop()
    assert ["gone"] == (await table(rows))["commands"]
    cluster.delete(command)
    marker = resource(
        "Command", "marker", namespace, {"topic": "marker", "http": {"url": "http://127.0.0.1:9/"}}
    )
    apply(cluster, marker)

    await operator.start()
    await until(lambda: ready(cluster, marker))

    async with asyncio.timeout(30):
        while (found := (await table(rows))["commands"]) != ["marker"]:
            assert ["gone", "marker"] == found
            await asyncio.sleep(0.2)


async def test_credentials_are_made_adopted_and_made_again_with_the_same_values(
    cluster: Api, namespace: str, operate: Start
) -> None:
    """A Secret deleted by hand comes back as it was, and one that was there first is adopted."""
    given: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "adopted-credentials", "namespace": namespace},
        "data": {"apiSecret": base64.b64encode(b"chosen by hand").decode()},
    }
    apply(cluster, given)
    made, adopted = (
        resource("ClientApp", "made", namespace, {}),
        resource("ClientApp", "adopted", namespace, {}),
    )
    apply(cluster, made, adopted)
    await operate()
    await until(lambda: ready(cluster, made) and ready(cluster, adopted))
    secret = given | {"metadata": {"name": "made-credentials", "namespace": namespace}}
    first = _get(cluster, secret)

    cluster.delete(secret)
    await until(lambda: not isinstance(cluster.get(secret), Refusal))
    second = _get(cluster, secret)

    assert {"apiKey", "apiSecret", "signingSecret"} == set(first["data"])
    assert first["data"] == second["data"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert "made" == second["metadata"]["ownerReferences"][0]["name"]
    kept = _get(cluster, given)
    assert given["data"]["apiSecret"] == kept["data"]["apiSecret"]
    assert {"apiKey", "apiSecret", "signingSecret"} == set(kept["data"])
    assert "ownerReferences" not in kept["metadata"]


def _get(api: Api, document: Json) -> Json:
    found = api.get(document)
    assert not isinstance(found, Refusal), found
    return found


async def test_data_that_come_later_put_things_right(
    cluster: Api, namespace: str, operate: Start
) -> None:
    """A workflow waits for its ConfigMap, says so, and follows its changes."""
    model = documents(QUICKSTART, namespace)
    config_map = next(d for d in model if d["kind"] == "ConfigMap")
    name = config_map["metadata"]["name"]
    workflow = resource(
        "Workflow", "late", namespace, {"bpmn": {"configMapKeyRef": {"name": name}}}
    )
    apply(cluster, workflow)
    await operate()
    await until(lambda: condition(cluster, workflow) == ("False", "ConfigMapNotFound", 1))

    apply(cluster, config_map)
    await until(lambda: ready(cluster, workflow))
    changed = config_map["data"]["process.bpmn"].replace("</", "<!-- changed --></", 1)
    apply(cluster, config_map | {"data": {"process.bpmn": changed}})

    await until(lambda: _status(cluster, workflow)["currentVersion"] == 2)


async def test_a_restart_writes_nothing(cluster: Api, namespace: str, operate: Start) -> None:
    """An operator that starts again on a cluster where nothing changed sends no PATCH."""
    declared = scenario(namespace)
    apply(cluster, *declared)
    operator = await operate()
    await until(lambda: all(condition(cluster, document) for document in ours(declared)))
    before = await _patches(cluster)
    await operator.stop()
    statuses = [_status(cluster, document) for document in ours(declared)]
    marker = resource("TaskMapping", "marker", namespace, {"taskKey": "m", "workflowKey": "w"})
    apply(cluster, marker)

    await operator.start()
    await until(lambda: condition(cluster, marker) is not None)

    assert 1 == await _patches(cluster) - before  # the marker's
    assert statuses == [_status(cluster, document) for document in ours(declared)]


async def _patches(api: Api) -> int:
    """Count the PATCHes of statuses of our kinds that the API server has answered."""
    text = api.kubectl("get", "--raw", "/metrics")
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{")
        and 'group="taskloom.dev"' in line
        and 'subresource="status"' in line
    )


async def test_of_two_operators_one_leads_and_the_other_takes_over(
    cluster: Api, namespace: str, operate: Start
) -> None:
    """The second operator waits; when the first is killed it leads within the lease's time."""
    one = resource("TaskMapping", "one", namespace, {"taskKey": "1", "workflowKey": "w"})
    two = resource("TaskMapping", "two", namespace, {"taskKey": "2", "workflowKey": "w"})
    first = await operate("first")
    await until(lambda: first.leads)
    second = await operate("second")
    apply(cluster, one)
    await until(lambda: condition(cluster, one) is not None)
    assert not second.leads

    await first.kill()
    apply(cluster, two)
    await until(lambda: condition(cluster, two) is not None, seconds=40)

    assert second.leads


async def test_a_leader_that_was_stopped_writes_nothing_when_it_goes_on(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """Stopped within a write, and overtaken, it undoes that, steps down, and stands by again."""
    stale, fresh, last = (
        resource(
            "Command", "it", namespace, {"topic": topic, "http": {"url": "http://127.0.0.1:9/"}}
        )
        for topic in ("stale", "fresh", "last")
    )
    marker = resource("TaskMapping", "marker", namespace, {"taskKey": "m", "workflowKey": "w"})
    first = await operate("first")
    await until(lambda: first.leads)
    apply(cluster, marker)
    await until(lambda: condition(cluster, marker) is not None)
    second = await operate("second")
    async with rows.begin() as tx:
        # The leader's write waits for this, with its look at the term behind it.
        await tx.connection.exec_driver_sql("LOCK TABLE commands IN SHARE ROW EXCLUSIVE MODE")
        apply(cluster, stale)
        async with rows.begin() as look:
            while not await _waits(look, "commands"):
                await asyncio.sleep(0.05)
        first.send(signal.SIGSTOP)
    apply(cluster, fresh)
    await until(lambda: condition(cluster, fresh) == ("True", "Reconciled", 2), seconds=40)
    assert second.leads
    status = _status(cluster, fresh)

    first.send(signal.SIGCONT)
    await until(lambda: first.says("kubernetes.superseded") or first.says("kubernetes.lead-lost"))

    assert ["fresh"] == (await table(rows))["commands"]
    assert status == _status(cluster, fresh)
    await second.stop()
    apply(cluster, last)
    await until(lambda: condition(cluster, last) == ("True", "Reconciled", 3))
    assert ["last"] == (await table(rows))["commands"]


async def _waits(tx: Transaction, name: str) -> bool:
    """Tell whether somebody waits for a table."""
    found = await tx.connection.exec_driver_sql(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", (name,)
    )
    return bool(found.scalar())


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """Make a control plane whose API server may be stopped."""
    plane = ControlPlane(tmp_path / "plane")
    yield plane
    plane.stop()


async def test_an_api_server_that_is_restarted_is_followed_on(
    plane: ControlPlane, database_url: str, key: str, tmp_path: Path
) -> None:
    """What is applied after a crash of the API server is in force soon, with no one's help."""
    await plane.start()
    operator = Operator(
        kubeconfig=plane.kubeconfig,
        namespace="default",
        database_url=database_url,
        key=key,
        folder=tmp_path / "operator",
    )
    before, after = (
        resource(
            "Command", name, "default", {"topic": name, "http": {"url": "http://127.0.0.1:9/"}}
        )
        for name in ("before", "after")
    )
    try:
        with connect(plane.kubeconfig) as api:
            api.kubectl("apply", "--server-side", f"--filename={CRDS}")
            api.kubectl("wait", "--for=condition=Established", f"--filename={CRDS}")
            apply(api, before)
            await operator.start()
            await until(lambda: ready(api, before))
        plane.stop_api_server(crash=True)
        await asyncio.sleep(3)
        await plane.start_api_server()
        with connect(plane.kubeconfig) as api:
            apply(api, after)
            api.delete(before)
            await until(lambda: ready(api, after), seconds=40)
    finally:
        await operator.stop()
