"""kopf as the watch, and as nothing else: it fills the feed from a thread of its own.

kopf cancels every task of the loop it ends in, so it has a loop to itself.  It keeps no state in
the cluster here: no finalizers, no annotations, no events, no patches.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import kopf
import structlog
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
from kubernetes.aio.client import Configuration

from taskloom.providers.kubernetes.client import load_configuration
from taskloom.providers.kubernetes.feed import Event, Feed
from taskloom.providers.kubernetes.mirror import key_of
from taskloom.providers.kubernetes.objects import DATA, OURS, Body
from taskloom.providers.kubernetes.scope import Scope
from taskloom.reconcilers.snapshot import Key

log = structlog.get_logger()

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_STOP_SECONDS = 15.0
_LIVE_SECONDS = 0.25
SILENCE = 70.0
"""Seconds of silence after which a connection is taken for dead: a bookmark comes each minute."""


class _Forgetful(ResourceMemories):
    """Keeps nothing of any object: the mirror does."""

    async def recall(
        self,
        raw_body: Any,
        *,
        memobase: Any = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = False,
    ) -> ResourceMemory:
        del ephemeral  # everything is
        return await super().recall(
            raw_body, memobase=memobase, noticed_by_listing=noticed_by_listing, ephemeral=True
        )


class _NoDifferences(kopf.DiffBaseStorage):
    """Compares no object with what it was: nobody asks here."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        del body, extra_fields
        return {}

    def fetch(self, *, body: Any) -> Any:
        del body

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Store nothing."""


class _Endless:
    """Pauses in seconds before an API call is tried again: without an end, or kopf gives up."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.1, 0.3, 1.0, 3.0), itertools.repeat(5.0))


@contextlib.asynccontextmanager
async def watching(
    scope: Scope,
    feed: Feed,
    references: Callable[[], Collection[Key]],
    live: Callable[[], None] = lambda: None,
    *,
    knows: Callable[[Body], bool] = lambda _body: False,
    silence: float = SILENCE,
) -> AsyncIterator[None]:
    """Fill the feed with what changes, as long as the block lasts.

    ConfigMaps and Secrets are told only if they are among the `references`, and nothing is that
    somebody `knows` already.
    `live` is called every few seconds as long as the watch's own loop runs.
    A connection that is silent for `silence` seconds is given up for a new one.
    """
    errand = _Errand(
        scope=scope, feed=feed, references=references, knows=knows, live=live, silence=silence
    )
    thread = threading.Thread(target=_run, args=(errand,), name="kopf", daemon=True)
    thread.start()
    try:
        yield
    finally:
        errand.stop.set()
        await asyncio.to_thread(thread.join, _STOP_SECONDS)


def settings_of_watch(silence: float = SILENCE) -> kopf.OperatorSettings:
    """Set kopf to look and touch nothing."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True  # it would ask for the right to watch all definitions
    settings.watching.inactivity_timeout = silence
    settings.watching.chunk_size = 200  # a listing in one piece is the most memory of all
    settings.watching.server_timeout = 300  # a whole number: it goes into the URL
    settings.watching.client_timeout = 330
    settings.queueing.idle_timeout = 0.05  # each object that is told of costs until then
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.persistence.progress_storage = kopf.StatusProgressStorage()  # the others look longer
    settings.queueing.error_delays = cast("Iterable[float]", _Endless())
    settings.networking.error_backoffs = cast("Iterable[float]", _Endless())
    return settings


def registry_of(
    feed: Feed,
    references: Callable[[], Collection[Key]],
    knows: Callable[[Body], bool] = lambda _body: False,
) -> kopf.OperatorRegistry:
    """Say what is looked at: every kind of ours, and the data that is referred to."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await connection_of(await load_configuration())

    def tell(event: Any, **_: Any) -> None:
        body, type_ = event["object"], event["type"]
        deleted, listed = type_ == "DELETED", type_ is None
        if listed:
            feed.lose()
        if deleted or not knows(body):
            feed.put(Event(body=_trimmed(body), deleted=deleted, listed=listed))

    def is_referenced(body: Any, **_: Any) -> bool:
        return key_of(body) in references()

    for own in OURS.values():
        kopf.on.event(own.group, own.version, own.plural, registry=registry, id=own.kind)(tell)
    for data in DATA.values():
        watch = kopf.on.event(
            data.group, data.version, data.plural, registry=registry, when=is_referenced
        )
        watch(tell)
    return registry


async def connection_of(configuration: Configuration) -> kopf.ConnectionInfo:
    """Spell the client's configuration as kopf wants it."""
    settings = await configuration.auth_settings()
    bearer = settings.get("BearerToken")
    header = "" if bearer is None else bearer["value"] or ""
    scheme, _, token = header.rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.strip().capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """What the thread is given to do."""

    scope: Scope
    feed: Feed
    references: Callable[[], Collection[Key]]
    knows: Callable[[Body], bool]
    live: Callable[[], None]
    silence: float
    stop: threading.Event = field(default_factory=threading.Event)


def _run(errand: _Errand) -> None:
    """Run kopf until told to stop; an error that ends it is logged, and it begins again."""
    _quieten()
    pause = _FIRST_PAUSE
    while not errand.stop.is_set():
        began = time.monotonic()
        try:
            errand.live()
            asyncio.run(_operate(errand))
        except Exception as error:  # noqa: BLE001 - whatever kopf ends by, the watch must go on
            log.warning("kubernetes.watch-broken", error=f"{type(error).__name__}: {error}")
        errand.feed.break_off()
        if time.monotonic() - began > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE  # it had been well
        if errand.stop.wait(pause):
            return
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _operate(errand: _Errand) -> None:
    # A flag of its own loop: one of another thread would hold kopf up when a watch fails.
    ending = asyncio.Event()
    living = asyncio.create_task(_live(errand, ending))
    try:
        await kopf.operator(
            registry=registry_of(errand.feed, errand.references, errand.knows),
            memories=_Forgetful(),
            settings=settings_of_watch(errand.silence),
            # else it looks for the user's name, and a pod has none
            identity=cast("Any", "taskloom"),
            standalone=True,
            clusterwide=errand.scope.namespaces is None,
            namespaces=errand.scope.namespaces or (),
            stop_flag=ending,
        )
    finally:
        living.cancel()


async def _live(errand: _Errand, ending: asyncio.Event) -> None:
    """Show signs of life, and end the watch when it is to stop or to begin anew."""
    while not (errand.stop.is_set() or errand.feed.take_renewal()):
        errand.live()
        await asyncio.sleep(_LIVE_SECONDS)
    ending.set()


def _trimmed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out who wrote which field: it is more than all the rest."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


def _quieten() -> None:
    """Leave kopf its warnings only: what it sees is logged by whoever acts on it."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns that it cannot take signals in a thread: it should not.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
