"""Sources with pods of their own, on a real API server."""

import asyncio
import contextlib
import itertools
import os
import re
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from taskloom.providers.kubernetes.client import connected
from taskloom.providers.kubernetes.dedicate import Dedicator, Pods
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.objects import OURS
from taskloom.providers.kubernetes.scope import read_scope
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Start, condition, until

VERSIONS = itertools.count(1)
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "kubernetes.md"
KEDA = Path(__file__).parent / "foreign" / "keda.yaml"
Pod = Callable[[str], contextlib.AbstractAsyncContextManager[None]]
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      serviceAccountName: nobody
      automountServiceAccountToken: false
      containers:
        - name: connectors
          image: taskloom:test
          args: [serve, --roles, connectors]
          env:
            - name: TASKLOOM_DATABASE_URL
              valueFrom: {secretKeyRef: {name: database, key: url}}
          resources: {requests: {cpu: '0.25', memory: 128Mi}}
"""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the operators of a test a template."""
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    monkeypatch.setenv("TASKLOOM_WORKER_TEMPLATE", str(path))
    return path


@pytest.fixture
def keda(cluster: Api) -> Iterator[None]:
    """Take KEDA's definition away again."""
    yield
    cluster.kubectl("delete", "--ignore-not-found", f"--filename={KEDA}")


@pytest.fixture
def pod(database_url: str, key: str, tmp_path: Path) -> Pod:
    """Give what runs as a pod of a source would."""
    return lambda source: _pod(source, database_url, key, tmp_path / "pod")


@pytest.fixture
def narrow(cluster: Api, kubeconfig: Path, namespace: str, tmp_path: Path) -> Path:
    """Write a kubeconfig of one who has the rights that the reference names for pods of sources."""
    block = re.search(
        r"```yaml\n(- [^`]*\n  resourceNames: \[taskloom-source\].*?)```",
        REFERENCE.read_text(),
        re.DOTALL,
    )
    assert block is not None
    name, rbac = "dedicator", "rbac.authorization.k8s.io"
    metadata = {"name": name, "namespace": namespace}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    role = {"apiGroup": rbac, "kind": "Role", "name": name}
    for document in (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": yaml.safe_load(block[1]),
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [subject],
        },
    ):
        assert not isinstance(cluster.apply(document), Refusal)
    token = cluster.kubectl("create", "token", name, f"--namespace={namespace}").strip()
    narrowed = yaml.safe_load(kubeconfig.read_text())
    for user in narrowed["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "narrow"
    path.write_text(yaml.safe_dump(narrowed))
    return path


@contextlib.asynccontextmanager
async def _pod(source: str, database_url: str, key: str, folder: Path) -> AsyncIterator[None]:
    """Run a process that knows the database and no cluster."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    environment |= {
        "TASKLOOM_DATABASE_URL": database_url,
        "TASKLOOM_ENCRYPTION_KEYS": key,
        "TASKLOOM_CONNECTOR_SOURCE": source,
    }
    command = (sys.executable, "-m", "taskloom", "serve", "--roles", "connectors")
    process = await asyncio.create_subprocess_exec(
        *command,
        "--data-dir",
        str(folder),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def source(namespace: str, **placement: Any) -> Json:
    """Write a source by the clock."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": "nightly", "namespace": namespace},
        "spec": {
            "cron": {"schedule": "@daily"},
            "placement": {"mode": "Dedicated", **placement},
        },
    }


def made(api: Api, namespace: str, plural: str, group: str) -> list[Json]:
    """List what was made of a kind."""
    answer = api.call(
        "GET",
        f"/apis/{group}/namespaces/{namespace}/{plural}",
        params={"labelSelector": "app.kubernetes.io/component=source"},
    )
    return [] if isinstance(answer, Refusal) else list(answer["items"])


def deployments(api: Api, namespace: str) -> list[Json]:
    """List the Deployments of sources."""
    return made(api, namespace, "deployments", "apps/v1")


def replicas(api: Api, namespace: str) -> list[int]:
    """List how many replicas they ask for."""
    return [found["spec"]["replicas"] for found in deployments(api, namespace)]


def status(api: Api, document: Json) -> Json:
    """Read an object's status."""
    found = api.get(document)
    assert not isinstance(found, Refusal)
    told: Json = found.get("status", {})
    return told


def ready(api: Api, document: Json) -> tuple[str, str] | None:
    """Read the condition Ready."""
    found = condition(api, document)
    return None if found is None else found[:2]


@pytest.mark.usefixtures("template")
async def test_a_dedicated_source_has_pods_of_its_own_as_long_as_it_asks_for_them(
    cluster: Api, operate: Start, namespace: str, pod: Pod
) -> None:
    """Made, run, scaled, put right, and taken away; its pods need no rights in the cluster."""
    nightly = source(namespace)
    cluster.apply(nightly)
    await operate()
    await until(lambda: replicas(cluster, namespace) == [1])
    await until(lambda: ready(cluster, nightly) == ("False", "Pending"))
    [deployment] = deployments(cluster, namespace)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "TASKLOOM_CONNECTOR_SOURCE", "value": f"{namespace}/nightly"} in container[
        "env"
    ]

    async with pod(f"{namespace}/nightly"):
        await until(lambda: ready(cluster, nightly) == ("True", "Reconciled"))
        told = status(cluster, nightly)
        selector = f"taskloom.dev/source-id={told['sourceId']}"
        assert (1, selector) == (told["replicas"], told["selector"])
    await until(lambda: ready(cluster, nightly) == ("False", "Pending"))

    cluster.kubectl("scale", "evsrc/nightly", "--replicas=2", f"--namespace={namespace}")
    await until(lambda: replicas(cluster, namespace) == [2])
    name = deployment["metadata"]["name"]
    cluster.kubectl("scale", f"deployment/{name}", "--replicas=5", f"--namespace={namespace}")
    await until(lambda: replicas(cluster, namespace) == [2])

    cluster.apply(source(namespace, mode="Shared"))
    await until(lambda: deployments(cluster, namespace) == [])
    await until(lambda: ready(cluster, nightly) == ("True", "Reconciled"))


