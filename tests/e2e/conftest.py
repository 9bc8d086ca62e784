"""A cluster whose pods run, with our image on its nodes.

TASKLOOM_TEST_KUBECONFIG and TASKLOOM_TEST_IMAGE name one and the image that is loaded there
(``make e2e-kind``); else a node is brought up without Docker (``make e2e-node``).
"""

import asyncio
import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.release import NAMESPACE, Release, restrict, why
from tests.e2e.shop import Shop
from tests.real.kubernetes.api import Api, connect
from tests.real.node.image import build_images
from tests.real.node.node import Node
from tests.real.node.tools import get_tools

_IMAGE = "taskloom.test/taskloom:e2e"


@pytest.fixture(scope="session")
def image() -> str:
    """Name the image that the cluster has."""
    return os.environ.get("TASKLOOM_TEST_IMAGE", _IMAGE)


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """Take the cluster that is named, else bring one up."""
    given = os.environ.get("TASKLOOM_TEST_KUBECONFIG")
    if given:
        yield Path(given)
        return
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        tools = get_tools()
        node = Node(tools=tools, images=build_images(_IMAGE, tools=tools))
        runner.run(node.__aenter__())
        stack.callback(lambda: runner.run(node.__aexit__()))
        yield node.kubeconfig


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[Api]:
    """Speak to its API server."""
    with connect(kubeconfig) as api:
        yield api


@pytest.fixture(scope="module")
def release(api: Api, image: str) -> Iterator[Release]:
    """Give the chart a namespace to be installed in, and take all of it away afterwards."""
    restrict(api, NAMESPACE)
    release = Release(api, image)
    try:
        yield release
    finally:
        with contextlib.suppress(AssertionError):  # a test may have done so
            release.uninstall()
        api.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.fixture(scope="module")
def shop(api: Api, image: str) -> Iterator[Shop]:
    """Run the shop that the samples speak of."""
    shop = Shop(api, image)
    shop.open()
    yield shop
    shop.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the cluster knows, whenever a test fails."""
    report = yield
    api = getattr(item, "funcargs", {}).get("api")
    if report.failed and api is not None:
        report.sections.append(("cluster", why(api)))
    return report
