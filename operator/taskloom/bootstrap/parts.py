"""Builds everything that runs, from the settings."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from taskloom.bootstrap.engine import Engine, running_engine
from taskloom.bootstrap.local import database_url, encryption_keys, locked
from taskloom.commands.registry import Registry
from taskloom.connectors.registry import Connectors, sink_connectors
from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import EgressPolicy, parse_networks
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.moving import MovingEngine
from taskloom.errors import Invalid
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.ports.sender import Sender
from taskloom.ports.sink import SinkConnector
from taskloom.runtime.bell import Bell
from taskloom.runtime.vitals import Vitals
from taskloom.settings import Settings, reveal
from taskloom.store.database import Database
from taskloom.store.migrate import migrate, pending
from taskloom.store.sealing import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that runs, built but not started."""

    settings: Settings
    bell: Bell
    services: Services
    engine: Engine
    sender: Sender
    policy: EgressPolicy
    registry: Registry
    connectors: Connectors
    sinks: Mapping[str, SinkConnector]
    ingest: Ingest
    alone: bool  # no other process works on these databases
    asked: asyncio.Event  # set to have the declared resources seen to again
    vitals: Vitals
    metrics: CollectorRegistry
    reconciled: asyncio.Event  # set when the declared resources have been seen to once

    @property
    def own_engine(self) -> EmbeddedEngine | None:
        """The engine in our database, if it runs workflows: all of them, or those it began with."""
        match self.engine:
            case EmbeddedEngine():
                return self.engine
            case MovingEngine():
                return self.engine.former
            case _:
                return None


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Bring up what the parts stand on (folder, database, keys) and build them."""
    with locked(settings.data_dir):
        async with database_url(settings) as url:
            workflow_url = reveal(settings.workflow_database_url) or url
            await _migrate(settings, url, workflow_url)
            sealer = Sealer(encryption_keys(settings))
            alone = settings.database_url is None and settings.workflow_database_url is None
            bell = Bell()
            tasks = Database(url, sealer=sealer, bell=bell, broadcast=not alone)
            workflows = (
                tasks
                if workflow_url == url
                else Database(workflow_url, sealer=sealer, bell=bell, broadcast=not alone)
            )
            policy = egress_policy(settings, os.environ)
            try:
                async with (
                    running_engine(settings, tasks, workflows) as engine,
                    AiohttpSender() as sender,
                ):
                    services = Services(
                        tasks=tasks, workflows=workflows, engine=engine, webhooks=settings.webhooks
                    )
                    yield Parts(
                        settings=settings,
                        bell=bell,
                        services=services,
                        engine=engine,
                        sender=sender,
                        policy=policy,
                        registry=Registry(sender, policy),
                        connectors=Connectors(),
                        sinks=sink_connectors(),
                        ingest=Ingest(services),
                        alone=alone,
                        asked=asyncio.Event(),
                        vitals=Vitals(),
                        metrics=CollectorRegistry(),
                        reconciled=asyncio.Event(),
                    )
            finally:
                await tasks.close()
                if workflows is not tasks:
                    await workflows.close()


async def pending_migrations(parts: Parts) -> list[str]:
    """List the branches of migrations that have not been run."""
    services = parts.services
    plan = _branches(services.tasks.url, services.workflows.url, webhooks=services.webhooks)
    return [branch for url, branches in plan.items() for branch in await pending(url, branches)]


async def _migrate(settings: Settings, url: str, workflow_url: str) -> None:
    for each, branches in _branches(url, workflow_url, webhooks=settings.webhooks).items():
        await migrate(each, branches)


def _branches(url: str, workflow_url: str, *, webhooks: bool) -> dict[str, list[str]]:
    """Say which branches of the migrations belong to which database."""
    own = ["tasks", "webhooks"] if webhooks else ["tasks"]
    if workflow_url == url:
        return {url: [*own, "workflows"]}
    return {url: own, workflow_url: ["workflows"]}


def egress_policy(settings: Settings, environ: Mapping[str, str]) -> EgressPolicy:
    """Say where webhooks and commands may go: as settings say, and never to a pod's API server.

    The API server trusts the addresses of its pods with what it tells nobody else.
    """
    try:
        api_server = parse_networks([environ.get("KUBERNETES_SERVICE_HOST", "").strip("[]")])
    except Invalid:
        api_server = ()  # no pod, or a name
    return EgressPolicy(
        allow_loopback=settings.egress_allow_loopback,
        allow_private=settings.egress_allow_private,
        allow=parse_networks(settings.egress_allow),
        deny=(*parse_networks(settings.egress_deny), *api_server),
    )
