"""What each flow element does: one reader a tag."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from taskloom.engines.embedded import model
from taskloom.engines.embedded.expressions import Expression
from taskloom.engines.embedded.extensions import check_extensions, read_mapped
from taskloom.engines.embedded.iso8601 import due_after, first_of_cycle, parse_date
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    extension_attribute,
    extension_elements,
    local_name,
    text_of,
)

_OWNER = {kind: re.compile(rf"{kind}\(\s*(.*?)\s*\)") for kind in ("user", "group")}
_STARTED_BY_KEY = frozenset({"messageEventDefinition", "signalEventDefinition"})
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BpmnError:
    """A ``<bpmn:error>`` of the file."""

    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the readers share."""

    problems: Problems
    errors: Mapping[str, BpmnError]


Reader = Callable[[Element, str, Reading], model.Work | None]


def read_work(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    """Read what a flow element does; None, with a problem noted, if that is not supported."""
    tag = local_name(element)
    reader = _READERS.get(tag)
    if reader is None:
        reading.problems.add(element_id, f"{tag} is not supported")
        return None
    return reader(element, element_id, reading)


def _start(element: Element, element_id: str, reading: Reading) -> model.Work:
    # a process is started by its key: as on Camunda its message or signal is then not asked for
    parent = element.getparent()
    outermost = parent is not None and local_name(parent) == "process"
    for definition in event_definitions(element):
        check_extensions(definition, element_id, reading.problems)
        if not outermost or local_name(definition) not in _STARTED_BY_KEY:
            reading.problems.add(
                element_id, f"a start event with {local_name(definition)} is not supported"
            )
    return model.PassThrough()


def _external(element: Element, element_id: str, reading: Reading) -> model.Work:
    return _external_by(element, element_id, reading, local_name(element))


def _external_by(holder: Element, element_id: str, reading: Reading, what: str) -> model.Work:
    kind, topic = extension_attribute(holder, "type"), extension_attribute(holder, "topic")
    if kind != "external":
        reading.problems.add(
            element_id,
            f'{what} is supported with camunda:type="external" and a camunda:topic only',
        )
    elif topic is None:
        reading.problems.add(element_id, "camunda:topic is missing")
    return model.External(topic=reading.problems.expression(element_id, topic or ""))


def _user(element: Element, element_id: str, reading: Reading) -> model.Work:
    problems = reading.problems
    assignees, users, groups = _people(element)
    if bpmn_children(element, "performer") or len(assignees) > 1:
        problems.add(element_id, "it has several performers: use one camunda:assignee")
    if assignees and extension_attribute(element, "assignee") is not None:
        problems.add(element_id, "it has both a humanPerformer and a camunda:assignee")

    def one(name: str, check: Callable[[str], object] | None = None) -> Expression | None:
        return problems.optional(element_id, extension_attribute(element, name), check)

    def several(name: str, owners: Sequence[str]) -> tuple[Expression, ...]:
        parts = [*owners, *_split(extension_attribute(element, name) or "")]
        return tuple(problems.expression(element_id, part) for part in parts)

    documentation = [text_of(child) for child in bpmn_children(element, "documentation")]
    performer = problems.optional(element_id, assignees[0] if assignees else None)
    return model.UserWork(
        description=problems.optional(
            element_id, "\n\n".join(documentation) if documentation else None
        ),
        assignee=performer or one("assignee"),
        candidate_users=several("candidateUsers", users),
        candidate_groups=several("candidateGroups", groups),
        form_key=one("formKey"),
        due_date=one("dueDate", lambda text: read_due_date(text, _SOME_DAY)),
        priority=one("priority", int),
    )


def _people(element: Element) -> tuple[list[str], list[str], list[str]]:
    """Read whom BPMN's own elements name: performers, candidate users, candidate groups."""
    performers = _assigned(element, "humanPerformer")
    users, groups = [], []
    for owners in _assigned(element, "potentialOwner"):
        for owner in _split(owners):
            user, group = (_OWNER[kind].fullmatch(owner) for kind in ("user", "group"))
            if user:
                users.append(user[1])
            else:
                groups.append(group[1] if group else owner)
    return performers, users, groups


def _assigned(element: Element, tag: str) -> list[str]:
    return [
        text_of(expression)
        for person in bpmn_children(element, tag)
        for assignment in bpmn_children(person, "resourceAssignmentExpression")
        for expression in bpmn_children(assignment, "formalExpression")
        if text_of(expression)
    ]


def read_due_date(text: str, now: datetime) -> datetime:
    """Read a user task's due date: a date, or a duration from `now`; raises `ValueError`."""
    return due_after(text, now) if text.startswith("P") else parse_date(text)


def _call(element: Element, element_id: str, reading: Reading) -> model.Work:
    problems = reading.problems
    called = (element.get("calledElement") or "").strip()
    if not called:
        problems.add(element_id, "calledElement is missing")
    binding = extension_attribute(element, "calledElementBinding") or "latest"
    version = extension_attribute(element, "calledElementVersion")
    if binding not in set(model.Binding):
        problems.add(element_id, f'calledElementBinding="{binding}" is not supported')
        binding = model.Binding.LATEST
    if binding == model.Binding.VERSION and version is None:
        problems.add(element_id, "calledElementVersion is missing")
    keys = [
        key
        for child in extension_elements(element, "in")
        if (key := child.get("businessKey")) is not None
    ]
    return model.Call(
        called=problems.expression(element_id, called),
        binding=model.Binding(binding),
        version=problems.optional(element_id, version, int),
        business_key=problems.optional(element_id, keys[0] if keys else None),
        ins=read_mapped(element, element_id, "in", problems),
        outs=read_mapped(element, element_id, "out", problems),
    )


def _end(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = _only_definition(element, element_id, reading)
    if definition is None:
        return model.NoneEnd()
    match local_name(definition):
        case "terminateEventDefinition":
            return model.TerminateEnd()
        case "messageEventDefinition":
            return _external_by(definition, element_id, reading, "a message end event")
        case "errorEventDefinition":
            error = _error(definition, reading)
            if error is None or not error.code:
                reading.problems.add(element_id, "it throws an error that has no errorCode")
                return None
            message = reading.problems.optional(element_id, error.message)
            return model.ErrorEnd(code=error.code, message=message)
        case name:
            reading.problems.add(element_id, f"an end event with {name} is not supported")
            return None


def _throw(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = _only_definition(element, element_id, reading)
    if definition is None:
        return model.PassThrough()
    if local_name(definition) == "messageEventDefinition":
        return _external_by(definition, element_id, reading, "a message throw event")
    reading.problems.add(element_id, f"throwing {local_name(definition)} is not supported")
    return None


def _catch(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = _only_definition(element, element_id, reading)
    if definition is not None and local_name(definition) == "timerEventDefinition":
        kind, value = _timer(definition, element_id, reading)
        return model.TimerCatch(kind=kind, value=value)
    name = "no event definition" if definition is None else local_name(definition)
    reading.problems.add(element_id, f"catching {name} is not supported")
    return None


def _boundary(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = _only_definition(element, element_id, reading)
    attached_to = element.get("attachedToRef") or ""
    if element.get("cancelActivity") == "false":
        reading.problems.add(element_id, "a non-interrupting boundary event is not supported")
    match local_name(definition) if definition is not None else "no event definition":
        case "timerEventDefinition" if definition is not None:
            kind, value = _timer(definition, element_id, reading)
            return model.TimerBoundary(attached_to=attached_to, kind=kind, value=value)
        case "errorEventDefinition" if definition is not None:
            error = _error(definition, reading)
            return model.ErrorBoundary(
                attached_to=attached_to,
                code=None if error is None else error.code or None,
                code_variable=extension_attribute(definition, "errorCodeVariable"),
                message_variable=extension_attribute(definition, "errorMessageVariable"),
            )
        case name:
            reading.problems.add(element_id, f"a boundary event with {name} is not supported")
            return None


def _timer(
    definition: Element, element_id: str, reading: Reading
) -> tuple[model.TimerKind, Expression]:
    values = bpmn_children(definition, *model.TimerKind)
    if len(values) != 1:
        reading.problems.add(
            element_id, "a timer needs one of timeDate, timeDuration and timeCycle"
        )
        return model.TimerKind.DATE, reading.problems.expression(element_id, "")
    kind = model.TimerKind(local_name(values[0]))
    expression = reading.problems.expression(
        element_id, text_of(values[0]), lambda text: due_at(kind, text, _SOME_DAY)
    )
    return kind, expression


def due_at(kind: model.TimerKind, text: str, now: datetime) -> datetime:
    """Give the time at which a timer that is set `now` fires; raises `ValueError`."""
    match kind:
        case model.TimerKind.DATE:
            return parse_date(text)
        case model.TimerKind.DURATION:
            return due_after(text, now)
        case model.TimerKind.CYCLE:
            return first_of_cycle(text, now)


def _error(definition: Element, reading: Reading) -> BpmnError | None:
    reference = definition.get("errorRef")
    if not reference:
        return None
    error = reading.errors.get(reference.rpartition(":")[2])
    # as on Camunda, a reference that names no error of the file is a code itself
    return error or BpmnError(code=reference, message=None)


def event_definitions(element: Element) -> list[Element]:
    """List what an event waits for or does."""
    return [c for c in bpmn_children(element) if local_name(c).endswith(("Definition", "nRef"))]


def _only_definition(element: Element, element_id: str, reading: Reading) -> Element | None:
    definitions = event_definitions(element)
    for definition in definitions:
        check_extensions(definition, element_id, reading.problems)
    if len(definitions) > 1:
        reading.problems.add(element_id, "an event with several definitions is not supported")
    return definitions[0] if definitions else None


def _split(text: str) -> list[str]:
    # commas part the list, but not those inside of ${…}
    parts = re.findall(r"(?:[$#]\{[^}]*\}|[^,])+", text)
    return [part.strip() for part in parts if part.strip()]


_READERS: Mapping[str, Reader] = {
    "task": lambda *_: model.PassThrough(),
    "manualTask": lambda *_: model.PassThrough(),
    "userTask": _user,
    "serviceTask": _external,
    "sendTask": _external,
    "businessRuleTask": _external,
    "callActivity": _call,
    "startEvent": _start,
    "endEvent": _end,
    "intermediateThrowEvent": _throw,
    "intermediateCatchEvent": _catch,
    "boundaryEvent": _boundary,
    "exclusiveGateway": lambda *_: model.Exclusive(),
    "parallelGateway": lambda *_: model.Parallel(),
    "inclusiveGateway": lambda *_: model.Inclusive(feeders=frozenset()),
}
