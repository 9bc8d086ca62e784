"""The chart at work: installed, used, upgraded, uninstalled; its pods run as processes."""

import asyncio
import base64
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet

from taskloom.cli.local_token import own_token
from taskloom.cli.receiver import ReceiverSecrets, read_webhook
from taskloom.domain.secret import Secret
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.ports.engine import StartRequest
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.testing.bpmn import bpmn, path
from taskloom.testing.receiver import Receiver
from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.audit import Right, granted, requests
from tests.real.kubernetes.chart import CHART
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.operator import until
from tests.real.kubernetes.pods import Pods
from tests.real.kubernetes.release import Release, Shop

ORDER = {"order": "1001", "amount": 250}
# Webhooks go to the test on this machine.
HERE = {"settings": {"egress": {"allowLoopback": True}}}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane that writes down who asks for what, and knows nothing of ours yet."""
    folder = tmp_path_factory.mktemp("audited-plane")
    plane = ControlPlane(folder, controllers=True, audited=True)
    asyncio.run(plane.start())
    yield plane
    plane.stop()


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    """Speak to it."""
    with connect(plane.kubeconfig) as api:
        yield api


@pytest.fixture
async def pods(plane: ControlPlane, api: Api) -> AsyncIterator[Pods]:
    """Play its pods; in a folder with a short name, as a database has its socket there."""
    with tempfile.TemporaryDirectory(prefix="pods-") as folder:
        async with Pods(plane, api, Path(folder)) as pods:
            yield pods


@pytest.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make a database in which nothing is."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    yield postgres.url_of(name).replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a release plays: its namespace `home`, the shop's `users`, an empty database."""

    api: Api
    pods: Pods
    home: str
    users: str
    database: str


@pytest.fixture
def stage(api: Api, pods: Pods, empty_database: str) -> Iterator[Stage]:
    """Make a namespace for the release and one for those who use it, and the release's Secrets."""
    with api.namespace() as home, api.namespace() as users:
        make_secrets(api, home, empty_database)
        yield Stage(api=api, pods=pods, home=home, users=users, database=empty_database)


def make_secrets(api: Api, namespace: str, database: str) -> None:
    """Make the Secrets that the chart's complaints name."""
    values = {
        "taskloom-database": {"url": database},
        "taskloom-encryption": {"keys": Fernet.generate_key().decode()},
        "taskloom-auth": {"jwtSecret": uuid.uuid4().hex + uuid.uuid4().hex},
    }
    for name, data in values.items():
        document: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": data,
        }
        assert not isinstance(api.apply(document), Refusal)


DECLARED = (
    *("client_apps", "webhook_subscriptions", "event_sources", "event_workflows"),
    *("task_workflows", "commands"),
)
# What is applied is created by a PATCH, for which both rights are needed; and no source whose pods
# follow a lag runs without a broker.
UNSEEN = {
    Right(group=group, resource=resource, verb=verb)
    for group, resource, verbs in (
        ("apps", "deployments", ("create",)),
        ("autoscaling", "horizontalpodautoscalers", ("create", "patch", "delete")),
        ("keda.sh", "scaledobjects", ("list", "create", "patch", "delete")),
    )
    for verb in verbs
}
EXTERNAL: Json = HERE | {
    "database": {"existingSecret": "taskloom-database"},
    "encryption": {"existingSecret": "taskloom-encryption"},
    "auth": {"existingSecret": "taskloom-auth"},
}


