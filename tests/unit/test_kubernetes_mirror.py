"""What is known of a cluster: news old and new, listings, references, what is elsewhere."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.conditions import Reason
from taskloom.providers.kubernetes.mirror import Mirror, News
from taskloom.providers.kubernetes.objects import OURS
from taskloom.providers.kubernetes.references import references_of
from taskloom.providers.kubernetes.scope import Scope, read_scope
from taskloom.providers.kubernetes.status import is_told, status_of
from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.reconcilers.statuses import key_of, look_out
from taskloom.reconcilers.verdict import programmed, unresolved
from taskloom.resources.base import Resource
from taskloom.resources.validate import validate
from taskloom.store.resources import StoredResource

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
KEY = ("EventMapping", "shop", "m")


def mapping(version: int, *, event: str = "placed", **metadata: Any) -> dict[str, Any]:
    """Write an EventMapping as the API server gives it."""
    given = {"generation": version, "uid": "u", "resourceVersion": str(version)}
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventMapping",
        "metadata": {"name": "m", "namespace": "shop", **given, **metadata},
        "spec": {"eventKey": event, "workflowKey": "buy"},
    }


def resource(kind: str, spec: dict[str, Any]) -> Resource:
    """Read a resource."""
    made = validate(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "it", "namespace": "shop"},
            "spec": spec,
        }
    )
    assert not isinstance(made, list), made
    return made


@given(st.permutations(range(1, 6)))
def test_only_newer_news_count(order: list[int]) -> None:
    """In whatever order news come, the newest is what is known in the end."""
    mirror = Mirror(Scope())
    for version in order:
        mirror.take(mapping(version, event=f"e{version}"))

    seen = mirror.seen(KEY)
    assert seen is not None
    assert (5, 5) == (seen.version, seen.generation)


def test_late_news_of_what_is_gone_do_not_bring_it_back() -> None:
    """A change that is told after the deletion is older than it."""
    mirror = Mirror(Scope())
    mirror.take(mapping(1))
    mirror.take(mapping(3), deleted=True)

    assert News.NOTHING is mirror.take(mapping(2))
    assert mirror.seen(KEY) is None
    assert News.DECLARED is mirror.take(mapping(4, uid="another"))


def test_an_object_newer_than_the_list_that_lacks_it_stays() -> None:
    """A listing tells of its own moment: what came after it is not gone."""
    mirror = Mirror(Scope())
    mirror.take(mapping(9))
    mirror.take_listing("EventMapping", None, [], 8)
    assert mirror.seen(KEY) is not None

    assert mirror.take_listing("EventMapping", None, [], 9)
    assert mirror.seen(KEY) is None


def test_a_list_older_than_a_deletion_does_not_bring_the_object_back() -> None:
    """An object that was deleted while the listing was on its way stays deleted."""
    mirror = Mirror(Scope())
    mirror.take(mapping(5))
    mirror.take(mapping(7), deleted=True)
    mirror.take_listing("EventMapping", None, [mapping(5)], 6)

    assert mirror.seen(KEY) is None


def test_a_cluster_restored_from_a_backup_is_believed() -> None:
    """When the versions go back, a listing replaces all that was known."""
    mirror = Mirror(Scope())
    mirror.take_listing("EventMapping", None, [mapping(100, event="new")], 100)
    mirror.take_listing("EventMapping", None, [mapping(40, event="old")], 50)

    seen = mirror.seen(KEY)
    assert seen is not None
    assert 40 == seen.version


def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    """Objects of other namespaces are not gone because a namespace's list lacks them."""
    mirror = Mirror(read_scope(("shop", "bakery"), None))
    mirror.take(mapping(1))
    mirror.take_listing("EventMapping", "bakery", [], 9)

    assert mirror.seen(KEY) is not None


def test_it_is_complete_when_every_kind_is_listed_everywhere() -> None:
    """One list that is missing leaves everything uncertain."""
    mirror = Mirror(read_scope(("shop", "bakery"), None))
    places = [(kind, place) for kind in OURS for place in ("shop", "bakery")]
    for kind, place in places[:-1]:
        mirror.take_listing(kind, place, [], 1)
    assert not mirror.complete
    mirror.take_listing(*places[-1], [], 1)

    assert mirror.complete


def test_a_status_is_no_change_of_what_is_declared() -> None:
    """News that differ in the status alone are told from others."""
    mirror = Mirror(Scope())
    mirror.take(mapping(1))
    told = mapping(2, generation=1) | {"status": {"observedGeneration": 1}}

    assert News.STATUS is mirror.take(told)
    assert News.NOTHING is mirror.take(mapping(3, generation=1) | {"status": told["status"]})


def test_a_relabelled_object_is_a_change() -> None:
    """Labels decide what is selected, though they leave the generation as it was."""
    mirror = Mirror(read_scope((), "team=a"))
    mirror.take(mapping(1, labels={"team": "a"}))

    assert News.DECLARED is mirror.take(mapping(2, generation=1, labels={"team": "b"}))
    assert [] == mirror.selected()


