"""The only place that knows all: builds the parts from the settings and runs them by role."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp

from taskloom.api.app import create_app
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.services import ApiServices
from taskloom.commands.registry import Registry
from taskloom.delivery.dispatch import DeliveryQueue, Dispatcher
from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import EgressPolicy, parse_networks
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Conflict, Permanent
from taskloom.flow.adopt import follow_engine
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.outbox.relay import JobQueue, Relay
from taskloom.ports.sender import Sender
from taskloom.runtime.bell import Bell
from taskloom.runtime.loop import Loop, Pace
from taskloom.runtime.supervise import supervise
from taskloom.settings import ROLES, Settings
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import migrate
from taskloom.store.sealing import Sealer, keys_in
from taskloom.worker.worker import ExternalTaskQueue, Worker

log = structlog.get_logger()

Service = Callable[[], Awaitable[None]]
_TIMER_POLL = 1.0
_FEED_POLL = 5.0
_FEED_PAUSE = 0.2  # what use cases see at once is stored by them; the rest may come together
_COMMANDS_POLL = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that runs, built but not started."""

    settings: Settings
    bell: Bell
    services: Services
    engine: EmbeddedEngine
    sender: Sender
    policy: EgressPolicy
    registry: Registry
    ingest: Ingest
    alone: bool  # no other process works on these databases


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Bring up what the parts stand on (folder, database, keys) and build them."""
    with _locked(settings.data_dir):
        async with _database_url(settings) as url:
            workflow_url = _reveal(settings.workflow_database_url) or url
            await _migrate(settings, url, workflow_url)
            sealer = Sealer(_encryption_keys(settings))
            alone = settings.database_url is None and settings.workflow_database_url is None
            bell = Bell()
            tasks = Database(url, sealer=sealer, bell=bell, broadcast=not alone)
            workflows = (
                tasks
                if workflow_url == url
                else Database(workflow_url, sealer=sealer, bell=bell, broadcast=not alone)
            )
            engine = EmbeddedEngine(workflows)
            services = Services(
                tasks=tasks, workflows=workflows, engine=engine, webhooks=settings.webhooks
            )
            policy = _egress_policy(settings)
            try:
                async with AiohttpSender() as sender:
                    yield Parts(
                        settings=settings,
                        bell=bell,
                        services=services,
                        engine=engine,
                        sender=sender,
                        policy=policy,
                        registry=Registry(sender, policy),
                        ingest=Ingest(services),
                        alone=alone,
                    )
            finally:
                await tasks.close()
                if workflows is not tasks:
                    await workflows.close()


async def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the roles until SIGINT or SIGTERM or `stop`, then finish what is in hand.

    `ready` is called with the API's base URL once it listens.
    """
    async with build(settings) as parts:
        if parts.alone:
            await _take_over(parts)
        stop = stop or asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with _listening(parts, ready):
            running = asyncio.create_task(supervise(services_of(parts)))
            await stop.wait()
            log.info("taskloom.stopping")
        running.cancel()  # the door is shut: let the loops drain
        with contextlib.suppress(asyncio.CancelledError):
            await running


def services_of(parts: Parts) -> Mapping[str, Service]:
    """Give the services of the roles asked for, by name; the API is not among them."""
    makers: Mapping[str, Callable[[Parts], Mapping[str, Service]]] = {
        "worker": _worker_services,
        "relay": _relay_services,
        "dispatcher": _dispatcher_services,
    }
    services: dict[str, Service] = {}
    for role in parts.settings.roles:
        if role in makers:
            services.update(makers[role](parts))
    if not parts.alone or set(parts.settings.roles) != set(ROLES):
        services["listen"] = parts.services.tasks.listen
    return services


def _worker_services(parts: Parts) -> Mapping[str, Service]:
    worker_id = "taskloom-0" if parts.alone else f"{socket.gethostname()}-{os.getpid()}"
    worker = Worker(parts.services, parts.registry, worker_id)
    loop = Loop(
        "worker",
        ExternalTaskQueue(parts.services, parts.registry, worker_id),
        worker.run,
        bell=parts.bell,
        topic="external-tasks",
        pace=_pace(parts, parts.settings.worker_concurrency),
    )

    async def work() -> None:
        await worker.recover()
        await _declare_commands(parts)
        await loop.run()

    async def follow_commands() -> None:
        while True:
            await parts.bell.wait("commands", _COMMANDS_POLL)
            await _declare_commands(parts)

    return {"worker": work, "commands": follow_commands}


async def _declare_commands(parts: Parts) -> None:
    async with parts.services.tasks.begin() as tx:
        parts.registry.declare(await tx.commands.all())


