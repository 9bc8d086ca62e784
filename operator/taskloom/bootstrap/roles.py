"""What each role runs: loops and followers, by name."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version

from taskloom.bootstrap.parts import Parts
from taskloom.bootstrap.sources import (
    connector_services,
    follow_states,
    runners_of,
    sink_services,
)
from taskloom.bootstrap.work import pace_of, relay_services, worker_services
from taskloom.delivery.dispatch import DeliveryQueue, Dispatcher
from taskloom.domain.conditions import Reason
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Permanent
from taskloom.flow.services import Services
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.follow import follow_folder
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.figures import Live
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.runtime.loop import Loop
from taskloom.runtime.pulse import Pulse
from taskloom.settings import ROLES
from taskloom.store.leadership import begin_terms

Service = Callable[[], Awaitable[None]]
_TOPICS_POLL = 3600.0  # a ring that is lost costs a resync's time
NO_TEMPLATE = "TASKLOOM_WORKER_TEMPLATE names no template to make its pods from"
"""Why a source has no pods of its own where the controller was given no template."""


def services_of(parts: Parts) -> Mapping[str, Service]:
    """Give the services of the roles asked for, by name; the API is not among them."""
    makers: Mapping[str, Callable[[Parts], Mapping[str, Service]]] = {
        "connectors": connector_services,
        "worker": worker_services,
        "relay": relay_services,
        "dispatcher": _dispatcher_services,
        "controller": _controller_services,
    }
    services: dict[str, Service] = {}
    for role in parts.settings.roles:
        if role in makers:
            services.update(makers[role](parts))
    if "controller" not in parts.settings.roles:
        parts.reconciled.set()  # it is another process's business
    if not parts.alone or set(parts.settings.roles) != set(ROLES):
        services["listen"] = parts.services.tasks.listen
    return services


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
        pace=pace_of(parts, parts.settings.delivery_concurrency),
    )
    return {"dispatcher": loop.run, **sink_services(parts)}


def _controller_services(parts: Parts) -> Mapping[str, Service]:
    async def states() -> None:
        await follow_states(parts)

    async def topics() -> None:
        while True:
            if await parts.bell.wait("fetched-topics", _TOPICS_POLL):
                parts.asked.set()  # Workflows tell whether their topics are served

    if parts.settings.kubernetes:
        return {
            "controller": _follow_cluster(parts),
            "source-states": states,
            "fetched-topics": topics,
        }
    folder = parts.settings.files
    if folder is None:
        parts.reconciled.set()
        return {}
    credentials = CredentialFiles(parts.settings.data_dir)
    runners = runners_of(parts, no_pods="a folder's sources have no pods of their own")
    live = Live()

    async def follow() -> None:
        applied = Applied()
        await follow_folder(
            folder,
            lambda snapshot: _reconcile(
                parts,
                parts.services,
                snapshot,
                credentials,
                runners=runners,
                applied=applied,
                live=live,
            ),
            asyncio.Event(),
            changed=parts.asked,
        )

    return {"controller": follow, "source-states": states, "fetched-topics": topics}


def _follow_cluster(parts: Parts) -> Service:
    try:
        # An extra (kubernetes), which only who has a cluster has.
        from taskloom.providers.kubernetes import dedicate, meters, operate, scope  # noqa: PLC0415 - extra
        from taskloom.providers.kubernetes import follow as following  # noqa: PLC0415 - extra
    except ModuleNotFoundError as error:
        raise Permanent(
            f"--kubernetes needs the package {error.name}: pip install 'taskloom[kubernetes]'."
        ) from error
    settings = parts.settings
    wanted = scope.read_scope(settings.namespaces, settings.selector)
    candidacy = operate.Candidacy(name=settings.lease_name, namespace=settings.lease_namespace)
    surroundings = following.Surroundings(
        rhythm=following.Rhythm(
            resync=settings.resync_seconds, grace=settings.outage_grace_seconds
        ),
        pulses=_pulses(parts),
        vitals=parts.vitals,
        meters=meters.Meters(parts.metrics),
        asked=parts.asked,
    )
    problems: dict[Key, str] = {}
    no_pods: str | None = NO_TEMPLATE
    pods = None
    if settings.worker_template is not None:
        no_pods = None
        pods = dedicate.Pods(
            template=settings.worker_template,
            kinds=parts.connectors.kinds,
            owner=settings.worker_owner,
            problems=problems,
            changed=parts.asked.set,
        )
    runners = runners_of(parts, no_pods=no_pods, problems=problems)

    async def follow() -> None:
        await operate.operate(
            wanted,
            lambda lease, holds: _leading(parts, lease, holds, runners),
            pods=pods,
            candidacy=candidacy,
            standing_by=parts.reconciled.set,
            surroundings=surroundings,
        )

    return follow


_MANY = 1000


def _collect_rarely() -> None:
    """Look for garbage in cycles less often, and not among what stays.

    With many objects each look at all of them would hold up everything for a while.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 20, 50)


def _leading(
    parts: Parts, lease: str, holds: Callable[[], bool], runners: Runners
) -> Callable[[Snapshot, CredentialStore], Awaitable[Report]]:
    """Reconcile as one who leads: with databases that are written in his term only."""
    fenced: Services | None = None
    applied = Applied()
    live = Live()

    async def reconcile_in_term(snapshot: Snapshot, credentials: CredentialStore) -> Report:
        nonlocal fenced
        first = fenced is None
        if fenced is None:
            services = parts.services
            tasks, workflows = await begin_terms(services.tasks, services.workflows, lease, holds)
            # The engine takes part in transactions of these.
            fenced = replace(services, tasks=tasks, workflows=workflows)
        report = await _reconcile(
            parts, fenced, snapshot, credentials, runners=runners, applied=applied, live=live
        )
        if first or report.changes >= _MANY:
            _collect_rarely()  # what was read or made just now stays
        return report

    return reconcile_in_term


def _pulses(parts: Parts) -> Mapping[Reason, Pulse]:
    tasks, workflows = parts.services.tasks, parts.services.workflows
    pulses = {Reason.DATABASE_UNAVAILABLE: Pulse(tasks.ping)}
    if workflows is not tasks or not isinstance(parts.engine, EmbeddedEngine):
        pulses[Reason.ENGINE_UNAVAILABLE] = Pulse(partial(_reach_engine, parts))
    return pulses


async def _reach_engine(parts: Parts) -> None:
    """Return if workflows can be deployed and run: their rows are there, and what runs them."""
    if parts.services.workflows is not parts.services.tasks:
        await parts.services.workflows.ping()
    await parts.engine.ping()


async def _reconcile(
    parts: Parts,
    services: Services,
    snapshot: Snapshot,
    credentials: CredentialStore,
    *,
    runners: Runners,
    applied: Applied,
    live: Live,
) -> Report:
    try:
        return await reconcile(
            services,
            snapshot,
            credentials=credentials,
            topics=parts.registry.installed_topics(),
            runners=runners,
            applied=applied,
            live=live,
        )
    finally:
        parts.reconciled.set()
