"""A Deployment for each role, on a PostgreSQL elsewhere in the cluster."""

import base64
import json
import secrets

import pytest
from cryptography.fernet import Fernet

from tests.e2e.release import NAMESPACE, Release
from tests.e2e.shop import Shop
from tests.e2e.workload import Workload, wait_until
from tests.real.kubernetes.api import Api

# Small, as there is one node for all of it.
SMALL = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
VALUES = {
    "mode": "distributed",
    "callers": {"enabled": True, "eventPosters": [{"name": "poster", "namespace": "default"}]},
    "database": {"existingSecret": "taskloom-database"},
    "encryption": {"existingSecret": "taskloom-encryption"},
    "auth": {"existingSecret": "taskloom-auth"},
    "api": {"replicas": 2} | SMALL,
    "controller": {"replicas": 2} | SMALL,
    "worker": {"replicas": 1} | SMALL,
    "relay": {"replicas": 1} | SMALL,
    "connectors": {"replicas": 1} | SMALL,
}
ROLES = ("api", "controller", "worker", "relay", "connectors")


def make_secret(api: Api, name: str, key: str, value: str) -> None:
    """Make one of the Secrets that the chart is told of."""
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: base64.b64encode(value.encode()).decode()},
    }
    api.kubectl("apply", "--server-side", "--filename=-", given=json.dumps(document))


@pytest.fixture(scope="module")
def installed(api: Api, image: str, release: Release, shop: Shop) -> Release:
    """Install it beside a database, and declare the samples."""
    Workload(
        api=api, image=image, namespace=NAMESPACE, name="database", program="database.py", port=5432
    ).serve()
    url = f"postgresql://taskloom@database.{NAMESPACE}.svc:5432/taskloom"
    make_secret(api, "taskloom-database", "url", url)
    make_secret(api, "taskloom-encryption", "keys", Fernet.generate_key().decode())
    make_secret(api, "taskloom-auth", "jwtSecret", secrets.token_urlsafe(48))
    release.install(VALUES)
    shop.declare()
    return release


@pytest.mark.usefixtures("installed")
def test_an_event_passes_through_all_roles(shop: Shop) -> None:
    """What one pod takes in, others turn into tasks and tell of."""
    posted = shop.post().output()
    shop.wait_for_tasks(line["order"] for line in posted)
    webhooks = [hook for hook in shop.told() if posted[0]["order"] in hook["body"]]

    assert [204] == [line["status"] for line in posted]
    assert {"task-created"} == {shop.verify(webhook)["key"] for webhook in webhooks}


def test_a_rolling_upgrade_loses_and_refuses_nothing(installed: Release, shop: Shop) -> None:
    """Under a trickle of events every pod is replaced, and no caller notices."""
    before = {pod["metadata"]["uid"] for role in ROLES for pod in installed.pods(role)}
    poster = shop.post(orders=400, pause=0.1)
    wait_until("orders are posted", lambda: poster.lines() >= 10)

    installed.upgrade({"settings": {"logLevel": "debug"}})
    lines_then = poster.lines()
    posted = poster.output()
    shop.wait_for_tasks(line["order"] for line in posted)
    after = {pod["metadata"]["uid"] for role in ROLES for pod in installed.pods(role)}

    assert lines_then < 400, "the upgrade took longer than the trickle"
    assert set() == before & after
    assert {204} == {line["status"] for line in posted}
    assert [] == [line["failures"] for line in posted if line["failures"]]


@pytest.mark.parametrize("role", ["api", "worker", "relay", "controller"])
def test_a_killed_role_is_missed_by_nobody(
    installed: Release, api: Api, shop: Shop, role: str
) -> None:
    """All pods of a role die at once; what they had in hand is done by those that follow."""
    poster = shop.post(orders=20, pause=0.1)
    wait_until("orders are posted", lambda: poster.lines() >= 3)
    names = [pod["metadata"]["name"] for pod in installed.pods(role)]
    place = f"--namespace={NAMESPACE}"
    api.kubectl("delete", "pod", *names, place, "--grace-period=0", "--force")

    posted = poster.output()
    shop.wait_for_tasks(line["order"] for line in posted)

    assert {204} == {line["status"] for line in posted}


def test_it_passes_its_own_tests(installed: Release) -> None:
    """``helm test`` posts an event with a token of the chart's secret."""
    installed.test()
