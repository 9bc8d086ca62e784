"""What is counted about following a cluster, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from taskloom.domain.conditions import ConditionType
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Meters:
    """The meters of a controller."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register them; a registry of their own is for nobody to read."""
        registry = registry or CollectorRegistry()
        self.leader = Gauge(
            "taskloom_controller_leader", "1 while this process leads.", registry=registry
        )
        self.reconcile_seconds = Histogram(
            "taskloom_controller_reconcile_seconds",
            "Time of a reconciliation, by outcome: done, retry, put_off, failed.",
            ("outcome",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.queue_age = Gauge(
            "taskloom_controller_queue_age_seconds",
            "For how long the oldest change waits to be reconciled; 0 if none does.",
            registry=registry,
        )
        self.statuses_waiting = Gauge(
            "taskloom_controller_statuses_waiting",
            "Statuses that are to be written to the API server.",
            registry=registry,
        )
        self.reconciled_at = Gauge(
            "taskloom_controller_reconciled_timestamp_seconds",
            "When everything was reconciled last.",
            registry=registry,
        )
        self.listed_at = Gauge(
            "taskloom_controller_listed_timestamp_seconds",
            "When everything was listed last.",
            registry=registry,
        )
        self.outage = Gauge(
            "taskloom_controller_outage_seconds",
            "For how long a part has not answered, by the reason that is told; 0 if it does.",
            ("reason",),
            registry=registry,
        )
        self.resources = Gauge(
            "taskloom_controller_resources",
            "Resources, by kind and by their condition Ready: True, False, Unknown.",
            ("kind", "ready"),
            registry=registry,
        )
        self.repaired = Counter(
            "taskloom_controller_repaired_resources",
            "Resources whose rows had been changed by another and were put right, by kind.",
            ("kind",),
            registry=registry,
        )
        self.events = Counter(
            "taskloom_kubernetes_events",
            "Kubernetes Events, by outcome: written, dropped.",
            ("outcome",),
            registry=registry,
        )
        self.requests = Counter(
            "taskloom_kubernetes_requests",
            "Calls of the API server, by method and by the answer's code; 0 is no answer.",
            ("method", "code"),
            registry=registry,
        )
        self._standing: dict[Key, str] = {}

    def count_request(self, method: str, code: int) -> None:
        """Count a call of the API server."""
        self.requests.labels(method, str(code)).inc()

    def count_event(self, outcome: str) -> None:
        """Count an Event."""
        self.events.labels(outcome).inc()

    def show(self, selected: Mapping[Key, object], verdicts: Mapping[Key, Verdict]) -> None:
        """Show how many objects there are, and how they stand now."""
        for key in self._standing.keys() - selected.keys():
            del self._standing[key]
        for key, verdict in verdicts.items():
            if key in selected:
                self._standing[key] = _ready(verdict)
        tally = Tally((key[0], ready) for key, ready in self._standing.items())
        self.resources.clear()
        for labels, count in tally.items():
            self.resources.labels(*labels).set(count)

    def end(self) -> None:
        """Show nothing any more: another process leads."""
        self._standing.clear()
        self.resources.clear()
        self.outage.clear()
        self.leader.set(0)
        self.queue_age.set(0)
        self.statuses_waiting.set(0)


def _ready(verdict: Verdict) -> str:
    return next(
        (str(c.status) for c in verdict.conditions if c.type is ConditionType.READY), "Unknown"
    )