@pytest.mark.usefixtures("keda")
async def test_an_autoscaler_sets_the_replicas_from_where_they_are(
    cluster: Api, narrow: Path, namespace: str, template: Path
) -> None:
    """A HorizontalPodAutoscaler without KEDA, a ScaledObject with it; what they set stays.

    All of it goes with the ConfigMap that it belongs to; the documented rights are enough.
    """
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "taskloom-source", "namespace": namespace},
    }
    cluster.apply(owner)
    async with connected(await configured(narrow)) as client:
        mirror = Mirror(read_scope((namespace,), None))
        pods = Pods(template=template, kinds=frozenset({"kafka"}), owner="taskloom-source")
        dedicator = Dedicator(client, mirror, namespace, pods)

        async def look(*documents: Json) -> None:
            for kind in OURS:
                found = [one for one in documents if one["kind"] == kind]
                mirror.take_listing(kind, namespace, found, 10**9)
            await dedicator.look()

        async with asyncio.timeout(30):  # until the API server knows of rights given just now
            while replicas(cluster, namespace) != [3]:
                await look(kafka(namespace, replicas=3))
        [first] = deployments(cluster, namespace)
        await look(kafka(namespace, replicas=3))
        [second] = deployments(cluster, namespace)
        assert writes(first) == writes(second)

        await look(kafka(namespace, autoscaling={"maxReplicas": 6}))
        assert [3] == replicas(cluster, namespace)
        assert 1 == len(made(cluster, namespace, "horizontalpodautoscalers", "autoscaling/v2"))
        [deployment] = deployments(cluster, namespace)
        name = deployment["metadata"]["name"]
        cluster.kubectl("scale", f"deployment/{name}", "--replicas=5", f"--namespace={namespace}")
        await look(kafka(namespace, autoscaling={"maxReplicas": 6}))
        assert [5] == replicas(cluster, namespace)

        cluster.delete(owner)
        await until(lambda: deployments(cluster, namespace) == [])
        await until(
            lambda: made(cluster, namespace, "horizontalpodautoscalers", "autoscaling/v2") == []
        )
        await look(kafka(namespace, autoscaling={"maxReplicas": 6}))
        assert list(pods.problems.values()) == [
            "the ConfigMap taskloom-source that they are to belong to is not there"
        ]
        assert [] == deployments(cluster, namespace)
        cluster.apply(owner)
        await look(kafka(namespace, replicas=5))
        assert [5] == replicas(cluster, namespace)

        cluster.kubectl("apply", f"--filename={KEDA}")
        cluster.kubectl("wait", "--for=condition=Established", f"--filename={KEDA}")
        scaled = f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"
        await until(lambda: not isinstance(cluster.call("GET", scaled), Refusal))
        await look(kafka(namespace, autoscaling={"maxReplicas": 6}))
        assert [] == made(cluster, namespace, "horizontalpodautoscalers", "autoscaling/v2")
        assert 1 == len(made(cluster, namespace, "scaledobjects", "keda.sh/v1alpha1"))

        await until(lambda: "nobody" in str(deployments(cluster, namespace)[0]["status"]))
        await look(kafka(namespace, replicas=2))
        [problem] = pods.problems.values()
        assert 'serviceaccount "nobody" not found' in problem
        assert [2] == replicas(cluster, namespace)
        await look()
        assert [] == deployments(cluster, namespace)
        assert [] == made(cluster, namespace, "scaledobjects", "keda.sh/v1alpha1")


async def configured(kubeconfig: Path) -> Configuration:
    """Read a kubeconfig."""
    configuration = Configuration()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await config.load_kube_config(
            config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    return configuration


def writes(deployment: Json) -> list[tuple[str, str]]:
    """Tell when we wrote an object last, by each way of writing."""
    return [
        (entry["operation"], entry["time"])
        for entry in deployment["metadata"]["managedFields"]
        if entry["manager"] == "taskloom"
    ]


def kafka(namespace: str, **placement: Any) -> Json:
    """Write a Kafka source as a listing has it, newer than the one before."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventSource",
        "metadata": {
            "name": "orders",
            "namespace": namespace,
            "resourceVersion": str(next(VERSIONS)),
        },
        "spec": {
            "kafka": {"bootstrapServers": ["k:9092"], "topics": ["orders"]},
            "placement": {"mode": "Dedicated", **placement},
        },
    }


async def test_without_a_template_a_dedicated_source_runs_in_its_pool(
    cluster: Api, operate: Start, namespace: str
) -> None:
    """And says so."""
    nightly = source(namespace)
    await operate()
    cluster.apply(nightly)
    await until(lambda: ready(cluster, nightly) == ("True", "Reconciled"))

    found = condition(cluster, nightly, "Degraded")
    assert found is not None
    assert ("True", "Unsupported") == found[:2]
    assert [] == deployments(cluster, namespace)