async def rows(database: str) -> dict[str, int]:
    """Count what the samples lead to: declared rows and rows of work."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        found = {}
        for table in (*DECLARED, "workflows", "events", "tasks"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
            row = await cursor.fetchone()
            assert row is not None
            found[table] = row[0]
        return found


def older_chart(folder: Path) -> Path:
    """Make the chart as it may have been before: another version, a definition with less said."""
    older = folder / "older"
    shutil.copytree(CHART, older)
    chart = older / "Chart.yaml"
    chart.write_text(chart.read_text().replace("version: 0.1.0", "version: 0.0.9", 1))
    crd = older / "files" / "crds" / "taskloom.dev_clientapps.yaml"
    assert "Name for people." in crd.read_text()
    crd.write_text(crd.read_text().replace("Name for people.", "Another text.", 1))
    return older


def definition(api: Api) -> str:
    """Read a description in the CRD of ClientApps."""
    found = api.call(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clientapps.taskloom.dev"
    )
    assert not isinstance(found, Refusal)
    spec = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return str(spec["properties"]["displayName"]["description"])


async def post_order(url: str, headers: dict[str, str], path: str, body: Json) -> int:
    """Post an event."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        return (await client.post(path, headers=headers, json=body)).status_code


def read(url: str, data: Path, path: str) -> list[Json]:
    """Read a list of the API, as whoever has the data folder."""
    headers = {"authorization": f"Bearer {own_token(data)}"}
    found: list[Json] = httpx.get(f"{url}{path}", headers=headers, trust_env=False).json()
    return found


def genuine(receiver: Receiver, credentials: dict[str, str]) -> list[str]:
    """Verify every webhook that came by the shop's Secret, and give the orders they are about."""
    plain = {name: Secret(base64.b64decode(value).decode()) for name, value in credentials.items()}
    known = ReceiverSecrets(api_secret=plain["apiSecret"], signing_secret=plain["signingSecret"])
    names = []
    for headers, body in receiver.requests:
        lower = httpx.Headers(headers)
        webhook = read_webhook(lower, body, known, now=time.time())
        assert webhook.fault is None
        assert webhook.verified
        names.append(json.dumps(webhook.payload))
    return names


async def test_a_release_from_install_to_uninstall(
    stage: Stage, plane: ControlPlane, tmp_path: Path
) -> None:
    """Roles in Deployments of their own: installed, used by a shop, upgraded, taken away.

    The controller uses every right that it has and is refused nothing; workers ask for nothing.
    """
    api, pods, home, users = stage.api, stage.pods, stage.home, stage.users
    values = EXTERNAL | {
        "mode": "distributed",
        "api": {"replicas": 1},
        "controller": {"replicas": 1},
        "connectors": {"dedicated": {"enabled": True}},
        "callers": {"eventPosters": [{"name": "orders", "namespace": users}]},
    }
    release, shop = Release(api, home, values, tmp_path), Shop(api, users)

    await release.install(older_chart(tmp_path), "--take-ownership")
    await release.test()
    async with Receiver() as receiver:
        await shop.declare(receiver.url)
        await shop.wait()
        table = await shop.table()
        for line in ("clientapp.taskloom.dev/shop", "workflow.taskloom.dev/pack-order"):
            assert line in table
        credentials = shop.credentials()

        api.kubectl("create", "serviceaccount", "orders", f"--namespace={users}")
        token = api.kubectl(
            *("create", "token", "orders", f"--namespace={users}", "--audience=taskloom")
        ).strip()
        answered = await post_order(
            pods.url(home, "api"),
            {"authorization": f"Bearer {token}"},
            "/events/trigger",
            {"key": "order-placed", "payload": ORDER},
        )
        assert answered == 204
        await receiver.wait_for(1)

        assert definition(api) == "Another text."
        before = await rows(stage.database)
        await release.upgrade("--set=controller.podAnnotations.example=changed")
        assert definition(api) == "Name for people."
        assert credentials == shop.credentials()
        await shop.wait()
        assert before == await rows(stage.database)

        plain = {name: base64.b64decode(value).decode() for name, value in credentials.items()}
        answered = await post_order(
            pods.url(home, "api"),
            {"x-api-key": plain["apiKey"], "x-api-secret": plain["apiSecret"]},
            "/sources/orders",
            ORDER | {"order": "1002"},
        )
        assert answered == 204
        await receiver.wait_for(2)
        told = " ".join(genuine(receiver, credentials))
        assert "1001" in told
        assert "1002" in told

    roles = roles_of(api, home)
    await use_every_right(api, shop, stage.database)
    api.delete(await have_a_source_of_its_own(stage, shop))
    await until(lambda: pods.of(home, "source") == [])
    await shop.forget()
    await until_gone(stage.database)
    judge_requests(roles, plane, home)
    left = await have_a_source_of_its_own(stage, shop)
    await release.uninstall("--wait", "--timeout=60s")
    assert definition(api) == "Name for people."
    await until(lambda: pods.of(home, "source") == [])
    await until(lambda: left_over(api, home) == "")
    api.delete(left)
    assert pods.failed == []


