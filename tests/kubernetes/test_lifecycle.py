"""What takes its time on a real API server: rotations, and Workflows that wait to go."""

import asyncio
import base64

import pytest

from taskloom.domain.webhooks import ClientApp as Client
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.ports.engine import StartRequest
from taskloom.store.database import Database
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Start, condition, until

VERSION = "taskloom.dev/v1alpha1"
MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="test">
  <process id="wait" isExecutable="true">
    <startEvent id="start"/>
    <sequenceFlow id="a" sourceRef="start" targetRef="work"/>
    <userTask id="work"/>
    <sequenceFlow id="b" sourceRef="work" targetRef="end"/>
    <endEvent id="end"/>
  </process>
</definitions>
"""


def resource(kind: str, name: str, namespace: str, spec: Json) -> Json:
    """Write a resource."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def found(api: Api, document: Json) -> Json:
    """Read an object that is there."""
    answer = api.get(document)
    assert not isinstance(answer, Refusal), answer
    return answer


def gone(api: Api, document: Json) -> bool:
    """Tell whether an object is not there."""
    return isinstance(api.get(document), Refusal)


async def client_of(rows: Database) -> Client:
    """Read the only client."""
    async with rows.begin() as tx:
        (client,) = await tx.webhooks.client_apps()
    return client


async def test_a_raised_revision_rotates_the_secret(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """New values stand in the Secret and in the database, the former ones beside for a while."""
    app = resource("ClientApp", "till", namespace, {})
    secret: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "till-credentials", "namespace": namespace},
    }
    cluster.apply(app)
    await operate()
    await until(lambda: condition(cluster, app) == ("True", "Reconciled", 1))
    former = await client_of(rows)

    rotation = {"revision": 1, "overlap": "5s"}
    app["spec"] = {"credentials": {"generated": {"rotation": rotation}}}
    cluster.apply(app)
    await until(lambda: "previousValidUntil" in found(cluster, app)["status"]["credentials"])
    client = await client_of(rows)

    kept = {
        name: base64.b64decode(text).decode()
        for name, text in found(cluster, secret)["data"].items()
    }
    expected = {
        "apiKey": former.api_key,
        "apiSecret": client.api_secret.reveal(),
        "signingSecret": client.signing_secret.reveal(),
    }
    assert expected == kept
    assert former.api_secret != client.api_secret
    assert client.former is not None
    assert former.api_secret == client.former.api_secret
    assert 1 == found(cluster, app)["status"]["credentials"]["revision"]

    events = "events.events.k8s.io", "--output=jsonpath={.items[*].reason}"
    await until(
        lambda: "SecretsChanged" in cluster.kubectl("get", *events, f"--namespace={namespace}")
    )

    # Nothing changes now, but the overlap ends.
    await until(lambda: "previousValidUntil" not in found(cluster, app)["status"]["credentials"])
    assert (await client_of(rows)).former is None


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_a_deleted_workflow_waits_for_its_instances(
    cluster: Api, namespace: str, operate: Start, rows: Database, *, policy: str
) -> None:
    """It says so and goes when they end, or at once when it is told to leave its rows behind."""
    wait = resource(
        "Workflow", "wait", namespace, {"deletionPolicy": "Delete", "bpmn": {"inline": MODEL}}
    )
    cluster.apply(wait)
    await operate()
    await until(lambda: condition(cluster, wait) == ("True", "Reconciled", 1))
    assert "finalizers" not in found(cluster, wait)["metadata"]
    engine = EmbeddedEngine(rows)
    instance = await engine.start(StartRequest(workflow_key="wait", start_id="1", variables={}))
    await until(lambda: "finalizers" in found(cluster, wait)["metadata"])
    assert ["taskloom.dev/instances"] == found(cluster, wait)["metadata"]["finalizers"]
    assert 1 == found(cluster, wait)["status"]["runningInstances"]

    await asyncio.to_thread(cluster.delete, wait)
    await until(lambda: (condition(cluster, wait) or ("",) * 3)[1] == "InstancesRunning")

    if policy == "Retain":
        patch = '{"spec": {"deletionPolicy": "Retain"}}'
        cluster.kubectl(
            *("patch", "workflow.taskloom.dev", "wait", f"--namespace={namespace}"),
            *("--type=merge", f"--patch={patch}"),
        )
    else:
        await engine.delete_instances([instance.id], "test")
    await until(lambda: gone(cluster, wait))
    async with rows.begin() as tx:
        left = [row.managed_by for row in await tx.workflows.all()]
    assert ([] if policy == "Delete" else ["api"]) == left


async def test_a_workflow_without_instances_goes_in_seconds(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """Nothing holds it, and its rows follow at once; its figures are in the first status."""
    wait = resource(
        "Workflow", "wait", namespace, {"deletionPolicy": "Delete", "bpmn": {"inline": MODEL}}
    )
    cluster.apply(wait)
    await operate()
    await until(lambda: condition(cluster, wait) == ("True", "Reconciled", 1))

    assert 0 == found(cluster, wait)["status"]["runningInstances"]

    await asyncio.to_thread(cluster.delete, wait)
    assert gone(cluster, wait)

    async with asyncio.timeout(20):
        while await _workflows(rows):
            await asyncio.sleep(0.1)


async def _workflows(rows: Database) -> list[str]:
    async with rows.begin() as tx:
        return [row.key for row in await tx.workflows.all()]


async def test_a_workflow_that_went_before_its_instances_leaves_when_they_have_ended(
    cluster: Api, namespace: str, operate: Start, rows: Database
) -> None:
    """Deleted while nobody looked, it is gone at once; its rows stay as long as they are needed."""
    wait = resource(
        "Workflow", "wait", namespace, {"deletionPolicy": "Delete", "bpmn": {"inline": MODEL}}
    )
    cluster.apply(wait)
    operator = await operate()
    await until(lambda: condition(cluster, wait) == ("True", "Reconciled", 1))
    await operator.stop()
    engine = EmbeddedEngine(rows)
    instance = await engine.start(StartRequest(workflow_key="wait", start_id="1", variables={}))

    await asyncio.to_thread(cluster.delete, wait)
    assert gone(cluster, wait)
    await operator.start()
    await until(lambda: "workflow.not-removed" in operator.log.read_text())
    assert ["wait"] == await _workflows(rows)
    await engine.delete_instances([instance.id], "test")

    async with asyncio.timeout(40):
        while await _workflows(rows):
            await asyncio.sleep(0.1)
