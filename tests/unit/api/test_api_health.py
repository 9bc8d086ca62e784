"""The door of a process that serves no API: health, readiness and metrics."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from taskloom.api.app import create_health_app
from taskloom.api.services import Watched
from taskloom.errors import Unavailable


class Process:
    """A process that is well until it is told otherwise."""

    def __init__(self) -> None:
        """Be well."""
        self.stuck: dict[str, str] = {}
        self.database = True

    async def ping(self) -> None:
        """Ask the database."""
        if not self.database:
            raise Unavailable("The database does not answer.")


@pytest.fixture
def process() -> Process:
    """Make a process."""
    return Process()


@pytest.fixture
async def client(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Ask it."""
    registry = CollectorRegistry()
    Gauge("taskloom_controller_leader", "Leads.", registry=registry).set(1)
    app = create_health_app(
        Watched(checks={"database": process.ping}, stuck=lambda: process.stuck, registry=registry)
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://taskloom"
    ) as client:
        yield client


async def test_a_process_that_is_well_says_so(client: httpx.AsyncClient) -> None:
    """It lives, is ready, and shows its metrics."""
    alive, ready = await client.get("/healthz"), await client.get("/readyz")
    metrics = await client.get("/metrics")

    assert (200, {"status": "ok"}) == (alive.status_code, alive.json())
    assert 200 == ready.status_code
    assert "taskloom_controller_leader 1.0" in metrics.text


async def test_a_database_that_is_down_is_no_reason_to_restart(
    client: httpx.AsyncClient, process: Process
) -> None:
    """The process is not ready, but it lives."""
    process.database = False

    assert 200 == (await client.get("/healthz")).status_code
    assert 503 == (await client.get("/readyz")).status_code


async def test_a_process_that_is_stuck_asks_to_be_restarted(
    client: httpx.AsyncClient, process: Process
) -> None:
    """It names what is stuck, and how that shows."""
    process.stuck = {"watch": "no sign of life for 130 seconds"}

    answer = await client.get("/healthz")

    assert 503 == answer.status_code
    assert {"status": "stuck", "stuck": process.stuck} == answer.json()


async def test_there_is_nothing_else(client: httpx.AsyncClient) -> None:
    """No call of the API is answered here."""
    assert 404 == (await client.get("/tasks")).status_code
    assert 404 == (await client.get("/openapi.json")).status_code
