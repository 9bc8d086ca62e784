"""The role `connectors`, and what the controller learns from it."""

import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping

from taskloom.bootstrap.parts import Parts
from taskloom.connectors.host import STATES, Host, Pool
from taskloom.connectors.meters import SourceMeters
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
            # A new name each time: what an earlier one held is not this one's.
            holder=f"{socket.gethostname()}-{secrets.token_hex(3)}",
            pool=Pool(name=settings.connector_pool, source=source),
        )
        meters.host = host
        await host.run()

    return {"connectors": run}


async def follow_states(parts: Parts) -> None:
    """Ask for a reconciliation when a source stands otherwise, or whoever ran it is gone."""
    known = NOTHING_TOLD
    while True:
        async with parts.services.tasks.begin() as tx:
            now = await tx.source_states.fingerprint()
        if now != known:  # at the start, too: it may have changed since they were looked at
            parts.asked.set()
        known = now
        await parts.bell.wait(STATES, _STATES_POLL)


def runners_of(
    parts: Parts, *, no_pods: str | None, problems: Mapping[Key, str] | None = None
) -> Runners:
    """Say what this installation runs sources with; `problems` may change as time goes by."""
    return Runners(
        kinds=Runners().kinds | parts.connectors.kinds,
        no_pods=no_pods,
        problems={} if problems is None else problems,
    )
