"""What others do to rows, Secrets, objects and leaders: it ends as declared, and is told."""

import asyncio
import time

import psycopg

from taskloom.store.database import Database
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Start, condition, until

VERSION = "taskloom.dev/v1alpha1"


def resource(kind: str, name: str, namespace: str, spec: Json) -> Json:
    """Write a resource."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def command(name: str, namespace: str) -> Json:
    """Write a Command of its own topic."""
    spec = {"topic": name, "http": {"url": "http://127.0.0.1:9/"}}
    return resource("Command", name, namespace, spec)


def apply(api: Api, *found: Json) -> None:
    """Apply documents that are not refused."""
    for document in found:
        answer = api.apply(document)
        assert not isinstance(answer, Refusal), answer


def stands(api: Api, document: Json, status: str = "True", type_: str = "Ready") -> bool:
    """Tell whether a condition has a status."""
    found = condition(api, document, type_)
    return found is not None and found[0] == status


def events(api: Api, namespace: str) -> set[tuple[str, str, str]]:
    """List the Events of a namespace: type, reason, and the object's name."""
    answer = api.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    assert not isinstance(answer, Refusal)
    return {
        (event["type"], event["reason"], event["regarding"]["name"]) for event in answer["items"]
    }


def is_gone(api: Api, document: Json) -> bool:
    """Tell whether an object is not there."""
    return isinstance(api.get(document), Refusal)


async def execute(database_url: str, statement: str) -> None:
    """Do something to the rows by hand."""
    url = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def topics(rows: Database) -> set[str]:
    """List the topics of the commands that the database has."""
    async with rows.begin() as tx:
        return {row.topic for row in await tx.commands.all()}


async def test_what_is_changed_by_hand_is_put_right_and_told(
    cluster: Api, namespace: str, operate: Start, rows: Database, database_url: str
) -> None:
    """Rows that are changed or removed, a Secret that is deleted: mended, told, and told no more.

    A process with the controller's role alone shows its health and its metrics.
    """
    app = resource("ClientApp", "app", namespace, {})
    pack, ship = command("pack", namespace), command("ship", namespace)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app-credentials", "namespace": namespace},
    }
    apply(cluster, app, pack, ship)
    settings = {"RESYNC_SECONDS": "5", "HEALTH_PORT": "0"}
    operator = await operate(roles="controller", settings=settings)
    await until(lambda: all(stands(cluster, each) for each in (app, pack, ship)))
    before = cluster.get(secret)
    assert not isinstance(before, Refusal)

    await execute(database_url, "UPDATE commands SET timeout_seconds = 99 WHERE topic = 'pack'")
    await execute(database_url, "DELETE FROM commands WHERE topic = 'ship'")
    cluster.delete(secret)
    await until(
        lambda: all(stands(cluster, each, type_="Drifted") for each in (pack, ship)), seconds=15
    )
    await until(lambda: not is_gone(cluster, secret), seconds=15)

    after = cluster.get(secret)
    assert not isinstance(after, Refusal)
    assert before["data"] == after["data"]
    async with rows.begin() as tx:
        assert {("pack", 30.0), ("ship", 30.0)} == {
            (row.topic, row.timeout_seconds) for row in await tx.commands.all()
        }
    assert stands(cluster, pack)
    expected = {
        ("Normal", "Ready", "pack"),
        ("Warning", "Drifted", "pack"),
        ("Warning", "Drifted", "ship"),
        ("Warning", "SecretRemade", "app"),
        ("Normal", "LeaderElection", "taskloom-controller"),
    }
    await until(lambda: expected <= events(cluster, namespace), seconds=15)
    await until(lambda: condition(cluster, pack, "Drifted") is None, seconds=15)
    assert condition(cluster, app, "Drifted") is None
    assert (200, 200) == tuple(operator.get(path).status_code for path in ("/healthz", "/readyz"))
    metrics = operator.get("/metrics").text
    assert "taskloom_controller_leader 1.0" in metrics
    assert 'taskloom_controller_resources{kind="Command",ready="True"} 2.0' in metrics
    assert 'taskloom_controller_repaired_resources_total{kind="Command"} 2.0' in metrics
    assert 'taskloom_kubernetes_requests_total{code="403"' not in metrics


async def test_a_leader_killed_during_a_reconciliation_is_followed(
    cluster: Api, namespace: str, operate: Start, rows: Database, database_url: str
) -> None:
    """Half of what it did stands; the next leader does the rest."""
    app, pack = resource("ClientApp", "app", namespace, {}), command("pack", namespace)
    mapping = resource("EventMapping", "m", namespace, {"eventKey": "e", "workflowKey": "none"})
    first = await operate("first", roles="controller")
    await until(lambda: first.leads)
    url = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("LOCK TABLE commands IN ACCESS EXCLUSIVE MODE")
        apply(cluster, app, pack, mapping)
        async with asyncio.timeout(30):
            while not await _somebody_waits(url):
                await asyncio.sleep(0.05)
        assert first.leads
        await first.kill()
        second = await operate("second", roles="controller")
        await connection.rollback()
    await until(lambda: stands(cluster, app) and stands(cluster, pack), seconds=40)
    await until(lambda: condition(cluster, mapping) == ("False", "WorkflowNotFound", 1))

    assert second.leads
    assert {"pack"} == await topics(rows)


async def _somebody_waits(url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        found = await other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        row = await found.fetchone()
        return bool(row and row[0])


async def test_what_is_deleted_is_gone_at_once_and_its_rows_follow(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """Whether an operator runs or not; a namespace goes with everything in it."""
    one, two, three = (command(name, namespace) for name in ("one", "two", "three"))
    app = resource("ClientApp", "app", namespace, {})
    itself = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    apply(cluster, one, two, three, app)
    settings = {"LEASE_NAMESPACE": "default", "LEASE_NAME": f"lease-{namespace}"}
    operator = await operate(roles="controller", settings=settings)
    await until(lambda: all(stands(cluster, each) for each in (one, two, three, app)))

    began = time.monotonic()
    cluster.delete(one)
    assert is_gone(cluster, one)
    assert time.monotonic() - began < 2
    await topics_are(rows, {"two", "three"})

    await operator.stop()
    cluster.delete(two)
    assert is_gone(cluster, two)
    assert {"two", "three"} == await topics(rows)
    await operator.start()
    await topics_are(rows, {"three"})

    cluster.delete(itself)
    await until(lambda: is_gone(cluster, itself), seconds=40)
    await topics_are(rows, set())
    async with rows.begin() as tx:
        assert [] == await tx.webhooks.client_apps()
    assert not operator.says("reconcile-failed")


async def topics_are(rows: Database, expected: set[str]) -> None:
    """Wait until the database has these commands and no others."""
    async with asyncio.timeout(30):
        while await topics(rows) != expected:
            await asyncio.sleep(0.1)
