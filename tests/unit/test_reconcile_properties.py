"""What holds of every plan: what was done is not done again, and no order matters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.domain.secret import Secret
from taskloom.ids import derived_id
from taskloom.reconcilers.client_apps import plan_client_apps
from taskloom.reconcilers.commands import plan_commands
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.settle import Plan
from taskloom.reconcilers.snapshot import Declared, Key, Snapshot
from taskloom.reconcilers.statuses import key_of, look_out, remember
from taskloom.reconcilers.verdict import Verdict
from taskloom.reconcilers.webhook_subscriptions import plan_subscriptions
from taskloom.resources.validate import validate
from taskloom.store.resources import StoredResource

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SIGNING = "whsec_" + "A" * 43 + "="
NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["shop", "bakery"])
SECONDS = st.integers(0, 3)


def declared(kind: str, namespace: str, name: str, second: int, spec: dict[str, Any]) -> Declared:
    """Declare an object that was made at a second."""
    made = validate(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "generation": 1,
                "creationTimestamp": f"2026-11-24T09:00:0{second}Z",
            },
            "spec": spec,
        }
    )
    assert not isinstance(made, list), made
    return Declared(resource=made)


CLIENTS = st.builds(
    lambda ns, name, second, suspend: declared(
        "ClientApp", ns, name, second, {"displayName": name, "suspend": suspend}
    ),
    *(NAMESPACES, NAMES, SECONDS, st.booleans()),
)
COMMANDS = st.builds(
    lambda ns, name, second, topic: declared(
        "Command", ns, name, second, {"topic": topic, "http": {"url": "http://127.0.0.1:9/"}}
    ),
    *(NAMESPACES, NAMES, SECONDS, st.sampled_from(["pack", "charge", "installed"])),
)
SUBSCRIPTIONS = st.builds(
    lambda ns, name, second, client, keys: declared(
        "WebhookSubscription",
        ns,
        name,
        second,
        {"clientAppRef": {"name": client}, "eventKeys": keys, "url": "http://127.0.0.1:9/"},
    ),
    *(NAMESPACES, NAMES, SECONDS, NAMES),
    st.sampled_from([["task.created"], ["*"]]),
)
OBJECTS = st.lists(
    st.one_of(CLIENTS, COMMANDS, SUBSCRIPTIONS),
    unique_by=lambda item: item.resource.key,
    max_size=12,
)


@dataclass
class Rows:
    """The rows of a database, by id, and the records of objects."""

    clients: dict[UUID, Any]
    commands: dict[UUID, Any]
    subscriptions: dict[UUID, Any]
    records: dict[Key, StoredResource]


def nothing() -> Rows:
    """Begin with an empty database."""
    return Rows(clients={}, commands={}, subscriptions={}, records={})


def credentials(world: World) -> dict[Key, dict[str, Secret]]:
    """Give each ClientApp its own credentials; two names in two namespaces share a key."""
    return {
        key: {
            "apiKey": Secret(f"key-{key[2]}"),
            "apiSecret": Secret(f"secret-{key[1]}"),
            "signingSecret": Secret(SIGNING),
        }
        for key in world.desired
        if key[0] == "ClientApp"
    }


def apply(rows: dict[UUID, Any], plan: Plan[Any]) -> int:
    """Do what a plan says; give how much that was."""
    for row in plan.remove:
        del rows[row.id]
    for row in plan.put:
        rows[row.id] = row
    return len(plan.remove) + len(plan.put)


def reconcile(rows: Rows, found: Sequence[Declared]) -> tuple[int, dict[Key, Verdict]]:
    """Reconcile without a database: the changes, and what is told."""
    outlook = look_out(Snapshot(provider="kubernetes", resources=tuple(found)), rows.records, NOW)
    world, changes = outlook.world, 0
    told: dict[Key, Verdict] = {}
    plans: list[tuple[dict[UUID, Any], Callable[[list[Any]], Plan[Any]]]] = [
        (rows.clients, lambda old: plan_client_apps(world, old, credentials(world), NOW)),
        (rows.commands, lambda old: plan_commands(world, old, frozenset({"installed"}))),
        (
            rows.subscriptions,
            lambda old: plan_subscriptions(world, old, frozenset(rows.clients)),
        ),
    ]
    for kept, plan in plans:
        made = plan(list(kept.values()))
        changes += apply(kept, made)
        told |= made.verdicts
    records = remember(outlook, told, rows.records, NOW)
    rows.records |= {key_of(record): record for record in records}
    for stored in outlook.forgotten:
        del rows.records[key_of(stored)]
    return changes + len(records), told


def followed(states: Sequence[Sequence[Declared]]) -> tuple[Rows, dict[Key, Verdict]]:
    """Reconcile one state after another."""
    rows = nothing()
    told: dict[Key, Verdict] = {}
    for state in states:
        _, told = reconcile(rows, state)
    return rows, told


@settings(max_examples=60, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=3))
def test_the_same_again_changes_nothing(states: list[list[Declared]]) -> None:
    """Whatever was declared before, what is declared now comes to rest at once, and rests."""
    rows, told = followed(states)
    reconcile(rows, states[-1])  # who waited for a key that another let go of has it now

    assert 0 == reconcile(rows, states[-1])[0]
    assert told.keys() == reconcile(rows, states[-1])[1].keys()


@settings(max_examples=60, deadline=None)
@given(OBJECTS.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_no_order_of_objects_matters(orders: tuple[list[Declared], list[Declared]]) -> None:
    """The same objects in another order come to the same rows, verdicts and records."""
    one, told = followed([orders[0]])
    other, told_other = followed([orders[1]])

    assert one == other
    assert told == told_other


def test_rows_have_the_ids_of_their_objects() -> None:
    """A row's id follows from its object alone: made anew it is the same row."""
    rows, _ = followed([[declared("ClientApp", "shop", "a", 0, {})]])

    assert [derived_id("managed", "kubernetes:ClientApp/shop/a")] == list(rows.clients)
