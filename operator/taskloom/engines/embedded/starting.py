"""Reads start events: where a process or a sub-process begins, and by what."""

from collections.abc import Sequence

from taskloom.engines.embedded.event_definitions import (
    Reading,
    event_definitions,
    only_definition,
    read_event,
)
from taskloom.engines.embedded.events import (
    ErrorEvent,
    EscalationEvent,
    Event,
    MessageEvent,
    SignalEvent,
    TimerEvent,
)
from taskloom.engines.embedded.model import Start
from taskloom.engines.embedded.reading import Element, extension_attribute, local_name

_Found = Sequence[tuple[str, Element]]


def read_starts(found: _Found, process_id: str, reading: Reading) -> tuple[Start, ...]:
    """Read the start events of a process.

    As on Camunda, one of them at most is without an event or of a timer.
    """
    starts = tuple(
        Start(
            element=element_id,
            event=_begun_by(element, element_id, reading),
            initiator=extension_attribute(element, "initiator"),
        )
        for element_id, element in found
    )
    if not starts:
        reading.problems.add(process_id, "it has no start events: it needs one")
    alone = [each for each in starts if each.event is None or isinstance(each.event, TimerEvent)]
    if len(alone) > 1:
        reading.problems.add(
            process_id,
            f"it has {len(alone)} start events without an event or of a timer: keep one",
        )
    awaited = [each.event for each in starts if isinstance(each.event, MessageEvent | SignalEvent)]
    if len(set(awaited)) < len(awaited):
        reading.problems.add(
            process_id, "several of its start events wait for the same message or signal"
        )
    return starts


def choose_start(starts: Sequence[Start]) -> str | None:
    """Choose where a process begins that is started by its key.

    As on Camunda it is the start event without an event or of a timer, else the only one.
    """
    for start in starts:
        if start.event is None or isinstance(start.event, TimerEvent):
            return start.element
    return starts[0].element if len(starts) == 1 else None


def read_sub_start(found: _Found, scope_id: str, reading: Reading) -> str:
    """Find where a sub-process begins."""
    if len(found) != 1:
        reading.problems.add(scope_id, f"it has {len(found) or 'no'} start events: it needs one")
    for element_id, element in found:
        for definition in event_definitions(element):
            reading.problems.add(
                element_id,
                f"a start event with {local_name(definition)} is not supported in a sub-process",
            )
    return found[0][0] if found else ""


def read_event_start(
    found: _Found, scope_id: str, reading: Reading
) -> tuple[str, Event, bool] | None:
    """Read where an event sub-process begins, by what, and whether that interrupts."""
    if len(found) != 1:
        reading.problems.add(scope_id, f"it has {len(found) or 'no'} start events: it needs one")
        return None
    element_id, element = found[0]
    definition = only_definition(element, element_id, reading)
    event = None if definition is None else read_event(definition, element_id, reading)
    if event is None:
        name = "no event definition" if definition is None else local_name(definition)
        reading.problems.add(
            element_id, f"an event sub-process that begins with {name} is not supported"
        )
        return None
    interrupting = element.get("isInterrupting") != "false"
    if isinstance(event, ErrorEvent) and not interrupting:
        reading.problems.add(element_id, "an event sub-process of an error must interrupt")
    return element_id, event, interrupting


def _begun_by(
    element: Element, element_id: str, reading: Reading
) -> MessageEvent | SignalEvent | TimerEvent | None:
    definition = only_definition(element, element_id, reading)
    if definition is None:
        return None
    event = read_event(definition, element_id, reading)
    if event is None or isinstance(event, ErrorEvent | EscalationEvent):
        reading.problems.add(
            element_id, f"a start event with {local_name(definition)} is not supported"
        )
        return None
    if isinstance(event, MessageEvent | SignalEvent) and event.name.literal is None:
        kind = "message" if isinstance(event, MessageEvent) else "signal"
        reading.problems.add(
            element_id, f"the {kind} of a start event has a name that is an expression"
        )
    return event
