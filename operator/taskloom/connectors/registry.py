"""Which connector runs which kind of source or sink: our own, and those installed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import structlog

from taskloom.connectors.cron import Cron
from taskloom.connectors.kafka.sink import KafkaSinks
from taskloom.connectors.kafka.source import Kafka
from taskloom.connectors.left_out import LeftOut, LeftOutSink
from taskloom.ports.connector import Connector
from taskloom.ports.sink import SinkConnector

log = structlog.get_logger()

SOURCES = "taskloom.connectors"
SINKS = "taskloom.sinks"
"""The groups of entry points that packages offer connectors by."""


_OPTIONAL_SOURCES = {
    "nats": "taskloom.connectors.nats.source:Nats",
    "sqs": "taskloom.connectors.sqs.source:Sqs",
}
_OPTIONAL_SINKS = {
    "nats": "taskloom.connectors.nats.sink:NatsSinks",
    "sqs": "taskloom.connectors.sqs.sink:SqsSinks",
}
"""Our own kinds whose library is an extra, called as the kind is: ``taskloom[nats]``."""


class Connectors:
    """The connectors in force, by kind.  An installed one takes the place of none of our own."""

    def __init__(self, connectors: Iterable[Connector] | None = None) -> None:
        self._by_kind: dict[str, Connector] = {}
        for connector in installed() if connectors is None else connectors:
            self._by_kind.setdefault(connector.kind, connector)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of source that are run."""
        return frozenset(self._by_kind)

    def of(self, kind: str) -> Connector:
        """Give the connector of a kind."""
        return self._by_kind[kind]


def installed() -> list[Connector]:
    """Give our own connectors of sources, and those that installed packages offer."""
    optional = (_optional(kind, LeftOut, at) for kind, at in _OPTIONAL_SOURCES.items())
    return [Cron(), Kafka(), *optional, *_offered(SOURCES)]


def sink_connectors() -> Mapping[str, SinkConnector]:
    """Give the connectors of sinks by kind: our own, and those that installed packages offer."""
    found: dict[str, SinkConnector] = {}
    optional = (_optional(kind, LeftOutSink, at) for kind, at in _OPTIONAL_SINKS.items())
    for connector in (KafkaSinks(), *optional, *_offered(SINKS)):
        found.setdefault(connector.kind, connector)
    return found


def _optional(kind: str, left_out: Callable[[str], Any], target: str) -> Any:
    """Give our own connector of a kind, or one that says what is to be installed for it."""
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "taskloom":
            raise
        return left_out(kind)


def _offered(group: str) -> Iterator[Any]:
    for entry in entry_points(group=group):
        try:
            yield entry.load()()
        except Exception:
            # One broken package must not keep the others from being served.
            log.exception("connector.not-loaded", entry_point=entry.name, target=entry.value)
