"""Our CustomResourceDefinitions on a real API server, and what they give to kubectl."""

import re
from typing import Any

import pytest

from taskloom.resources.base import GROUP
from taskloom.resources.kinds import KINDS
from tests.real.kubernetes.api import Api, Json, Refusal

MINIMAL: dict[str, Json] = {
    "ClientApp": {},
    "Command": {"topic": "charge", "http": {"url": "http://127.0.0.1:9000/"}},
    "EventMapping": {"eventKey": "order-placed", "workflowKey": "buy"},
    "EventSink": {"kafka": {"bootstrapServers": ["kafka:9092"], "topic": "out"}},
    "EventSource": {"http": {"path": "/purchases"}},
    "TaskMapping": {"taskKey": "approve", "workflowKey": "approve"},
    "WebhookSubscription": {
        "clientAppRef": {"name": "shop"},
        "eventKeys": ["*"],
        "url": "http://127.0.0.1:9000/hook",
    },
    "Workflow": {"bpmn": {"inline": "<xml/>"}},
}
STATUS: dict[str, Json] = {
    "ClientApp": {"credentials": {"secretRef": {"name": "it-credentials"}}},
    "Command": {"topic": "charge", "endpoint": "http://127.0.0.1:9000/"},
    "EventMapping": {"workflowKey": "buy"},
    "EventSink": {"type": "kafka"},
    "EventSource": {
        "type": "http",
        "replicas": 1,
        "lag": {"total": 7},
        "endpoint": "http://taskloom/sources/purchases",
        "lastEventTime": "2026-11-24T10:00:00Z",
    },
    "TaskMapping": {"workflowKey": "approve"},
    "WebhookSubscription": {"host": "127.0.0.1", "delivery": {"consecutiveFailures": 3}},
    "Workflow": {"externalIdentifier": "it", "currentVersion": 4, "runningInstances": 2},
}
LISTED: dict[str, tuple[str, str]] = {
    "ClientApp": ("it it-credentials True Reconciled", "it-credentials True Reconciled"),
    "Command": (
        "it charge True Reconciled",
        "charge True Reconciled http://127.0.0.1:9000/ All is well.",
    ),
    "EventMapping": ("it order-placed buy True Reconciled", "buy True Reconciled All is well."),
    "EventSink": ("it kafka True Reconciled", "kafka True Reconciled All is well."),
    "EventSource": (
        "it http 1 7 True Reconciled",
        "http://taskloom/sources/purchases All is well.",
    ),
    "TaskMapping": ("it approve approve True Reconciled", "True Reconciled All is well."),
    "WebhookSubscription": (
        "it shop 127.0.0.1 True Reconciled",
        "127.0.0.1 True Reconciled 3 All is well.",
    ),
    "Workflow": ("it it 4 True Reconciled", "it 4 True Reconciled 2 All is well."),
}


def minimal(kind: str, namespace: str) -> Json:
    """Write the least manifest of a kind."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": kind,
        "metadata": {"name": "it", "namespace": namespace},
        "spec": MINIMAL[kind],
    }


def accepted(answer: Json | Refusal) -> Json:
    """Insist that the API server did as it was asked."""
    assert not isinstance(answer, Refusal), answer
    return answer


def with_status(kind: str, namespace: str) -> Json:
    """Write a manifest that carries a status and no spec, as the operator applies it."""
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Reconciled",
        "message": "All is well.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }
    document = minimal(kind, namespace)
    del document["spec"]
    document["status"] = {"observedGeneration": 1, "conditions": [condition], **STATUS[kind]}
    return document


def table(text: str) -> list[str]:
    """Read what `kubectl get` prints, its columns one space apart."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_is_established_and_structural(cluster: Api, kind: str) -> None:
    """The API server serves every kind and has nothing against its schema."""
    name = f"{KINDS[kind].names.plural}.{GROUP}"
    found = accepted(
        cluster.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    )

    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert {"NamesAccepted": "True", "Established": "True"} == conditions


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_discovered_by_its_names(cluster: Api, kind: str) -> None:
    """Plural, singular, short name and category lead to the kind."""
    found = accepted(cluster.call("GET", f"/apis/{GROUP}/v1alpha1"))
    names = KINDS[kind].names
    (resource,) = (one for one in found["resources"] if one["name"] == names.plural)

    expected = (names.singular, [names.short], ["taskloom"], True)
    actual = tuple(
        resource[field] for field in ("singularName", "shortNames", "categories", "namespaced")
    )
    assert expected == actual


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_of_a_kind_reads_well(cluster: Api, namespace: str, kind: str) -> None:
    """`kubectl get` by the short name shows the main datum and how it stands; wide, why."""
    accepted(cluster.apply(minimal(kind, namespace)))
    accepted(cluster.apply(with_status(kind, namespace), subresource="/status"))
    names = KINDS[kind].names

    head, row = table(cluster.kubectl("get", names.short, f"--namespace={namespace}"))
    wide_head, wide_row = table(
        cluster.kubectl("get", names.plural, f"--namespace={namespace}", "--output=wide")
    )

    priority = {column.name.upper() for column in KINDS[kind].columns if column.priority}
    columns = [column.name.upper() for column in KINDS[kind].columns]
    assert " ".join(["NAME", *(c for c in columns if c not in priority)]) == head
    assert " ".join(["NAME", *columns]) == wide_head
    narrow, wide = LISTED[kind]
    assert row.startswith(narrow)
    assert "<none>" not in row
    assert "<invalid>" not in row
    assert re.search(r" \d+m?s$", row)
    assert wide in wide_row


