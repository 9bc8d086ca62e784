"""The engine that runs workflows: ours in the database, or one elsewhere."""

import contextlib
from collections.abc import AsyncIterator

from pydantic import SecretStr

from taskloom.domain.secret import Secret
from taskloom.engines.camunda.connection import ClientCredentials, Connection
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.moving import MovingEngine
from taskloom.settings import Settings
from taskloom.store.database import Database
from taskloom.store.engine_feed import FeedBookmark

Engine = EmbeddedEngine | CamundaEngine | MovingEngine


@contextlib.asynccontextmanager
async def running_engine(
    settings: Settings, tasks: Database, workflows: Database
) -> AsyncIterator[Engine]:
    """Give the engine that the settings name; one elsewhere need not answer yet.

    What ran in ours before another one took over finishes there, and is told of.
    """
    if settings.engine == "embedded":
        yield EmbeddedEngine(workflows)
        return
    connection = connection_of(settings)
    name = connection.url if connection.tenant is None else f"{connection.url}#{connection.tenant}"
    own = EmbeddedEngine(workflows)
    async with CamundaEngine(connection, FeedBookmark(tasks, name)) as engine:
        if not await own.has_definitions():
            yield engine
            return
        await own.retire()
        yield MovingEngine(own, engine)


def connection_of(settings: Settings) -> Connection:
    """Say where an engine elsewhere is and how it knows us."""
    oauth = None
    if settings.engine_oauth_token_url and settings.engine_oauth_client_id:
        oauth = ClientCredentials(
            token_url=settings.engine_oauth_token_url,
            client_id=settings.engine_oauth_client_id,
            client_secret=_secret(settings.engine_oauth_client_secret) or Secret(""),
            scope=settings.engine_oauth_scope,
        )
    return Connection(
        url=settings.engine_url or "",
        user=settings.engine_user,
        password=_secret(settings.engine_password),
        token=_secret(settings.engine_token),
        oauth=oauth,
        ca=settings.engine_ca,
        certificate=settings.engine_certificate,
        key=settings.engine_key,
        tenant=settings.engine_tenant,
        history_days=settings.engine_history_days,
    )


def _secret(given: SecretStr | None) -> Secret | None:
    return None if given is None else Secret(given.get_secret_value())
