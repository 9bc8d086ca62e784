"""EventSink objects into event_sinks rows."""

from collections.abc import Sequence
from functools import partial

from taskloom.domain.sources import EventSink as Row
from taskloom.reconcilers.broker_secrets import broker_secrets
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression
from taskloom.reconcilers.settle import Plan, Want, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed, unsupported
from taskloom.resources.event_sink import EventSink

NONE: frozenset[str] = frozenset()


def plan_event_sinks(
    world: World, rows: Sequence[Row], producers: frozenset[str] = NONE
) -> Plan[Row]:
    """Decide; `producers` are the kinds of sink that this installation can produce to.

    A sink that is suspended need not be one of them.
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
        fields = {"sinkId": str(row.id), "type": row.kind}
        verdict = programmed(desired, fields, suspended=spec.suspend)
        if not spec.suspend and row.kind not in producers:
            message = f"this installation has no connector for {row.kind}"
            verdict = unsupported(desired, message, fields)
        return row, verdict

    wants: list[Want[Row]] = [
        want(desired, partial(make, desired, sink)) for desired, sink in world.of(EventSink)
    ]
    return settle(world, wants, rows, claim_of=lambda _row: None)
