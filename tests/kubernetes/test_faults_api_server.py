"""An API server that is away, and definitions that come and go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.operator import Operator, condition, until

CRDS = Path(__file__).parents[2] / "crds"
READY = ("True", "Reconciled", 1)


def command(name: str) -> Json:
    """Write a Command of its own topic."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Command",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"topic": name, "http": {"url": "http://127.0.0.1:9/"}},
    }


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run a control plane whose API server may be stopped and whose definitions may go."""
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    asyncio.run(plane.start())
    yield plane
    plane.stop()


@pytest.fixture
async def operator(
    plane: ControlPlane, database_url: str, key: str, tmp_path: Path
) -> AsyncIterator[Operator]:
    """Make an operator that is not started yet."""
    operator = Operator(
        kubeconfig=plane.kubeconfig,
        namespace="default",
        database_url=database_url,
        key=key,
        folder=tmp_path / "operator",
        roles="controller",
        settings={"HEALTH_PORT": "0"},
    )
    yield operator
    await operator.stop()


def define(api: Api, *names: str) -> None:
    """Apply the definitions, or some of them."""
    files = [f"--filename={CRDS / f'taskloom.dev_{name}.yaml'}" for name in names]
    files = files or [f"--filename={CRDS}"]
    api.kubectl("apply", "--server-side", *files)
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", *files)


def created(api: Api, document: Json) -> bool:
    """Create an object once its kind is known."""
    return not isinstance(api.apply(document), Refusal)


async def test_definitions_may_come_late_and_go_and_come_again(
    plane: ControlPlane, operator: Operator
) -> None:
    """The operator waits for them; of those that come again it learns what is declared then."""
    with connect(plane.kubeconfig) as api:
        await operator.start()
        await until(lambda: operator.says("kubernetes.kind-missing"))
        assert 200 == operator.get("/healthz").status_code
        define(api)
        await until(lambda: created(api, command("one")))
        await until(lambda: condition(api, command("one")) == READY, seconds=25)

        api.kubectl("delete", "crd", "commands.taskloom.dev", "--wait=true", "--timeout=20s")
        await asyncio.sleep(2)
        define(api, "commands")
        await until(lambda: created(api, command("two")))
        await until(lambda: condition(api, command("two")) == READY, seconds=45)
        assert created(api, command("three"))
        await until(lambda: condition(api, command("three")) == READY, seconds=10)
        assert 200 == operator.get("/healthz").status_code


async def test_an_api_server_that_is_away_for_long_is_followed_on(
    plane: ControlPlane, operator: Operator, database_url: str
) -> None:
    """Its leader gives up the lead and takes it again; what happened meanwhile is put right."""
    with connect(plane.kubeconfig) as api:
        define(api)
        await until(lambda: created(api, command("kept")))
        await operator.start()
        await until(lambda: condition(api, command("kept")) == READY)
    plane.stop_api_server(crash=True)
    url = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DELETE FROM commands")
    await until(lambda: operator.says("kubernetes.lead-lost"), seconds=20)
    assert 200 == operator.get("/healthz").status_code
    await plane.start_api_server()
    with connect(plane.kubeconfig) as api:
        assert not isinstance(api.apply(command("new")), Refusal)
        await until(lambda: condition(api, command("new")) == READY, seconds=30)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute("SELECT topic FROM commands ORDER BY topic")
        topics = {row[0] for row in await found.fetchall()}
    assert {"kept", "new"} <= topics
