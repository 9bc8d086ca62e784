"""Which connector runs which kind of source or sink: our own, and those installed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

import structlog

from taskloom.connectors.left_out import LeftOut, LeftOutSink
from taskloom.ports.connector import Connector
from taskloom.ports.sink import SinkConnector

log = structlog.get_logger()

SOURCES = "taskloom.connectors"
SINKS = "taskloom.sinks"
"""The groups of entry points that packages offer connectors by."""

_OUR_SOURCES = {
    "cron": "taskloom.connectors.cron:Cron",
    "kafka": "taskloom.connectors.kafka.source:Kafka",
    "nats": "taskloom.connectors.nats.source:Nats",
    "sqs": "taskloom.connectors.sqs.source:Sqs",
}
_OUR_SINKS = {
    "kafka": "taskloom.connectors.kafka.sink:KafkaSinks",
    "nats": "taskloom.connectors.nats.sink:NatsSinks",
    "sqs": "taskloom.connectors.sqs.sink:SqsSinks",
}
"""Our own, by kind; where the library is an extra, that is called as the kind is."""

C = TypeVar("C", bound=Connector | SinkConnector)


class ByKind(Mapping[str, C]):
    """Connectors by kind; our own are loaded when they are asked for.

    Most processes run none, and their libraries take tens of megabytes.
    An installed connector takes the place of none of our own.
    """

    def __init__(
        self, ours: Mapping[str, str], offered: Iterable[C], left_out: Callable[[str], C]
    ) -> None:
        self._ours = ours
        self._left_out = left_out
        self._loaded: dict[str, C] = {}
        for connector in offered:
            if connector.kind not in ours:
                self._loaded.setdefault(connector.kind, connector)

    def __getitem__(self, kind: str) -> C:
        """Give the connector of a kind."""
        if kind not in self._loaded and kind in self._ours:
            self._loaded[kind] = self._load(kind)
        return self._loaded[kind]

    def __iter__(self) -> Iterator[str]:
        """Go through the kinds."""
        return iter(self._ours.keys() | self._loaded.keys())

    def __len__(self) -> int:
        """Count the kinds."""
        return len(self._ours.keys() | self._loaded.keys())

    def _load(self, kind: str) -> C:
        """Load our own connector of a kind, or one that says what is to be installed for it."""
        module, _, name = self._ours[kind].partition(":")
        try:
            connector: C = getattr(import_module(module), name)()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "taskloom":
                raise
            return self._left_out(kind)
        return connector


class Connectors:
    """The connectors of sources in force: those given, or our own and those installed."""

    def __init__(self, connectors: Iterable[Connector] | None = None) -> None:
        self._by_kind: Mapping[str, Connector] = (
            ByKind(_OUR_SOURCES, _offered(SOURCES), LeftOut)
            if connectors is None
            else {connector.kind: connector for connector in connectors}
        )

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of source that are run."""
        return frozenset(self._by_kind)

    def of(self, kind: str) -> Connector:
        """Give the connector of a kind."""
        return self._by_kind[kind]


def sink_connectors() -> Mapping[str, SinkConnector]:
    """Give the connectors of sinks by kind: our own, and those installed."""
    return ByKind(_OUR_SINKS, _offered(SINKS), LeftOutSink)


def _offered(group: str) -> Iterator[Any]:
    for entry in entry_points(group=group):
        try:
            yield entry.load()()
        except Exception:
            # One broken package must not keep the others from being served.
            log.exception("connector.not-loaded", entry_point=entry.name, target=entry.value)
