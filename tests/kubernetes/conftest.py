"""A real API server for the whole session, and a namespace of its own for every test."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskloom.resources.base import GROUP
from taskloom.resources.kinds import KINDS
from tests.real.kubernetes.api import Api, connect
from tests.real.kubernetes.control_plane import ControlPlane

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