@pytest.mark.parametrize(
    ("kind", "spec", "named"),
    [
        ("ClientApp", {}, {("Secret", "it-credentials")}),
        (
            "ClientApp",
            {"credentials": {"imported": {"secretRef": {"name": "given"}}}},
            {("Secret", "given")},
        ),
        (
            "Workflow",
            {"bpmn": {"configMapKeyRef": {"name": "models"}}},
            {("ConfigMap", "models")},
        ),
        (
            "WebhookSubscription",
            {
                "clientAppRef": {"name": "app"},
                "eventKeys": ["*"],
                "urlFrom": {"secretKeyRef": {"name": "url", "key": "u"}},
                "headers": [
                    {"name": "a", "valueFrom": {"secretKeyRef": {"name": "header", "key": "h"}}}
                ],
                "tls": {
                    "caBundleRef": {"name": "ca"},
                    "clientCertificateRef": {"name": "certificate"},
                },
            },
            {
                ("Secret", "url"),
                ("Secret", "header"),
                ("ConfigMap", "ca"),
                ("Secret", "certificate"),
            },
        ),
        (
            "EventSource",
            {
                "kafka": {
                    "bootstrapServers": ["kafka:9092"],
                    "topics": ["t"],
                    "consumerGroup": "g",
                    "sasl": {
                        "mechanism": "PLAIN",
                        "usernameRef": {"name": "user"},
                        "passwordRef": {"name": "password"},
                    },
                    "tls": {"caRef": {"kind": "Secret", "name": "ca"}},
                }
            },
            {("Secret", "user"), ("Secret", "password"), ("Secret", "ca")},
        ),
        ("EventMapping", {"eventKey": "x", "workflowRef": {"name": "w"}}, set()),
    ],
)
def test_references_are_found(kind: str, spec: dict[str, Any], named: set[tuple[str, str]]) -> None:
    """Every ConfigMap and Secret that a resource may name is found, and nothing else."""
    expected = {(kind, "shop", name) for kind, name in named}

    assert expected == references_of(resource(kind, spec))


def stored(name: str, namespace: str) -> StoredResource:
    """Remember a TaskMapping."""
    return StoredResource(
        kind="TaskMapping",
        namespace=namespace,
        name=name,
        generation=1,
        digest="d",
        spec={"taskKey": name, "workflowKey": "w"},
        status={},
        place=None,
        created_on=NOW,
    )


def test_what_is_elsewhere_is_neither_gone_nor_wanted() -> None:
    """Objects of other namespaces and other selectors are left to whoever looks after them."""
    memory = {
        key_of(item): item for item in (stored("a", "shop"), stored("b", "other"), stored("c", "x"))
    }
    snapshot = Snapshot(
        provider="kubernetes",
        namespaces=frozenset({"shop", "other"}),
        elsewhere=frozenset({("TaskMapping", "other", "b")}),
    )

    outlook = look_out(snapshot, memory, NOW)

    assert ["a"] == [item.name for item in outlook.forgotten]
    assert {} == dict(outlook.world.desired)
    for manager in ("kubernetes:TaskMapping/other/b", "kubernetes:TaskMapping/x/c"):
        assert outlook.world.leaving(manager, "Delete") is None
    assert "Delete" == outlook.world.leaving("kubernetes:TaskMapping/shop/a", "Delete")


def judged(generation: int = 1) -> Desired:
    """Give an object that is judged."""
    spec = {"eventKey": "x", "workflowKey": "w"}
    return Desired(
        resource=resource("EventMapping", spec),
        manager="m",
        generation=generation,
        created_on=NOW,
    )


def test_a_status_keeps_the_times_of_what_did_not_change() -> None:
    """A condition's time is when its status changed, whatever else did."""
    first = status_of(programmed(judged(), {"workflowKey": "w"}), {}, 1, NOW)
    again = status_of(programmed(judged(), {"workflowKey": "w"}), first, 2, LATER)

    assert {"2026-11-24T10:00:00Z"} == {c["lastTransitionTime"] for c in again["conditions"]}
    assert {2} == {c["observedGeneration"] for c in again["conditions"]}


def test_a_status_that_stands_is_told_whatever_others_added() -> None:
    """Conditions of other controllers, and the order of ours, are no reason to write."""
    wanted = status_of(programmed(judged(), {"workflowKey": "w"}), {}, 1, NOW)
    foreign = {"type": "Synced", "status": "True"}
    present = wanted | {"conditions": [foreign, *reversed(wanted["conditions"])]}

    assert is_told(wanted, present)
    assert not is_told(wanted, {})
    assert not is_told(wanted, wanted | {"workflowKey": "another"})
    assert not is_told(wanted, {k: v for k, v in wanted.items() if k != "workflowKey"})


def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    """However long an error's text, the status can be written."""
    verdict = unresolved(judged(), Reason.WORKFLOW_NOT_FOUND, "x" * 100_000)
    status = status_of(verdict, {}, 1, NOW)

    assert 32768 == max(len(c["message"]) for c in status["conditions"])
