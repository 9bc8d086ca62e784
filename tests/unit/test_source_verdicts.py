"""What is told of a source by what connectors tell of it."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from taskloom.domain.conditions import ConditionType
from taskloom.domain.sources import ConnectionState, SourceState, Standing
from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.runners import Runners, pool_of
from taskloom.reconcilers.source_verdicts import told_of_source
from taskloom.reconcilers.verdict import Verdict
from taskloom.resources.event_source import EventSource, EventSourceSpec
from taskloom.resources.validate import validate
from taskloom.settings import Settings
from taskloom.testing.connectors import source_row

TEN, ELEVEN = (datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in (10, 11))
PODS = Runners(kinds=frozenset({"kafka"}), no_pods=None)
NO_PODS = Runners(kinds=frozenset({"kafka"}), no_pods="there are none")


def state(
    holder: str | None, stands: ConnectionState, reason: str | None = None, **more: Any
) -> SourceState:
    """Write what one process tells."""
    message = "" if reason is None else f"because of {reason}"
    standing = Standing(state=stands, since=TEN, reason=reason, message=message, **more)
    return SourceState(
        source_id=uuid.UUID(int=1), slot=0, holder=holder, standing=standing, reported_on=ELEVEN
    )


IDLE, STARTING, CONNECTED, FAILING = (
    ConnectionState.IDLE,
    ConnectionState.STARTING,
    ConnectionState.CONNECTED,
    ConnectionState.FAILING,
)


def told(
    *states: SourceState, runners: Runners = PODS, **placement: Any
) -> tuple[dict[str, str], Verdict]:
    """Give the conditions Ready and Degraded as texts, and the whole verdict."""
    spec = {"kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]}, "placement": placement}
    resource = validate(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": "EventSource",
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": spec,
        }
    )
    assert isinstance(resource, EventSource)
    desired = Desired(resource=resource, manager="m", generation=1, created_on=TEN)
    pool = pool_of(resource.spec, runners)
    row = source_row(spec, name="orders", pool=pool)
    verdict = told_of_source(desired, resource.spec, row, states, runners)
    texts = {
        str(c.type): f"{c.status} {c.reason}: {c.message}"
        for c in verdict.conditions
        if c.type in (ConditionType.READY, ConditionType.DEGRADED)
    }
    return texts, verdict


def test_a_source_that_nobody_runs_waits() -> None:
    """For its pool, or for its pods."""
    waits = "no process with the role connectors and the pool `quiet` runs it yet"
    assert {"Ready": f"False Pending: {waits}"} == told(pool="quiet")[0]
    assert {"Ready": f"False Pending: {waits}"} == told(state(None, IDLE), pool="quiet")[0]
    assert {"Ready": "False Pending: none of its pods runs yet"} == told(mode="Dedicated")[0]


def test_a_source_that_starts_is_not_ready_yet() -> None:
    """A moment later it is, or says why not."""
    expected = {"Ready": "False Pending: its connector is starting"}
    assert expected == told(state("a", STARTING))[0]


@pytest.mark.parametrize("reason", ["AuthFailed", "ConnectFailed", "TopicNotFound"])
def test_a_source_that_fails_says_why(reason: str) -> None:
    """The connector's reason and words."""
    assert {"Ready": f"False {reason}: because of {reason}"} == told(state("a", FAILING, reason))[0]


def test_a_reason_of_another_version_is_told_as_a_failure() -> None:
    """The words say the rest."""
    expected = {"Ready": "False ConnectorFailed: because of NewReason"}
    assert expected == told(state("a", FAILING, "NewReason"))[0]


def test_a_source_that_is_read_by_some_is_ready_and_degraded() -> None:
    """It names those that fail."""
    texts, _ = told(state("a", CONNECTED), state("b", FAILING, "AuthFailed"), replicas=2)

    assert {
        "Ready": "True Reconciled: ",
        "Degraded": "True AuthFailed: b: because of AuthFailed",
    } == texts


def test_a_source_scaled_to_nothing_is_as_it_should_be() -> None:
    """By its replicas, or by its autoscaler."""
    expected = {"Ready": "True Reconciled: it is scaled to 0"}
    assert expected == told(replicas=0)[0]
    assert expected == told(mode="Dedicated", autoscaling={"minReplicas": 0})[0]


def test_where_pods_cannot_be_had_a_dedicated_source_says_so() -> None:
    """It runs as a shared one; where they can be had, what is wrong with them is told."""
    texts, verdict = told(state("a", CONNECTED), runners=NO_PODS, mode="Dedicated", pool="quiet")
    assert "True Unsupported: it runs in the pool `quiet`: there are none" == texts["Degraded"]
    assert "selector" not in verdict.fields

    problems = {("EventSource", "shop", "orders"): "exceeded quota"}
    broken = Runners(kinds=PODS.kinds, no_pods=None, problems=problems)
    texts, verdict = told(state("a", CONNECTED), runners=broken, mode="Dedicated")
    assert "True ConnectorFailed: its pods: exceeded quota" == texts["Degraded"]
    assert verdict.fields["selector"].startswith("taskloom.dev/source-id=")


def test_the_figures_of_all_are_put_together() -> None:
    """Lags are summed up, the last event is the last of all, also of one that is gone."""
    _, verdict = told(
        state("a", CONNECTED, lag=3, partitions=2, last_event_on=TEN),
        state("b", CONNECTED, lag=4, partitions=1),
        state(None, IDLE, last_event_on=ELEVEN),
        replicas=2,
    )

    fields = {k: v for k, v in verdict.fields.items() if k not in ("sourceId", "type")}
    assert {
        "replicas": 2,
        "connectedSince": "2026-11-24T10:00:00Z",
        "lastEventTime": "2026-11-24T11:00:00Z",
        "lag": {"total": 7, "observedAt": "2026-11-24T11:00:00Z"},
        "assignment": [
            {"pod": "a", "reporting": "2026-11-24T11:00:00Z", "partitions": 2},
            {"pod": "b", "reporting": "2026-11-24T11:00:00Z", "partitions": 1},
        ],
    } == fields
    EventSource.status_type.model_validate(verdict.fields)


def test_a_pool_is_none_for_pods_of_its_own_only() -> None:
    """Else the source's."""
    spec = EventSourceSpec.model_validate(
        {"cron": {"schedule": "@daily"}, "placement": {"mode": "Dedicated", "pool": "quiet"}}
    )

    assert pool_of(spec, PODS) is None
    assert "quiet" == pool_of(spec, NO_PODS)


@pytest.mark.parametrize("name", ["orders", "/orders", "shop/", ""])
def test_the_source_of_a_pod_is_named_with_its_namespace(name: str) -> None:
    """Anything else is refused when the process starts."""
    with pytest.raises(ValidationError, match="write namespace/name"):
        Settings(connector_source=name)
