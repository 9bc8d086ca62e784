"""What is told of a source that connectors run."""

from collections.abc import Sequence
from typing import Any

from taskloom.domain.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    timestamp,
)
from taskloom.domain.sources import ConnectionState, EventSource, SourceState
from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.runners import SOURCE_LABEL, Runners, shortfalls
from taskloom.reconcilers.verdict import Verdict, programmed, programmed_only
from taskloom.resources.event_source import EventSourceSpec

_MOST_ASSIGNMENTS = 64


def told_of_source(
    desired: Desired,
    spec: EventSourceSpec,
    row: EventSource,
    states: Sequence[SourceState] | None,
    runners: Runners,
) -> Verdict:
    """Tell how a source stands, as the connectors tell it; None is a source that is not run yet."""
    fields = {"sourceId": str(row.id), "type": row.kind}
    if states is None:
        return programmed(desired, fields, suspended=row.suspended)
    live = [state for state in states if state.holder is not None]
    told = fields | _figures(row, states, live)
    if row.suspended:
        return programmed(desired, told, suspended=True)
    more = _degraded(desired, spec, live, runners)
    if _any(live, ConnectionState.CONNECTED):
        return programmed(desired, told, more=more)
    for state in live:
        if state.standing.state is ConnectionState.FAILING:
            reason, message = _reason(state), state.standing.message
            return programmed_only(desired, reason, message, told, more=more)
    if live:
        message = "its connector is starting"
    elif may_rest(spec):
        return programmed(desired, told, message="it is scaled to 0", more=more)
    elif row.pool is None:
        message = "none of its pods runs yet"
    else:
        message = f"no process with the role connectors and the pool `{row.pool}` runs it yet"
    return programmed_only(desired, Reason.PENDING, message, told, more=more)


def may_rest(spec: EventSourceSpec) -> bool:
    """Tell whether nobody need run a source."""
    scaling = spec.placement.autoscaling
    return (spec.placement.replicas if scaling is None else scaling.min_replicas) == 0


def _figures(
    row: EventSource, states: Sequence[SourceState], live: Sequence[SourceState]
) -> dict[str, Any]:
    told: dict[str, Any] = {"replicas": len(live)}
    if row.pool is None:
        told["selector"] = f"{SOURCE_LABEL}={row.id}"
    connected = [
        state.standing.since for state in live if state.standing.state is ConnectionState.CONNECTED
    ]
    if connected:
        told["connectedSince"] = timestamp(min(connected))
    last = [on for state in states if (on := state.standing.last_event_on) is not None]
    if last:
        told["lastEventTime"] = timestamp(max(last))
    lags = [(lag, state.reported_on) for state in live if (lag := state.standing.lag) is not None]
    if lags:
        told["lag"] = {
            "total": sum(lag for lag, _ in lags),
            "observedAt": timestamp(max(on for _, on in lags)),
        }
    if live:
        told["assignment"] = [_assignment(state) for state in live[:_MOST_ASSIGNMENTS]]
    return told


def _assignment(state: SourceState) -> dict[str, Any]:
    told: dict[str, Any] = {"pod": state.holder, "reporting": timestamp(state.reported_on)}
    if state.standing.partitions is not None:
        told["partitions"] = state.standing.partitions
    return told


def _degraded(
    desired: Desired, spec: EventSourceSpec, live: Sequence[SourceState], runners: Runners
) -> list[Condition]:
    """Tell what is not as it should be while the source is being read all the same."""
    texts = shortfalls(desired, spec, runners)
    reason = Reason.UNSUPPORTED if runners.no_pods else Reason.CONNECTOR_FAILED
    failing = [state for state in live if state.standing.state is ConnectionState.FAILING]
    if failing and _any(live, ConnectionState.CONNECTED):
        reason = _reason(failing[0]) if not texts else reason
        texts += [f"{state.holder}: {state.standing.message}" for state in failing[:3]]
    if not texts:
        return []
    return [
        Condition(
            type=ConditionType.DEGRADED,
            status=ConditionStatus.TRUE,
            reason=reason,
            message="; ".join(texts),
            observed_generation=desired.generation,
        )
    ]


def _any(states: Sequence[SourceState], wanted: ConnectionState) -> bool:
    return any(state.standing.state is wanted for state in states)


def _reason(state: SourceState) -> Reason:
    try:
        return Reason(state.standing.reason or "")
    except ValueError:  # of a connector of another version
        return Reason.CONNECTOR_FAILED
