"""The HTTP door with nothing behind it: what it refuses never gets further."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, cast

import httpx
import jwt
import pytest
from starlette.types import ASGIApp

from taskloom.api.app import create_app
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.services import ApiServices
from taskloom.domain.events import NewEvent
from taskloom.errors import Unavailable
from taskloom.flow.ingest import Ingested
from taskloom.flow.services import Services
from taskloom.ports.engine import ModelSummary

SECRET = "0123456789abcdef0123456789abcdef"


class Taken:
    """Takes events in and keeps them; `error` is raised instead if there is one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.events: list[NewEvent] = []
        self.error: Exception | None = None

    async def __call__(self, event: NewEvent) -> Ingested:
        """Keep an event."""
        if self.error is not None:
            raise self.error
        self.events.append(event)
        return Ingested(event_id=event.id)

    async def all(self, events: Sequence[NewEvent]) -> Sequence[Ingested]:
        """Keep several."""
        return [await self(event) for event in events]


class NoDatabase:
    """A database that cannot be reached, or fails otherwise with `error`."""

    error: Exception = Unavailable("The database does not answer: try again shortly.")

    def begin(self) -> Any:
        """Fail."""
        raise self.error

    async def ping(self) -> None:
        """Fail."""
        raise self.error


class AnyModel:
    """An engine that takes every model."""

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Take it."""
        return ModelSummary(process_id="p", name=None, topics=frozenset())


class Calls(Protocol):
    """Makes clients of the door."""

    def __call__(self, *permissions: str, token: str | None = None) -> httpx.AsyncClient:
        """Make a client whose token holds these permissions, or that sends `token`."""
        ...


@pytest.fixture
def taken() -> Taken:
    """Make the place where events go."""
    return Taken()


@pytest.fixture
def nowhere() -> NoDatabase:
    """Make a database that fails."""
    return NoDatabase()


@pytest.fixture
def api_services(taken: Taken, nowhere: NoDatabase) -> ApiServices:
    """Put the door's services together."""
    return ApiServices(
        flow=Services(
            tasks=cast("Any", nowhere),
            workflows=cast("Any", nowhere),
            engine=cast("Any", AnyModel()),
        ),
        ingest=taken,
        authenticator=make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1"),
        checks={"database": nowhere.ping},
    )


@pytest.fixture
def app(api_services: ApiServices) -> ASGIApp:
    """Make the application."""
    return create_app(api_services)


@pytest.fixture
async def calls(app: ASGIApp) -> AsyncIterator[Calls]:
    """Give clients; all are closed at the end."""
    made: list[httpx.AsyncClient] = []

    def make(*permissions: str, token: str | None = None) -> httpx.AsyncClient:
        signed = jwt.encode({"sub": "ann", "permissions": list(permissions)}, SECRET)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://taskloom",
            headers={"authorization": f"Bearer {signed}" if token is None else token},
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
def client(calls: Calls) -> httpx.AsyncClient:
    """Give a client that may do everything."""
    return calls("*")
