"""Reads event definitions: what an event waits for, with the names the file gives elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from taskloom.engines.embedded.events import (
    ErrorEvent,
    EscalationEvent,
    Event,
    MessageEvent,
    SignalEvent,
    TimerEvent,
    TimerKind,
)
from taskloom.engines.embedded.expressions import Expression
from taskloom.engines.embedded.extensions import check_extensions
from taskloom.engines.embedded.iso8601 import due_after, first_of_cycle, parse_date
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    extension_attribute,
    local_name,
    text_of,
)

SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
"""A day on which times that are written out are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BpmnError:
    """A ``<bpmn:error>`` of the file."""

    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the readers share: the problems so far, and what stands beside the process."""

    problems: Problems
    errors: Mapping[str, BpmnError]
    messages: Mapping[str, str]  # their names by id
    signals: Mapping[str, str]
    escalations: Mapping[str, str]  # their codes by id


def read_beside(root: Element, problems: Problems) -> Reading:
    """Read the errors, messages, signals and escalations that a file declares."""
    return Reading(
        problems=problems,
        errors={
            error.get("id") or "": BpmnError(
                code=(error.get("errorCode") or "").strip() or None,
                message=extension_attribute(error, "errorMessage"),
            )
            for error in bpmn_children(root, "error")
        },
        messages=_named(root, "message", "name"),
        signals=_named(root, "signal", "name"),
        escalations=_named(root, "escalation", "escalationCode"),
    )


def _named(root: Element, tag: str, attribute: str) -> dict[str, str]:
    return {
        each.get("id") or "": (each.get(attribute) or "").strip()
        for each in bpmn_children(root, tag)
    }


def event_definitions(element: Element) -> list[Element]:
    """List what an event waits for or does."""
    return [c for c in bpmn_children(element) if local_name(c).endswith(("Definition", "nRef"))]


def only_definition(element: Element, element_id: str, reading: Reading) -> Element | None:
    """Give an event's definition, None if it has none; several are a problem."""
    definitions = event_definitions(element)
    for definition in definitions:
        check_extensions(definition, element_id, reading.problems)
    if len(definitions) > 1:
        reading.problems.add(element_id, "an event with several definitions is not supported")
    return definitions[0] if definitions else None


def read_event(definition: Element, element_id: str, reading: Reading) -> Event | None:
    """Read what is waited for; None if it is something that nothing here can wait for."""
    reader = _READERS.get(local_name(definition))
    return None if reader is None else reader(definition, element_id, reading)


def read_message(holder: Element, element_id: str, reading: Reading) -> MessageEvent:
    """Read the message that a definition, or a receive task, names."""
    name = _refer(holder, "message", element_id, reading)
    return MessageEvent(name=reading.problems.expression(element_id, name))


def read_signal(definition: Element, element_id: str, reading: Reading) -> SignalEvent:
    """Read the signal that a definition names."""
    name = _refer(definition, "signal", element_id, reading)
    return SignalEvent(name=reading.problems.expression(element_id, name))


def read_escalation_code(definition: Element, element_id: str, reading: Reading) -> str:
    """Read the code of the escalation that is thrown."""
    return _refer(definition, "escalation", element_id, reading)


def read_error(definition: Element, reading: Reading) -> BpmnError | None:
    """Read the error that a definition names, if it names one."""
    reference = definition.get("errorRef")
    if not reference:
        return None
    error = reading.errors.get(_local(reference))
    # as on Camunda, a reference that names no error of the file is a code itself
    return error or BpmnError(code=reference, message=None)


def read_timer(definition: Element, element_id: str, reading: Reading) -> TimerEvent:
    """Read when a timer fires."""
    values = bpmn_children(definition, *TimerKind)
    if len(values) != 1:
        reading.problems.add(
            element_id, "a timer needs one of timeDate, timeDuration and timeCycle"
        )
        return TimerEvent(kind=TimerKind.DATE, value=Expression("", ("",)))
    kind = TimerKind(local_name(values[0]))
    expression = reading.problems.expression(
        element_id, text_of(values[0]), lambda text: due_at(kind, text, SOME_DAY)
    )
    return TimerEvent(kind=kind, value=expression)


def due_at(kind: TimerKind, text: str, now: datetime) -> datetime:
    """Give the time at which a timer that is set `now` fires; raises `ValueError`."""
    match kind:
        case TimerKind.DATE:
            return parse_date(text)
        case TimerKind.DURATION:
            return due_after(text, now)
        case TimerKind.CYCLE:
            return first_of_cycle(text, now)


def _error_event(definition: Element, reading: Reading) -> ErrorEvent:
    error = read_error(definition, reading)
    return ErrorEvent(
        code=None if error is None else error.code or None,
        code_variable=extension_attribute(definition, "errorCodeVariable"),
        message_variable=extension_attribute(definition, "errorMessageVariable"),
    )


def _escalation_event(definition: Element, element_id: str, reading: Reading) -> EscalationEvent:
    reference = definition.get("escalationRef")
    if reference and _local(reference) not in reading.escalations:
        reading.problems.add(
            element_id, f"its escalationRef {reference!r} names no escalation of the file"
        )
    return EscalationEvent(
        code=reading.escalations.get(_local(reference or "")) or None,
        code_variable=extension_attribute(definition, "escalationCodeVariable"),
    )


def _refer(holder: Element, kind: str, element_id: str, reading: Reading) -> str:
    """Follow a reference to the name, or an escalation's code, that it must lead to."""
    declared, what = {
        "message": (reading.messages, "name"),
        "signal": (reading.signals, "name"),
        "escalation": (reading.escalations, "escalationCode"),
    }[kind]
    reference = holder.get(f"{kind}Ref")
    value = ""
    if not reference:
        reading.problems.add(element_id, f"{kind}Ref is missing: say which {kind} is meant")
    elif _local(reference) not in declared:
        reading.problems.add(element_id, f"its {kind}Ref {reference!r} names no {kind} of the file")
    else:
        value = declared[_local(reference)]
        if not value:
            reading.problems.add(element_id, f"the {kind} {reference!r} has no {what}")
    return value


def _local(reference: str) -> str:
    return reference.rpartition(":")[2]


_READERS: Mapping[str, Callable[[Element, str, Reading], Event]] = {
    "messageEventDefinition": read_message,
    "signalEventDefinition": read_signal,
    "timerEventDefinition": read_timer,
    "errorEventDefinition": lambda definition, _, reading: _error_event(definition, reading),
    "escalationEventDefinition": _escalation_event,
}
