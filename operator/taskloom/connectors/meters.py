"""What Prometheus may know of the sources that a process runs."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from taskloom.connectors.host import Host
from taskloom.connectors.running import RunningSource
from taskloom.domain.sources import ConnectionState, EventSource, object_of

_LABELS = ("source", "source_id", "kind")


class SourceMeters(Collector):
    """Tells of the sources of a host, which may be another one later."""

    def __init__(self) -> None:
        self.host: Host | None = None

    def collect(self) -> Iterator[Metric]:
        """Give the figures of now."""
        if self.host is None:
            yield from figures_of((), lambda _source: 0)
        else:
            yield from figures_of(list(self.host.running.values()), self.host.dead_letters)


def figures_of(
    running: Iterable[RunningSource], dead_letters: Callable[[EventSource], int]
) -> Iterator[Metric]:
    """Write what running sources tell, and how many open dead letters each has."""
    connected = GaugeMetricFamily(
        "taskloom_source_connected", "1 while this process reads the source.", labels=_LABELS
    )
    lag = GaugeMetricFamily(
        "taskloom_source_lag", "Messages that wait for this process.", labels=_LABELS
    )
    dead = GaugeMetricFamily(
        "taskloom_source_dead_letters",
        "Messages that are no events and that nobody has seen to; as every process finds it.",
        labels=_LABELS,
    )
    for each in running:
        source, standing = each.source, each.standing
        home = object_of(source.managed_by)
        name = str(source.id) if home is None else "/".join(home)
        labels = (name, str(source.id), source.kind)
        connected.add_metric(labels, float(standing.state is ConnectionState.CONNECTED))
        if standing.lag is not None:
            lag.add_metric(labels, standing.lag)
        dead.add_metric(labels, dead_letters(source))
    yield connected
    yield lag
    yield dead