async def test_a_release_goes_before_what_it_served(
    stage: Stage, plane: ControlPlane, tmp_path: Path
) -> None:
    """All roles in a pod, on its own database, with no right beyond one namespace.

    The pod is killed, the release uninstalled, then the objects are deleted: nothing hangs, and
    what they had led to goes when a release is back; what was done stays.
    """
    api, pods, home, users = stage.api, stage.pods, stage.home, stage.users
    claim: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": home},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    assert not isinstance(api.apply(claim), Refusal)
    values = HERE | {
        "database": {"embedded": {"persistence": {"enabled": True, "existingClaim": "data"}}},
        "controller": {"namespaces": [users]},
        "callers": {"enabled": False},
        "rbac": {"aggregate": False},
    }
    release, shop = Release(api, home, values, tmp_path), Shop(api, users)
    data = pods.claim(home, "data")

    await release.install(CHART, "--take-ownership")
    assert roles_of(api, home).keys() == {"taskloom-controller-leader"}
    await release.test()
    async with Receiver() as receiver:
        await shop.declare(receiver.url)
        await shop.wait()
        answered = await post_order(
            pods.url(home, "all-in-one"),
            {"authorization": f"Bearer {own_token(data)}"},
            "/events/trigger",
            {"key": "order-placed", "payload": ORDER},
        )
        assert answered == 204
        await receiver.wait_for(1)
        assert "1001" in " ".join(genuine(receiver, shop.credentials()))

    await pods.kill(home, "all-in-one")
    await release.uninstall()
    await shop.forget()
    await release.install(CHART)
    url = pods.url(home, "all-in-one")
    await until(lambda: read(url, data, "/resources") == [])
    assert len(read(url, data, "/tasks")) == 1
    mine = f"system:serviceaccount:{home}:"
    assert [each for each in requests(plane.audit) if mine in each.user and each.code == 403] == []
    await release.uninstall("--wait", "--timeout=60s")


async def until_gone(database: str) -> None:
    """Wait until no row of what was declared is left; workflows and work are kept."""
    async with asyncio.timeout(30):
        found = await rows(database)
        while any(found[table] for table in DECLARED):
            await asyncio.sleep(0.2)
            found = await rows(database)


async def use_every_right(api: Api, shop: Shop, database: str) -> None:
    """Have the controller do what it seldom does: mend and complete Secrets, hold a model."""
    before = shop.credentials()
    api.delete(secret(shop, "shop-credentials"))
    await until(lambda: not isinstance(api.get(secret(shop, "shop-credentials")), Refusal))
    assert before == shop.credentials()

    api.apply(secret(shop, "mine") | {"stringData": {"apiKey": "a-key-of-mine"}})
    adopting = of_ours(shop, "ClientApp", "adopting")
    adopting["spec"] = {"credentials": {"generated": {"secretName": "mine"}}}
    going = of_ours(shop, "Workflow", "going")
    model = bpmn(
        '<startEvent id="start"/><userTask id="work"/>', path("start work"), process_id="going"
    )
    map_: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "going", "namespace": shop.namespace},
        "data": {"process.bpmn": model.decode()},
    }
    going["spec"] = {"deletionPolicy": "Delete", "bpmn": {"configMapKeyRef": {"name": "going"}}}
    for document in (map_, adopting, going):
        assert not isinstance(api.apply(document), Refusal)
    await shop.wait()

    await start("going", database)
    await until(lambda: "finalizers" in str(api.get(going)))
    for document in (adopting, going):
        api.delete(document)
    await until(lambda: "InstancesRunning" in str(api.get(going)))
    going["spec"]["deletionPolicy"] = "Retain"
    api.apply(going)
    await until(lambda: isinstance(api.get(going), Refusal))
    assert not isinstance(api.get(secret(shop, "mine")), Refusal)


