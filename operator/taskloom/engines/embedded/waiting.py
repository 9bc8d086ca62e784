"""What an activity waits for besides its own work: events that come as messages, signals, timers.

An activity waits for its boundary events, for those of the event sub-processes in it, and as a
catch event or event-based gateway for its own; the process for those of its event sub-processes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from taskloom.engines.embedded.catching import handlers_of
from taskloom.engines.embedded.effects import Effects
from taskloom.engines.embedded.evaluation import Place, evaluate_due, evaluate_text
from taskloom.engines.embedded.events import Awaited, MessageEvent, SignalEvent, TimerEvent
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.flows import naming
from taskloom.engines.embedded.iso8601 import next_of_cycle
from taskloom.engines.embedded.model import (
    Boundary,
    Catch,
    EventGateway,
    EventSubProcess,
    Node,
    Process,
    SubProcess,
)
from taskloom.engines.embedded.state import Fire, NewSubscription, NewTimer, SubscriptionKind

_OWN = (Catch, EventGateway, SubProcess, EventSubProcess)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One event that is waited for: `element` is the catch, boundary or start event's id."""

    element: str
    node: Node
    event: Awaited
    repeats: bool  # it may come again and again


def waits_of(process: Process, node: Node | None) -> Iterator[Wait]:
    """List what an activity of this node waits for, or the process for None."""
    if node is not None:
        if not node.boundary and not isinstance(node.work, _OWN):
            return  # as most nodes
        if isinstance(node.work, Catch):
            yield Wait(element=node.id, node=node, event=node.work.event, repeats=False)
        if isinstance(node.work, EventGateway):
            for target in node.work.targets:
                yield from waits_of(process, process.nodes[target])
        for name in node.boundary:
            event = process.nodes[name]
            work = event.work
            if isinstance(work, Boundary) and isinstance(work.event, Awaited):
                repeats = not work.interrupting
                yield Wait(element=event.id, node=event, event=work.event, repeats=repeats)
    for name in handlers_of(process, node):
        event = process.nodes[name]
        work = event.work
        if isinstance(work, EventSubProcess) and isinstance(work.event, Awaited):
            repeats = not work.interrupting
            yield Wait(element=work.start, node=event, event=work.event, repeats=repeats)


def arm(effects: Effects, key: str, waits: Iterable[Wait], place: Callable[[Node], Place]) -> None:
    """Set the timers and subscriptions of an activity, or of the process by the instance's id.

    Raises `Unprocessable` naming the event whose time or name cannot be computed.
    """
    for wait in waits:
        with naming(wait.node):
            match wait.event:
                case TimerEvent() as timer:
                    due, repeat = evaluate_due(timer, place(wait.node), repeats=wait.repeats)
                    effects.timers.setdefault(key, []).append(
                        NewTimer(activity_id=key, element=wait.element, due_at=due, repeat=repeat)
                    )
                case MessageEvent(name=name):
                    kind = SubscriptionKind.MESSAGE
                    _subscribe(effects, key, wait, kind, evaluate_text(name, place(wait.node)))
                case SignalEvent(name=name):
                    kind = SubscriptionKind.SIGNAL
                    _subscribe(effects, key, wait, kind, evaluate_text(name, place(wait.node)))


def rearm(effects: Effects, fired: Fire, place: Place) -> None:
    """Set a timer that has fired for its next time, if there is one."""
    if fired.repeat is None:
        return
    try:
        due = next_of_cycle(fired.repeat, place.now)
    except ValueError as exc:
        raise ExpressionError(str(exc)) from exc
    if due is not None:
        key = fired.activity_id
        effects.timers.setdefault(key, []).append(
            NewTimer(activity_id=key, element=fired.element, due_at=due, repeat=fired.repeat)
        )


def hears(wait: Wait, name: str, place: Place) -> bool:
    """Tell whether a signal of this name is waited for."""
    if not isinstance(wait.event, SignalEvent):
        return False
    try:
        return evaluate_text(wait.event.name, place) == name
    except ExpressionError:
        return False  # its name could be computed when it began to wait


def _subscribe(
    effects: Effects, key: str, wait: Wait, kind: SubscriptionKind, name: str | None
) -> None:
    if not name:
        raise ExpressionError(f"the {kind} it waits for has no name")
    effects.subscriptions.setdefault(key, []).append(
        NewSubscription(activity_id=key, element=wait.element, kind=kind, name=name)
    )
