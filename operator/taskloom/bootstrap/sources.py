"""The role `connectors`, the sinks of the role `dispatcher`, and what the controller learns."""

import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping

from taskloom.bootstrap.parts import Parts
from taskloom.connectors.host import Host, Pool
from taskloom.connectors.meters import SourceMeters
from taskloom.delivery.sinks import SinkHost
from taskloom.domain.sources import STATES
from taskloom.flow.adapt import installed_adapters
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.snapshot import Key
from taskloom.store.source_states import NOTHING_TOLD

Service = Callable[[], Awaitable[None]]
_STATES_POLL = 3.0


def connector_services(parts: Parts) -> Mapping[str, Service]:
    """Run the sources of this process's pool, or the one it is for."""
    settings = parts.settings
    source = None
    if settings.connector_source is not None:
        namespace, _, name = settings.connector_source.partition("/")
        source = (namespace, name)
    meters = SourceMeters()
    parts.metrics.register(meters)

    async def run() -> None:
        host = Host(
            parts.services,
            parts.connectors,
            parts.ingest,
            holder=_new_name(),
            pool=Pool(name=settings.connector_pool, source=source),
        )
        meters.host = host
        await host.run()

    return {"connectors": run}


def sink_services(parts: Parts) -> Mapping[str, Service]:
    """Produce to sinks."""

    async def run() -> None:
        host = SinkHost(parts.services, parts.sinks, holder=_new_name())
        await host.run()

    return {"sinks": run}


async def follow_states(parts: Parts) -> None:
    """Ask for a reconciliation when a source or sink stands otherwise, or who ran it is gone."""
    known = NOTHING_TOLD
    while True:
        async with parts.services.tasks.begin() as tx:
            now = await tx.source_states.fingerprint()
            if parts.settings.webhooks:
                now += await tx.sink_states.fingerprint()
        if now != known:  # at the start, too: it may have changed since they were looked at
            parts.asked.set()
        known = now
        await parts.bell.wait(STATES, _STATES_POLL)


def _new_name() -> str:
    """Name this process anew each time: what an earlier one held is not this one's."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def runners_of(
    parts: Parts, *, no_pods: str | None, problems: Mapping[Key, str] | None = None
) -> Runners:
    """Say what this installation runs sources with; `problems` may change as time goes by."""
    return Runners(
        kinds=Runners().kinds | parts.connectors.kinds,
        sinks=frozenset(parts.sinks),
        adapters=frozenset(installed_adapters()),
        no_pods=no_pods,
        problems={} if problems is None else problems,
    )