def _relay_services(parts: Parts) -> Mapping[str, Service]:
    loop = Loop(
        "relay",
        JobQueue(parts.services.tasks),
        Relay(parts.services).run,
        bell=parts.bell,
        topic="jobs",
        pace=_pace(parts, parts.settings.relay_concurrency),
    )

    async def fire_timers() -> None:
        while True:
            if await parts.engine.run_due_jobs(100) == 0:
                due = await parts.engine.next_due()
                wait = _TIMER_POLL
                if due is not None:
                    wait = (due - parts.services.now()).total_seconds()
                await parts.bell.wait("engine-jobs", min(_TIMER_POLL, max(0.01, wait)))

    async def follow() -> None:
        while True:
            if await follow_engine(parts.services) == 0:
                await parts.bell.wait("engine-changes", _FEED_POLL)
                await asyncio.sleep(_FEED_PAUSE)

    return {"relay": loop.run, "timers": fire_timers, "engine-feed": follow}


def _dispatcher_services(parts: Parts) -> Mapping[str, Service]:
    if not parts.settings.webhooks:
        return {}
    queue = DeliveryQueue(parts.services.tasks)
    dispatcher = Dispatcher(
        parts.services.tasks,
        queue,
        parts.sender,
        parts.policy,
        now=parts.services.now,
        version=version("taskloom"),
    )
    loop = Loop(
        "dispatcher",
        queue,
        dispatcher.run,
        bell=parts.bell,
        topic="deliveries",
        pace=_pace(parts, parts.settings.delivery_concurrency),
    )
    return {"dispatcher": loop.run}


def _pace(parts: Parts, concurrency: int) -> Pace:
    return Pace(concurrency=concurrency, lease=parts.settings.lease_seconds)


async def _take_over(parts: Parts) -> None:
    """Free what a killed process of this data folder still holds: no other can hold it."""
    async with parts.services.tasks.begin() as tx:
        jobs = await tx.jobs.release()
        deliveries = await tx.deliveries.release() if parts.settings.webhooks else 0
    if jobs or deliveries:
        log.info("taskloom.recovered", jobs=jobs, deliveries=deliveries)


@contextlib.asynccontextmanager
async def _listening(parts: Parts, ready: Callable[[str], None] | None) -> AsyncIterator[None]:
    if "api" not in parts.settings.roles:
        yield
        return
    door = _bind(parts.settings)
    host, port = door.getsockname()[:2]
    server = _Server(
        uvicorn.Config(
            make_app(parts),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[door]))
    while not server.started and not serving.done():
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


def make_app(parts: Parts) -> ASGIApp:
    """Build the HTTP door."""
    settings = parts.settings
    authenticator = make_authenticator(
        AuthOptions(
            mode=settings.auth_mode,
            secret=_jwt_secret(settings),
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
            checks={"database": parts.services.tasks.ping},
        )
    )


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((settings.host, settings.port))
    except OSError as exc:
        door.close()
        raise Permanent(
            f"Cannot listen on {settings.host}:{settings.port}: {exc.strerror}. "
            "Choose another port with --port."
        ) from exc
    door.listen(2048)
    door.setblocking(False)
    return door


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, so that two processes never take each other's work for abandoned."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Conflict(
                f"Another taskloom (pid {file.read().strip() or 'unknown'}) uses the data folder "
                f"{data_dir}: stop it, or choose another with --data-dir."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextlib.asynccontextmanager
async def _database_url(settings: Settings) -> AsyncIterator[str]:
    given = _reveal(settings.database_url)
    if given is not None:
        yield given
        return
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


async def _migrate(settings: Settings, url: str, workflow_url: str) -> None:
    branches = ["tasks", "webhooks"] if settings.webhooks else ["tasks"]
    if workflow_url == url:
        await migrate(url, [*branches, "workflows"])
    else:
        await migrate(url, branches)
        await migrate(workflow_url, ["workflows"])


def _encryption_keys(settings: Settings) -> list[str]:
    given = _reveal(settings.encryption_keys)
    if given is not None:
        return [key.strip() for key in given.split(",") if key.strip()]
    return keys_in(settings.data_dir / "encryption.keys")


def _jwt_secret(settings: Settings) -> str:
    return _reveal(settings.jwt_secret) or local_jwt_secret(settings.data_dir)


def local_jwt_secret(data_dir: Path) -> str:
    """Read the data folder's own secret of HS256 tokens, made when it is not there."""
    path = data_dir / "jwt.secret"
    with contextlib.suppress(FileExistsError):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def _egress_policy(settings: Settings) -> EgressPolicy:
    return EgressPolicy(
        allow_loopback=settings.egress_allow_loopback,
        allow_private=settings.egress_allow_private,
        allow=parse_networks(settings.egress_allow),
        deny=parse_networks(settings.egress_deny),
    )


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
