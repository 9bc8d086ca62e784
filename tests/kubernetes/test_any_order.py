"""A release, its samples and its operator are taken away in any order: nothing hangs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import yaml
from cryptography.fernet import Fernet

from taskloom.store.embedded_postgres import EmbeddedPostgres
from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.chart import CHART
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.operator import Operator, until
from tests.real.kubernetes.release import KINDS, SAMPLES

CRDS = CHART.parents[1] / "crds"
LIMIT = "--timeout=20s"
Files = tuple[str, ...]
SECRETS = {
    "mode": "distributed",
    "connectors": {"dedicated": {"enabled": True}},
    "database": {"existingSecret": "database"},
    "encryption": {"existingSecret": "keys"},
    "auth": {"existingSecret": "auth"},
}
MORE = """
apiVersion: taskloom.dev/v1alpha1
kind: ClientApp
metadata: {name: leaving-its-secret}
spec: {credentials: {generated: {creationPolicy: Orphan}}}
---
apiVersion: taskloom.dev/v1alpha1
kind: EventSource
metadata: {name: weekly}
spec:
  cron: {schedule: 0 4 * * 0}
  format: {key: {literal: weekly}}
  placement: {mode: Dedicated}
---
apiVersion: taskloom.dev/v1alpha1
kind: Workflow
metadata: {name: leaving}
spec:
  deletionPolicy: Delete
  bpmn:
    inline: |
      <definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="test">
        <process id="leaving" isExecutable="true">
          <startEvent id="start"/>
          <sequenceFlow id="a" sourceRef="start" targetRef="end"/>
          <endEvent id="end"/>
        </process>
      </definitions>
"""
TABLES = (
    *("client_apps", "webhook_subscriptions", "event_sources", "event_workflows"),
    *("task_workflows", "commands", "workflows WHERE key = 'leaving'"),
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane whose definitions may go."""
    plane = ControlPlane(tmp_path_factory.mktemp("any-order"), controllers=True)
    asyncio.run(plane.start())
    yield plane
    plane.stop()


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make a database that outlives all of it."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE taskloom".encode())
    yield postgres.url_of(name)
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def rows(database: str) -> int:
    """Count what is declared, but for Workflows whose rows are to stay."""
    count = 0
    url = database.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for table in TABLES:
            cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
            row = await cursor.fetchone()
            assert row is not None
            count += row[0]
    return count


def dedicated(api: Api, home: str) -> str:
    """Name the Deployments of sources."""
    mine = "--selector=app.kubernetes.io/component=source"
    return api.kubectl("get", "deployments", mine, f"--namespace={home}", "--output=name")


def install(api: Api, home: str, folder: Path) -> Path:
    """Install the chart, whose pods nobody runs here; give its template of dedicated sources."""
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(SECRETS))
    where = f"--namespace={home}"
    options = (f"--values={values}", "--take-ownership")
    api.helm("install", "taskloom", str(CHART), where, *options)
    api.kubectl("wait", "crd", "--all", "--for=condition=Established", LIMIT)
    config: Json = {"apiVersion": "v1", "kind": "ConfigMap"}
    config["metadata"] = {"name": "taskloom-source", "namespace": home}
    found = api.get(config)
    assert not isinstance(found, Refusal)
    template = folder / "deployment.yaml"
    template.write_text(found["data"]["deployment.yaml"])
    return template


def delete_samples(api: Api, _home: str, users: str, files: Files) -> None:
    """Delete what is left of the samples; without definitions there is nothing."""
    if api.kubectl("get", "crd", "--output=name"):
        options = ("--ignore-not-found", "--wait", LIMIT)
        api.kubectl("delete", *files, f"--namespace={users}", *options)


def uninstall(api: Api, home: str, _users: str, _files: Files) -> None:
    """Uninstall the release."""
    api.helm("uninstall", "taskloom", f"--namespace={home}", "--wait", LIMIT)


def delete_namespace(api: Api, _home: str, users: str, _files: Files) -> None:
    """Delete the samples' namespace."""
    api.kubectl("delete", "namespace", users, "--wait", LIMIT)


def delete_definitions(api: Api, _home: str, _users: str, _files: Files) -> None:
    """Delete the definitions, and with them all objects."""
    api.kubectl("delete", f"--filename={CRDS}", "--wait", LIMIT)


STEPS: Mapping[str, Callable[[Api, str, str, Files], None]] = {
    "samples": delete_samples,
    "uninstall": uninstall,
    "namespace": delete_namespace,
    "crds": delete_definitions,
}


@pytest.mark.parametrize(
    "order",
    [
        "uninstall kill namespace samples crds",
        "namespace crds uninstall samples kill",
        "samples namespace crds kill uninstall",
    ],
)
async def test_nothing_hangs_in_any_order(
    plane: ControlPlane, database: str, tmp_path: Path, order: str
) -> None:
    """Every call comes back; with the next operator the rows go, without one its pods do."""
    with connect(plane.kubeconfig) as api, api.namespace() as home, api.namespace() as users:
        template = await asyncio.to_thread(install, api, home, tmp_path)
        here = f"--namespace={users}"
        samples = tmp_path / "more.yaml"
        samples.write_text(MORE)
        files = (f"--filename={SAMPLES}", f"--filename={samples}")
        key = Fernet.generate_key().decode()

        def operator(name: str) -> Operator:
            return Operator(
                kubeconfig=plane.kubeconfig,
                namespace=users,
                database_url=database,
                key=key,
                folder=tmp_path / name,
                settings={
                    "LEASE_NAMESPACE": home,
                    "WORKER_TEMPLATE": str(template),
                    "WORKER_OWNER": "taskloom-source",
                },
            )

        first, second = operator("first"), operator("second")
        await first.start()
        try:
            await asyncio.to_thread(api.kubectl, "apply", *files, here)
            await until(lambda: dedicated(api, home) != "")
            for kind in KINDS.split(","):
                if kind != "eventsources":
                    await asyncio.to_thread(
                        api.kubectl, "wait", kind, "--all", "--for=condition=Ready", here, LIMIT
                    )
            assert await rows(database) > 0

            for step in order.split():
                if step == "kill":
                    await first.kill()
                else:
                    await asyncio.to_thread(STEPS[step], api, home, users, files)
                if step == "uninstall":
                    await until(lambda: dedicated(api, home) == "", 20)

            await asyncio.to_thread(api.kubectl, "apply", "--server-side", f"--filename={CRDS}")
            await second.start()
            async with asyncio.timeout(30):
                while await rows(database):
                    await asyncio.sleep(0.2)
            assert dedicated(api, home) == ""
        finally:
            await first.stop()
            await second.stop()
