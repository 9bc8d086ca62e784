"""EventSink objects: described, but no connector produces yet."""

from taskloom.errors import Invalid
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, invalid, unsupported
from taskloom.resources.event_sink import EventSink


def plan_event_sinks(world: World) -> dict[Key, Verdict]:
    """Say of each what is true: nothing is produced to it."""
    return {desired.key: _verdict(desired, sink) for desired, sink in world.of(EventSink)}


def _verdict(desired: Desired, sink: EventSink) -> Verdict:
    kind = "kafka" if sink.spec.kafka is not None else "sqs"
    try:
        check_expression(sink.spec.filter, "spec.filter")
        if sink.spec.kafka is not None:
            check_expression(sink.spec.kafka.key, "spec.kafka.key")
    except Invalid as error:
        return invalid(desired, f"{error.field}: {error.message}")
    message = f"this installation has no connector for {kind}"
    return unsupported(desired, message, {"type": kind})
