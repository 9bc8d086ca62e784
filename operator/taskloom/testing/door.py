"""The HTTP door on the embedded engine, put together as one process has it, for tests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.types import ASGIApp

from taskloom.api.app import create_app
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.engine_rest.hosting import Hosted
from taskloom.api.engine_rest.waiting import WaitingRoom
from taskloom.api.services import ApiServices
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.embedded.hosted import EmbeddedHost
from taskloom.flow.foreign_work import TopicNotes
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services, utc_now
from taskloom.store.database import Database

EVERYBODY = AuthOptions(mode="disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDoor:
    """The application, and what stands behind it."""

    app: ASGIApp
    engine: EmbeddedEngine
    flow: Services
    hosted: Hosted
    services: ApiServices


def embedded_door(
    database: Database,
    auth: AuthOptions = EVERYBODY,
    *,
    now: Callable[[], datetime] = utc_now,
) -> EmbeddedDoor:
    """Put a door together on a migrated database; by default it lets everybody in."""
    engine = EmbeddedEngine(database, now=now)
    flow = Services(tasks=database, workflows=database, engine=engine, now=now)
    host = EmbeddedHost(engine, database, now=now)
    hosted = Hosted(
        engine=host,
        room=WaitingRoom(database.bell, host.due, flow.now),
        notes=TopicNotes(flow),
        own_topics=frozenset({"create-tasks", "end-task"}),
    )
    services = ApiServices(
        flow=flow,
        ingest=Ingest(flow),
        authenticator=make_authenticator(auth, host="127.0.0.1"),
        checks={"database": database.ping},
        hosted=hosted,
    )
    return EmbeddedDoor(
        app=create_app(services), engine=engine, flow=flow, hosted=hosted, services=services
    )
