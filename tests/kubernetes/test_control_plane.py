"""The control plane that tests run: it starts, outlives a restart, and leaves nothing behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.real.kubernetes import parts
from tests.real.kubernetes.api import Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "kept"},
    "stringData": {"a": "b"},
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