def test_the_category_lists_all_kinds(cluster: Api, namespace: str) -> None:
    """`kubectl get taskloom` shows objects of every kind."""
    for kind in KINDS:
        accepted(cluster.apply(minimal(kind, namespace)))

    printed = cluster.kubectl("get", "taskloom", f"--namespace={namespace}", "--output=name")

    expected = {f"{KINDS[kind].names.singular}.{GROUP}/it" for kind in KINDS}
    assert expected == set(printed.split())


@pytest.mark.parametrize("kind", [kind for kind, model in KINDS.items() if model.selectable])
def test_objects_are_selected_by_field(cluster: Api, namespace: str, kind: str) -> None:
    """A field selector finds the objects whose field has the value, and no others."""
    made = accepted(cluster.apply(minimal(kind, namespace)))
    (path,) = KINDS[kind].selectable
    value: Any = made
    for name in path.strip(".").split("."):
        value = value[name]
    plural, field = KINDS[kind].names.plural, path.removeprefix(".")

    def names(selector: str) -> list[str]:
        found = accepted(
            cluster.call(
                "GET",
                f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{plural}",
                params={"fieldSelector": selector},
            )
        )
        return [item["metadata"]["name"] for item in found["items"]]

    assert ["it"] == names(f"{field}={value}")
    assert [] == names(f"{field}=another")


@pytest.mark.parametrize("kind", KINDS)
def test_status_is_a_subresource(cluster: Api, namespace: str, kind: str) -> None:
    """Applying a status leaves spec and generation; applying an object leaves its status."""
    before = accepted(cluster.apply(minimal(kind, namespace)))
    written = accepted(cluster.apply(with_status(kind, namespace), subresource="/status"))
    sneaky = minimal(kind, namespace) | {"status": {"observedGeneration": 99}}
    after = accepted(cluster.apply(sneaky))

    assert (before["spec"], 1) == (written["spec"], written["metadata"]["generation"])
    assert written["status"] == after["status"]
    assert STATUS[kind].items() <= after["status"].items()


def test_conditions_merge_by_type(cluster: Api, namespace: str) -> None:
    """Two writers of conditions do not take each other's away."""
    accepted(cluster.apply(minimal("Workflow", namespace)))
    accepted(cluster.apply(with_status("Workflow", namespace), subresource="/status"))
    other = with_status("Workflow", namespace)
    other["status"] = {"conditions": [other["status"]["conditions"][0] | {"type": "TopicsServed"}]}
    accepted(
        cluster.call(
            "PATCH",
            f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/workflows/it/status",
            params={"fieldManager": "somebody-else"},
            headers={"content-type": "application/apply-patch+yaml"},
            json=other,
        )
    )

    found = accepted(cluster.get(other))
    assert ["Ready", "TopicsServed"] == [one["type"] for one in found["status"]["conditions"]]


def test_a_source_is_scaled(cluster: Api, namespace: str) -> None:
    """`kubectl scale` and an autoscaler set the replicas and read how many run, and where."""
    accepted(cluster.apply(minimal("EventSource", namespace)))
    status = with_status("EventSource", namespace)
    status["status"] |= {"replicas": 2, "selector": "taskloom.dev/source=it"}
    accepted(cluster.apply(status, subresource="/status"))

    cluster.kubectl("scale", "eventsource/it", "--replicas=5", f"--namespace={namespace}")

    scale = accepted(cluster.get(status, subresource="/scale"))
    source = accepted(cluster.get(status))
    assert {"replicas": 5} == scale["spec"]
    assert {"replicas": 2, "selector": "taskloom.dev/source=it"} == scale["status"]
    assert source["spec"]["placement"]["replicas"] == 5


def test_a_source_is_not_scaled_beyond_its_bounds(cluster: Api, namespace: str) -> None:
    """The scale subresource is held to the schema too."""
    source = minimal("EventSource", namespace)
    accepted(cluster.apply(source))
    scale = accepted(cluster.get(source, subresource="/scale"))
    scale["spec"]["replicas"] = 1001

    answer = cluster.call(
        "PUT",
        f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/eventsources/it/scale",
        json=scale,
    )

    assert isinstance(answer, Refusal)
    assert "spec.placement.replicas" in answer.message


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explains_every_field(cluster: Api, kind: str) -> None:
    """`kubectl explain` knows the kind and describes its fields."""
    printed = cluster.kubectl("explain", KINDS[kind].names.singular, "--recursive")

    assert (KINDS[kind].__doc__ or "").partition("\n")[0] in printed
    for name in MINIMAL[kind]:
        assert name in printed
