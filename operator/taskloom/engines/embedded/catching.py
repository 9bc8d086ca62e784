"""What catches a BPMN error or an escalation: searched from where it is thrown, outwards."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from taskloom.engines.embedded.events import ErrorEvent, EscalationEvent
from taskloom.engines.embedded.model import (
    Boundary,
    EventSubProcess,
    Node,
    Process,
    SubProcess,
)
from taskloom.engines.embedded.state import ROOT, Activity


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """The boundary event or event sub-process that catches, at this activity or in this scope."""

    node: Node
    event: ErrorEvent | EscalationEvent
    at: str
    interrupting: bool


def find_catching(
    process: Process,
    activities: Mapping[str, Activity],
    at: str,
    kind: type[ErrorEvent | EscalationEvent],
    code: str,
) -> Caught | None:
    """Find what catches `code` thrown in the activity or scope `at`; None if nothing does.

    At each level, event sub-processes go before boundary events and an event's own code goes first.
    An event sub-process does not catch what is thrown within itself.
    """
    for place, names in _outwards(process, activities, at):
        found = list(_matching((process.nodes[name] for name in names), kind, place))
        for wanted in (code, None):
            for caught in found:
                if caught.event.code == wanted:
                    return caught
    return None


def handlers_of(process: Process, node: Node | None) -> tuple[str, ...]:
    """Name the event sub-processes in a node's scope, or in the process's for None."""
    if node is None:
        return process.handlers
    return node.work.handlers if isinstance(node.work, SubProcess | EventSubProcess) else ()


def _outwards(
    process: Process, activities: Mapping[str, Activity], at: str
) -> Iterator[tuple[str, Iterable[str]]]:
    """Give the places that could catch, the inner ones first, with the events there."""
    came_from = None
    while at != ROOT and at in activities:
        activity = activities[at]
        node = process.nodes[activity.element]
        yield at, [name for name in handlers_of(process, node) if name != came_from]
        yield at, node.boundary
        at, came_from = activity.parent, activity.element
    yield ROOT, [name for name in process.handlers if name != came_from]


def _matching(
    nodes: Iterable[Node], kind: type[ErrorEvent | EscalationEvent], at: str
) -> Iterator[Caught]:
    for node in nodes:
        work = node.work
        assert isinstance(work, Boundary | EventSubProcess)
        if isinstance(work.event, ErrorEvent | EscalationEvent) and isinstance(work.event, kind):
            yield Caught(node=node, event=work.event, at=at, interrupting=work.interrupting)
