"""A real API server for the whole session, and a namespace of its own for every test."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from taskloom.resources.base import GROUP
from taskloom.resources.kinds import KINDS
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.sealing import Sealer
from tests.real.kubernetes.api import Api, connect
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.kubectl_plugin import Run, plugin_in
from tests.real.kubernetes.operator import Operator, Start

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a control plane, or take the cluster that TASKLOOM_TEST_KUBECONFIG names."""
    given = os.environ.get("TASKLOOM_TEST_KUBECONFIG")
    if given:
        yield Path(given)
        return
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"), controllers=True)
    asyncio.run(plane.start())
    yield plane.kubeconfig
    plane.stop()


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path) -> Iterator[Api]:
    """Speak to an API server that knows our kinds."""
    with connect(kubeconfig) as api:
        api.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRDS}")
        api.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"--filename={CRDS}")
        _forget_the_time_before(api)
        yield api


def _forget_the_time_before(api: Api) -> None:
    """Wait until discovery tells of all our kinds, and make kubectl ask for it anew."""
    end = time.monotonic() + 30
    expected = {f"{kind.names.plural}.{GROUP}" for kind in KINDS.values()}
    while not expected <= set(api.kubectl("api-resources", "--output=name").split()):
        assert time.monotonic() < end, "our kinds are not discovered"
        time.sleep(0.1)


@pytest.fixture
def namespace(cluster: Api) -> Iterator[str]:
    """Make a namespace that nobody else uses."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def run(kubeconfig: Path, namespace: str, tmp_path: Path) -> Run:
    """Give a function that runs ``kubectl taskloom`` in the test's namespace."""
    return plugin_in(namespace, kubeconfig, tmp_path / "kubeconfig")


@pytest.fixture
def key() -> str:
    """Make the key that seals secrets, the same for all operators of a test."""
    return Fernet.generate_key().decode()


@pytest.fixture
async def rows(database_url: str, key: str) -> AsyncIterator[Database]:
    """Open the operator's database."""
    database = Database(database_url, sealer=Sealer([key]))
    yield database
    await database.close()


@pytest.fixture
async def operate(
    kubeconfig: Path, namespace: str, database_url: str, key: str, tmp_path: Path
) -> AsyncIterator[Start]:
    """Give a function that starts an operator for the test's namespace."""
    started: list[Operator] = []

    async def start(
        name: str = "operator", *, roles: str = "", settings: Mapping[str, str] | None = None
    ) -> Operator:
        operator = Operator(
            kubeconfig=kubeconfig,
            namespace=namespace,
            database_url=database_url,
            key=key,
            folder=tmp_path / name,
            roles=roles,
            settings=settings,
        )
        started.append(operator)
        await operator.start()
        return operator

    yield start
    for operator in started:
        await operator.stop()


@pytest.fixture
async def other_rows(postgres: EmbeddedPostgres, key: str) -> AsyncIterator[Database]:
    """Make a second database, for the folder."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres.url_of("postgres").replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE taskloom STRATEGY file_copy")
    database = Database(postgres.url_of(name), sealer=Sealer([key]))
    yield database
    await database.close()