async def start(workflow: str, database: str) -> None:
    """Start an instance, whoever it was that asked for it."""
    url = database.replace("postgresql://", "postgresql+psycopg://")
    engine_database = Database(url)
    try:
        request = StartRequest(workflow_key=workflow, start_id="by-hand", variables={})
        await EmbeddedEngine(engine_database).start(request)
    finally:
        await engine_database.close()


def left_over(api: Api, home: str) -> str:
    """Name what is left of a release."""
    kinds = "secrets,configmaps,roles,rolebindings,clusterroles,clusterrolebindings"
    mine = "--selector=app.kubernetes.io/instance=taskloom"
    here = f"--namespace={home}"
    return api.kubectl("get", kinds, mine, "--output=name", here) + api.kubectl(
        "get", "all,ingresses,pdb", "--output=name", here
    )


def of_ours(shop: Shop, kind: str, name: str) -> Json:
    """Begin an object of one of our kinds."""
    metadata = {"name": name, "namespace": shop.namespace}
    return {"apiVersion": "taskloom.dev/v1alpha1", "kind": kind, "metadata": metadata}


async def have_a_source_of_its_own(stage: Stage, shop: Shop) -> Json:
    """Have a source run in pods of its own, which are made of the chart's template."""
    api, pods, home = stage.api, stage.pods, stage.home
    source = of_ours(shop, "EventSource", "weekly")
    source["spec"] = {
        "cron": {"schedule": "0 4 * * 0"},
        "format": {"key": {"literal": "weekly"}},
        "placement": {"mode": "Dedicated"},
    }
    assert not isinstance(api.apply(source), Refusal)
    await until(lambda: any(pod.ready for pod in pods.of(home, "source")))
    await shop.wait()
    for pod in pods.of(home, "source"):
        assert pod.body["spec"]["serviceAccountName"] == "taskloom-worker"
        assert pod.body["spec"]["automountServiceAccountToken"] is False
    return source


def secret(shop: Shop, name: str) -> Json:
    """Name a Secret of the shop's."""
    metadata = {"name": name, "namespace": shop.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}


def judge_requests(roles: dict[str, Json], plane: ControlPlane, home: str) -> None:
    """Hold that all rights of the release's accounts were used, and nothing else was asked for."""
    mine = f"system:serviceaccount:{home}:taskloom-"
    made = [each for each in requests(plane.audit) if each.user.startswith(mine)]

    assert [each for each in made if each.code == 403] == []
    assert [each for each in made if each.user == f"{mine}worker"] == []
    for account, names in (
        ("controller", (f"{home}-taskloom-controller", "taskloom-controller-leader")),
        ("api", (f"{home}-taskloom-callers",)),
    ):
        used = {each.right for each in made if each.user == f"{mine}{account}"}
        unused = granted([roles[name] for name in names]) - used - UNSEEN
        assert sorted(unused) == []


def roles_of(api: Api, home: str) -> dict[str, Json]:
    """Read the Roles and ClusterRoles of the release, by name."""
    label = "--selector=app.kubernetes.io/instance=taskloom"
    found = api.kubectl("get", "roles,clusterroles", label, f"--namespace={home}", "--output=json")
    return {each["metadata"]["name"]: each for each in json.loads(found)["items"]}
