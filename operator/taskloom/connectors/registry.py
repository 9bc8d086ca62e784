"""Which connector runs which kind of source: our own, and those installed."""

from collections.abc import Iterable
from importlib.metadata import entry_points

import structlog

from taskloom.connectors.cron import Cron
from taskloom.ports.connector import Connector

log = structlog.get_logger()

ENTRY_POINTS = "taskloom.connectors"


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
    """Give our own connectors and those that installed packages offer as entry points."""
    connectors: list[Connector] = [Cron()]
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            connectors.append(entry.load()())
        except Exception:
            # One broken package must not keep the others from being served.
            log.exception("connector.not-loaded", entry_point=entry.name, target=entry.value)
    return connectors
