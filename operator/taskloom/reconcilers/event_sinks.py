"""EventSink objects into event_sinks rows."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import ConnectionState, SinkState
from taskloom.domain.sources import EventSink as Row
from taskloom.reconcilers.broker_secrets import broker_secrets
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression
from taskloom.reconcilers.runners import HTTP_ONLY, Runners
from taskloom.reconcilers.settle import Plan, Want, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed, programmed_only, unsupported
from taskloom.resources.event_sink import EventSink

NO_STATES: Mapping[UUID, SinkState] = MappingProxyType({})


def plan_event_sinks(
    world: World,
    rows: Sequence[Row],
    runners: Runners = HTTP_ONLY,
    states: Mapping[UUID, SinkState] = NO_STATES,
) -> Plan[Row]:
    """Decide; `runners` is what this installation produces with, `states` what those tell.

    A sink that is suspended need not be of a kind that it can produce to.
    """

    def make(desired: Desired, sink: EventSink) -> tuple[Row, Verdict]:
        spec = sink.spec
        check_expression(spec.filter, "spec.filter")
        if spec.kafka is not None:
            check_expression(spec.kafka.key, "spec.kafka.key")
        secrets = broker_secrets(world, desired.namespace, spec)
        row = Row(
            id=desired.id,
            kind=spec.type,
            spec=spec.model_dump(by_alias=True, mode="json", exclude_none=True),
            event_keys=spec.event_keys,
            filter=spec.filter,
            secrets=secrets,
            suspended=spec.suspend,
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        return row, _told_of_sink(desired, row, runners, states.get(row.id))

    wants: list[Want[Row]] = [
        want(desired, partial(make, desired, sink)) for desired, sink in world.of(EventSink)
    ]
    return settle(world, wants, rows, claim_of=lambda _row: None)


def _told_of_sink(desired: Desired, row: Row, runners: Runners, state: SinkState | None) -> Verdict:
    """Tell how a sink stands, as who produces to it tells."""
    fields = {"sinkId": str(row.id), "type": row.kind}
    if row.suspended:
        return programmed(desired, fields, suspended=True)
    if row.kind not in runners.sinks:
        return unsupported(desired, f"this installation has no connector for {row.kind}", fields)
    if state is None or state.holder is None:
        message = "no process with the role dispatcher produces to it yet"
        return programmed_only(desired, Reason.PENDING, message, fields)
    if state.standing.state is ConnectionState.CONNECTED:
        return programmed(desired, fields)
    if state.standing.state is ConnectionState.FAILING:
        return programmed_only(desired, _reason(state), state.standing.message, fields)
    return programmed_only(desired, Reason.PENDING, "its connector is starting", fields)


def _reason(state: SinkState) -> Reason:
    try:
        return Reason(state.standing.reason or "")
    except ValueError:  # of a connector of another version
        return Reason.CONNECTOR_FAILED
