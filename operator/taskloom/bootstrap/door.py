"""The HTTP door: bound early, so that a port in use is said at once; opened last."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from taskloom.api.app import create_app, create_health_app
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.callers import ClusterCallers
from taskloom.api.checks import migrated
from taskloom.api.engine_rest.hosting import Hosted
from taskloom.api.engine_rest.waiting import WaitingRoom
from taskloom.api.problems import MEDIA_TYPE, Problem, problem_response
from taskloom.api.services import ApiServices, Check, Watched
from taskloom.bootstrap.callers import cluster_callers
from taskloom.bootstrap.local import jwt_secret
from taskloom.bootstrap.parts import Parts, pending_migrations
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.embedded.hosted import EmbeddedHost
from taskloom.errors import Permanent, Unavailable
from taskloom.flow.foreign_work import TopicNotes
from taskloom.settings import Settings

log = structlog.get_logger()

_BACKLOG = 2048
# Longer than clients and load balancers keep idle connections (mostly 5 to 60 seconds), so that it
# is they who close them: a request on a connection that is just being closed would fail.
_KEEP_ALIVE = 75
_LOST_RING = 5.0
_NO_RING = 1.0


async def _resources_seen_to(parts: Parts) -> None:
    if not parts.reconciled.is_set():
        raise Unavailable("The declared resources have not been reconciled yet.")


def bind(settings: Settings) -> socket.socket:
    """Take the API's port; `Permanent` if it cannot be had."""
    return _bind(settings.host, settings.port, "--port")


def bind_health(settings: Settings) -> socket.socket | None:
    """Take the port for health and metrics, if there is to be one."""
    if settings.health_port is None:
        return None
    return _bind(settings.host, settings.health_port, "TASKLOOM_HEALTH_PORT")


def _bind(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError as exc:
        door.close()
        raise Permanent(
            f"Cannot listen on {host}:{port}: {exc.strerror}. Choose another port with {option}."
        ) from exc
    door.listen(_BACKLOG)
    door.setblocking(False)
    return door


@contextlib.asynccontextmanager
async def listening(
    parts: Parts, door: socket.socket, ready: Callable[[str], None] | None
) -> AsyncIterator[None]:
    """Serve HTTP on `door` within the block; `ready` is told the base URL."""
    hosted = make_hosted(parts)
    async with (
        cluster_callers(parts.settings) as callers,
        _serving(make_app(parts, callers, hosted), door, ready),
    ):
        try:
            yield
        finally:
            if hosted is not None:
                hosted.room.close()  # polls that wait would hold the door open


@contextlib.asynccontextmanager
async def showing_health(parts: Parts, door: socket.socket) -> AsyncIterator[None]:
    """Serve health, readiness and metrics on `door` within the block."""
    async with _serving(make_health_app(parts), door, None):
        yield


@contextlib.asynccontextmanager
async def _serving(
    app: ASGIApp, door: socket.socket, ready: Callable[[str], None] | None
) -> AsyncIterator[None]:
    host, port = door.getsockname()[:2]
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=_KEEP_ALIVE,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[door]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - it offers no event
        await asyncio.sleep(0.01)
    url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
    log.info("taskloom.listening", url=url)
    if ready is not None:
        ready(url)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves the signals to `serve`, which has more to stop than this."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Protocol(HttpToolsProtocol):
    """Answers what is no HTTP, or has too long a URL, in the form of every other error."""

    def send_400_response(self, msg: str) -> None:
        """Answer and close."""
        problem = Problem(
            status=400,
            code="invalid",
            detail=f"{msg} A URL may have 64 KiB at most.",
        )
        body = problem_response(problem, "").body
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + bytes(body))
        self.transport.close()


def make_hosted(parts: Parts) -> Hosted | None:
    """Build what /engine-rest works with on the embedded engine; one elsewhere has its own."""
    services = parts.services
    if not isinstance(parts.engine, EmbeddedEngine):
        return None
    host = EmbeddedHost(parts.engine, services.workflows, now=services.now)
    return Hosted(
        engine=host,
        room=WaitingRoom(parts.bell, host.due, services.now, poll=_poll_behind_rings(parts)),
        notes=TopicNotes(services),
        own_topics=parts.registry.installed_topics(),
    )


def _poll_behind_rings(parts: Parts) -> float | None:
    """Say how often to look for work of which nothing rings; None if all of it does."""
    if parts.alone:
        return None
    # rings travel by the task database only
    return _LOST_RING if parts.services.workflows is parts.services.tasks else _NO_RING


def make_app(
    parts: Parts, callers: ClusterCallers | None = None, hosted: Hosted | None = None
) -> ASGIApp:
    """Build the HTTP door; `hosted` is left out where the engine serves its own clients."""
    settings = parts.settings
    authenticator = make_authenticator(
        AuthOptions(
            mode=settings.auth_mode,
            secret=jwt_secret(settings),
            jwks_url=settings.jwks_url,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        ),
        host=settings.host,
    )
    return create_app(
        ApiServices(
            flow=parts.services,
            ingest=parts.ingest,
            authenticator=authenticator,
            callers=callers,
            checks=_checks(parts),
            stuck=parts.vitals.stuck,
            registry=parts.metrics,
            hosted=hosted,
        )
    )


def make_health_app(parts: Parts) -> ASGIApp:
    """Build the door for health, readiness and metrics alone."""
    return create_health_app(
        Watched(checks=_checks(parts), stuck=parts.vitals.stuck, registry=parts.metrics)
    )


def _checks(parts: Parts) -> Mapping[str, Check]:
    checks: dict[str, Check] = {
        "database": parts.services.tasks.ping,
        "migrations": migrated(partial(pending_migrations, parts)),
        "resources": partial(_resources_seen_to, parts),
    }
    if parts.settings.engine == "embedded" or "api" not in parts.settings.roles:
        checks["engine"] = parts.engine.ping
    # Else events are taken in while an engine elsewhere is away, and started when it is back.
    return checks
