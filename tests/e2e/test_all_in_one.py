"""The chart's defaults with a volume: one pod that is everything, its database included."""

import json

import pytest

from tests.e2e.release import NAMESPACE, Release
from tests.e2e.shop import Shop
from tests.e2e.workload import wait_until
from tests.real.kubernetes.api import Api

VALUES = {
    "callers": {"enabled": True, "eventPosters": [{"name": "poster", "namespace": "default"}]},
    "database": {"embedded": {"persistence": {"enabled": True, "size": "1Gi"}}},
}


@pytest.fixture(scope="module")
def installed(release: Release, shop: Shop) -> Release:
    """Install it, and declare the samples."""
    release.install(VALUES)
    shop.declare()
    return release


@pytest.mark.usefixtures("installed")
def test_an_event_of_a_pod_becomes_a_signed_webhook(shop: Shop) -> None:
    """A pod posts by its ServiceAccount's token alone; the shop is told, and can tell by whom."""
    posted = shop.post().output()
    shop.wait_for_tasks(line["order"] for line in posted)
    webhooks = [hook for hook in shop.told() if posted[0]["order"] in hook["body"]]

    assert [204] == [line["status"] for line in posted]
    assert {"task-created"} == {shop.verify(webhook)["key"] for webhook in webhooks}


@pytest.mark.usefixtures("installed")
def test_whoever_has_no_role_is_refused(shop: Shop) -> None:
    """A ServiceAccount that no RoleBinding names may not post; the answer says what is missing."""
    posted = shop.post(account="stranger").output()

    assert [403] == [line["status"] for line in posted]
    assert "create rolebinding" in posted[0]["said"]


def test_a_killed_pod_comes_back_and_nothing_is_lost(
    installed: Release, api: Api, shop: Shop
) -> None:
    """Every order that was taken before, or is posted meanwhile, becomes a task that is told of."""
    poster = shop.post(orders=60, pause=0.1)
    wait_until("ten orders are posted", lambda: poster.lines() >= 10)
    [before] = installed.pods("all-in-one")
    api.kubectl(
        *("delete", "pod", before["metadata"]["name"], f"--namespace={NAMESPACE}"),
        *("--grace-period=0", "--force"),
    )
    posted = poster.output()
    shop.wait_for_tasks(line["order"] for line in posted)
    [after] = installed.pods("all-in-one")

    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert {204} == {line["status"] for line in posted}
    assert any(line["failures"] for line in posted), "the pod was gone for nobody"


def test_a_process_that_ends_is_started_again(installed: Release, api: Api, shop: Shop) -> None:
    """The container is started anew in its pod, on what its predecessor left."""
    [pod] = installed.pods("all-in-one")
    name = pod["metadata"]["name"]

    def restarts() -> int:
        [one] = installed.pods("all-in-one")
        [container] = one["status"]["containerStatuses"]
        return int(container["restartCount"]) if container["ready"] else 0

    before = pod["status"]["containerStatuses"][0]["restartCount"]
    kill = "import os, signal; os.kill(1, signal.SIGTERM)"
    api.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", "python", "-c", kill)
    wait_until("the container runs again", lambda: restarts() > before)
    posted = shop.post().output()
    shop.wait_for_tasks(line["order"] for line in posted)

    assert [204] == [line["status"] for line in posted]


def test_the_pod_can_write_nothing_but_its_data(installed: Release, api: Api) -> None:
    """Its root is read-only, and it runs as nobody in particular."""
    [pod] = installed.pods("all-in-one")
    look = (
        "import json, os; from pathlib import Path\n"
        "def is_writable(folder):\n"
        "  try: Path(folder, 'x').touch()\n"
        "  except OSError: return False\n"
        "  return True\n"
        "folders = ['/', '/opt/taskloom', '/etc', '/tmp', '/var/lib/taskloom']\n"
        "print(json.dumps([os.getuid(), [f for f in folders if is_writable(f)]]))"
    )
    name, place = pod["metadata"]["name"], f"--namespace={NAMESPACE}"
    told = json.loads(api.kubectl("exec", name, place, "--", "python", "-c", look))

    assert [10001, ["/tmp", "/var/lib/taskloom"]] == told


def test_it_passes_its_own_tests(installed: Release) -> None:
    """``helm test`` ends well."""
    installed.test()
