"""The control plane that tests run: it starts, outlives a restart, and leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.real.kubernetes import parts
from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "kept"},
    "stringData": {"a": "b"},
}
FAKE_GO = """#!/bin/sh
case "$*" in
  list*) echo v1.34.4;;
  *) sleep 0.3; while [ "$1" != -o ]; do shift; done; touch "$2/server" "$2/helm";;
esac
"""


def in_namespace(kind: str, name: str, namespace: str) -> Json:
    """Write a core object."""
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
    }


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """Run a control plane of this test's own, without controllers."""
    async with ControlPlane(tmp_path / "plane") as plane:
        yield plane


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_what_was_stored_outlives_a_crash_of_the_api_server(plane: ControlPlane) -> None:
    """The API server comes back at the same address, with everything that it knew."""
    with connect(plane.kubeconfig) as api:
        assert not isinstance(api.apply(SECRET), Refusal)

        plane.stop_api_server(crash=True)
        await plane.start_api_server()

        found = api.get(SECRET)

    assert not isinstance(found, Refusal)
    assert {"a": "Yg=="} == found["data"]


async def test_nothing_runs_after_the_end(tmp_path: Path) -> None:
    """Every process is ended by its id."""
    async with ControlPlane(tmp_path) as plane:
        pids = list(plane.pids.values())
        alive_before = [is_alive(pid) for pid in pids]

    assert [True, True] == alive_before
    assert [False, False] == [is_alive(pid) for pid in pids]


async def test_two_run_side_by_side(plane: ControlPlane, tmp_path: Path) -> None:
    """A second control plane finds ports of its own and knows nothing of the first."""
    async with ControlPlane(tmp_path / "another") as another:
        with connect(plane.kubeconfig) as api:
            api.apply(SECRET)
        with connect(another.kubeconfig) as api:
            answer = api.get(SECRET)

    assert isinstance(answer, Refusal)
    assert answer.code == 404


async def test_a_service_account_is_known_by_its_token(plane: ControlPlane, tmp_path: Path) -> None:
    """A ServiceAccount's kubeconfig has its rights and no others."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "somebody"}}
    with connect(plane.kubeconfig) as api:
        api.create(account)
        token = api.kubectl("create", "token", "somebody").strip()
    plane.write_kubeconfig(tmp_path / "kubeconfig", token)
    with connect(tmp_path / "kubeconfig") as api:
        answer = api.get(SECRET)

    assert isinstance(answer, Refusal)
    assert answer.code == 403
    assert "system:serviceaccount:default:somebody" in answer.message


def test_a_missing_part_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever has not built the parts is told the command, and the other way."""
    monkeypatch.setattr(parts, "BIN", tmp_path)

    with pytest.raises(parts.PartMissing, match=r"make real.*TASKLOOM_TEST_KUBECONFIG"):
        parts.part("kube-apiserver")


def test_garbage_is_collected(cluster: Api, namespace: str) -> None:
    """What an owner leaves behind goes with it, as in any cluster."""
    owner = in_namespace("ConfigMap", "owner", namespace)
    made = cluster.create(owner)
    assert not isinstance(made, Refusal)
    owned = in_namespace("Secret", "owned", namespace)
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": made["metadata"]["uid"]}
    ]
    assert not isinstance(cluster.create(owned), Refusal)

    cluster.delete(owner)

    cluster.kubectl("wait", "--for=delete", "secret/owned", f"--namespace={namespace}")


def test_helm_speaks_to_the_cluster(cluster: Api, namespace: str, tmp_path: Path) -> None:
    """Helm installs and removes a chart."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 1.0.0\n")
    secret = in_namespace("Secret", "of-the-chart", namespace)
    (tmp_path / "templates" / "secret.yaml").write_text(json.dumps(secret))

    cluster.helm("install", "tiny", str(tmp_path), f"--namespace={namespace}")
    installed = cluster.get(secret)
    cluster.helm("uninstall", "tiny", f"--namespace={namespace}")
    removed = cluster.get(secret)

    assert not isinstance(installed, Refusal)
    assert isinstance(removed, Refusal)


def test_a_killed_test_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """A program ends with the process that started it, however that one ends."""
    script = (
        "import sys, time, pathlib\n"
        "from tests.real.process import Process\n"
        "process = Process(['/bin/sleep', '600'], pathlib.Path(sys.argv[1]))\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        alive_before = is_alive(pid)
        run.kill()
    end = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)

    assert alive_before
    assert not is_alive(pid)


def test_the_parts_are_built_once(tmp_path: Path) -> None:
    """Of several builds at a time one builds and the others wait; none follows."""
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    script = Path(parts.__file__).with_name("build.sh")
    environment = os.environ | {"PATH": f"{go.parent}:{os.environ['PATH']}"}

    builds = [
        subprocess.Popen([script, tmp_path / "built"], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [build.communicate()[0] for build in builds]
    subprocess.run([script, tmp_path / "built"], env=environment, check=True)

    assert [0, 0, 0] == [build.returncode for build in builds]
    assert sum(b"Built:" in text for text in told) == 1
    assert {"etcd", "helm", "version"} == {
        path.name for path in (tmp_path / "built" / "bin").iterdir()
    }
    assert ["bin", "lock"] == sorted(path.name for path in (tmp_path / "built").iterdir())


def test_a_build_without_go_says_what_to_install(tmp_path: Path) -> None:
    """Whoever has no Go reads where to get it."""
    path = tmp_path / "path"
    path.mkdir()
    for tool in ("bash", "cat", "cut", "dirname", "mkdir", "sha256sum"):
        found = shutil.which(tool)
        assert found is not None
        (path / tool).symlink_to(found)
    script = Path(parts.__file__).with_name("build.sh")

    done = subprocess.run(
        [path / "bash", script, tmp_path / "built"],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "Install it from https://go.dev/dl" in done.stderr
