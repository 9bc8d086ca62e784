"""What each flow element does: one reader a tag."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from taskloom.engines.embedded import model
from taskloom.engines.embedded.event_definitions import (
    SOME_DAY,
    Reading,
    only_definition,
    read_error,
    read_escalation_code,
    read_event,
    read_message,
    read_signal,
)
from taskloom.engines.embedded.events import (
    ErrorEvent,
    MessageEvent,
    SignalEvent,
    TimerEvent,
)
from taskloom.engines.embedded.expressions import Expression
from taskloom.engines.embedded.extensions import check_extensions, read_mapped
from taskloom.engines.embedded.iso8601 import due_after, parse_date
from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    extension_attribute,
    extension_elements,
    local_name,
    text_of,
)

# Camunda passes over these: what they say would not happen
_NOT_COLLECTED = frozenset({"complexBehaviorDefinition", "loopDataOutputRef", "outputDataItem"})
_OWNER = {kind: re.compile(rf"{kind}\(\s*(.*?)\s*\)") for kind in ("user", "group")}

Reader = Callable[[Element, str, Reading], model.Work | None]


def read_work(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    """Read what a flow element does; None, with a problem noted, if that is not supported."""
    tag = local_name(element)
    reader = _READERS.get(tag)
    if reader is None:
        reading.problems.add(element_id, f"{tag} is not supported")
        return None
    return reader(element, element_id, reading)


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
        due_date=one("dueDate", lambda text: read_due_date(text, SOME_DAY)),
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


def _receive(element: Element, element_id: str, reading: Reading) -> model.Work:
    _refuse_instantiating(element, element_id, reading)
    return model.Catch(event=read_message(element, element_id, reading))


def _event_gateway(element: Element, element_id: str, reading: Reading) -> model.Work:
    _refuse_instantiating(element, element_id, reading)
    if element.get("eventGatewayType") == "Parallel":
        reading.problems.add(element_id, "a parallel event-based gateway is not supported")
    return model.EventGateway(targets=())


def _refuse_instantiating(element: Element, element_id: str, reading: Reading) -> None:
    if element.get("instantiate") == "true":
        reading.problems.add(element_id, "it starts a process: use a start event")


def _end(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = only_definition(element, element_id, reading)
    if definition is None:
        return model.NoneEnd()
    match local_name(definition):
        case "terminateEventDefinition":
            return model.TerminateEnd()
        case "messageEventDefinition":
            return _external_by(definition, element_id, reading, "a message end event")
        case "errorEventDefinition":
            error = read_error(definition, reading)
            if error is None or not error.code:
                reading.problems.add(element_id, "it throws an error that has no errorCode")
                return None
            message = reading.problems.optional(element_id, error.message)
            return model.ErrorEnd(code=error.code, message=message)
        case name:
            thrown = _thrown(definition, element_id, reading)
            if thrown is None:
                reading.problems.add(element_id, f"an end event with {name} is not supported")
            return thrown


def _throw(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = only_definition(element, element_id, reading)
    if definition is None:
        return model.PassThrough()
    match local_name(definition):
        case "messageEventDefinition":
            return _external_by(definition, element_id, reading, "a message throw event")
        case "linkEventDefinition":
            return model.LinkThrow(link=_link(definition, element_id, reading))
        case name:
            thrown = _thrown(definition, element_id, reading)
            if thrown is None:
                reading.problems.add(element_id, f"throwing {name} is not supported")
            return thrown


def _thrown(definition: Element, element_id: str, reading: Reading) -> model.Work | None:
    match local_name(definition):
        case "signalEventDefinition":
            if any(child.get("businessKey") for child in extension_elements(definition, "in")):
                reading.problems.add(element_id, "a signal carries no business key")
            return model.Signal(
                name=read_signal(definition, element_id, reading).name,
                ins=read_mapped(definition, element_id, "in", reading.problems),
            )
        case "escalationEventDefinition":
            return model.Escalation(code=read_escalation_code(definition, element_id, reading))
    return None


def _link(definition: Element, element_id: str, reading: Reading) -> str:
    name = (definition.get("name") or "").strip()
    if not name:
        reading.problems.add(element_id, "its link has no name")
    return name


def _catch(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = only_definition(element, element_id, reading)
    if definition is not None:
        if local_name(definition) == "linkEventDefinition":
            return model.LinkCatch(link=_link(definition, element_id, reading))
        event = read_event(definition, element_id, reading)
        if isinstance(event, MessageEvent | SignalEvent | TimerEvent):
            return model.Catch(event=event)
    name = "no event definition" if definition is None else local_name(definition)
    reading.problems.add(element_id, f"catching {name} is not supported")
    return None


def _boundary(element: Element, element_id: str, reading: Reading) -> model.Work | None:
    definition = only_definition(element, element_id, reading)
    interrupting = element.get("cancelActivity") != "false"
    event = None if definition is None else read_event(definition, element_id, reading)
    if event is None:
        name = "no event definition" if definition is None else local_name(definition)
        reading.problems.add(element_id, f"a boundary event with {name} is not supported")
        return None
    if isinstance(event, ErrorEvent) and not interrupting:
        reading.problems.add(element_id, "a non-interrupting error boundary event is not supported")
    return model.Boundary(
        attached_to=element.get("attachedToRef") or "", event=event, interrupting=interrupting
    )


def read_loop(element: Element, element_id: str, reading: Reading) -> model.MultiInstance | None:
    """Read how often an activity is done, None if it is done once."""
    problems = reading.problems
    for marker in bpmn_children(element, "multiInstanceLoopCharacteristics"):
        check_extensions(marker, element_id, problems)
        parts = {local_name(child): child for child in bpmn_children(marker)}
        for name in sorted(_NOT_COLLECTED & parts.keys()):
            problems.add(element_id, f"{name} of its multi-instance is not supported")
        collection = extension_attribute(marker, "collection")
        if collection is None and "loopDataInputRef" in parts:
            collection = text_of(parts["loopDataInputRef"])
        item = extension_attribute(marker, "elementVariable")
        if item is None and "inputDataItem" in parts:
            item = parts["inputDataItem"].get("name")
        if "loopCardinality" not in parts and not collection:
            problems.add(element_id, "its multi-instance has no loopCardinality and no collection")
        if collection and "{" not in collection:
            collection = f"${{{collection}}}"  # a variable's name
        return model.MultiInstance(
            inner=element_id,
            sequential=marker.get("isSequential") == "true",
            cardinality=_computed(parts.get("loopCardinality"), element_id, reading, _whole),
            collection=problems.optional(element_id, collection or None),
            item=item or None,
            until=_computed(parts.get("completionCondition"), element_id, reading),
        )
    return None


def _whole(text: str) -> None:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text[:80]!r} is no whole number")


def _computed(
    element: Element | None,
    element_id: str,
    reading: Reading,
    check: Callable[[str], object] | None = None,
) -> Expression | None:
    if element is None:
        return None
    return reading.problems.expression(element_id, text_of(element), check)


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
    "startEvent": lambda *_: model.PassThrough(),
    "receiveTask": _receive,
    "endEvent": _end,
    "intermediateThrowEvent": _throw,
    "intermediateCatchEvent": _catch,
    "boundaryEvent": _boundary,
    "eventBasedGateway": _event_gateway,
    "exclusiveGateway": lambda *_: model.Exclusive(),
    "parallelGateway": lambda *_: model.Parallel(),
    "inclusiveGateway": lambda *_: model.Inclusive(feeders=frozenset()),
}
