"""From a BPMN file to a `Process`, or to the list of everything in it that cannot be deployed."""

from dataclasses import dataclass, field

from taskloom.engines.embedded import model
from taskloom.engines.embedded.elements import (
    BpmnError,
    Reading,
    event_definitions,
    read_work,
)
from taskloom.engines.embedded.extensions import check_extensions, read_parameters
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    extension_attribute,
    is_bpmn,
    local_name,
    read_xml,
    text_of,
)
from taskloom.engines.embedded.wiring import wire

_MAX_NESTING = 20
# what may stand beside flow elements and changes nothing
_ASIDE = frozenset(
    {
        "association", "auditing", "dataInputAssociation", "dataObject", "dataObjectReference",
        "dataOutputAssociation", "dataStoreReference", "documentation", "extensionElements",
        "group", "incoming", "ioSpecification", "laneSet", "monitoring", "outgoing", "property",
        "rendering", "supports", "textAnnotation",
    }
)  # fmt: skip
_REFUSED_INSIDE = {
    "multiInstanceLoopCharacteristics": "multi-instance is not supported",
    "standardLoopCharacteristics": "a loop marker is not supported",
}


@dataclass(slots=True)
class _Draft:
    """What has been found so far."""

    reading: Reading
    nodes: dict[str, model.Node] = field(default_factory=dict)
    flows: list[tuple[str, model.Flow]] = field(default_factory=list)  # with their scope
    ids: set[str] = field(default_factory=set)


def parse_bpmn(bpmn: bytes) -> model.Process:
    """Read the one executable process of a BPMN file.

    Raises `TooLarge`, or `Unprocessable` naming each element that is not supported and why.
    """
    root = read_xml(bpmn)
    problems = Problems()
    errors = {
        error.get("id") or "": BpmnError(
            code=(error.get("errorCode") or "").strip() or None,
            message=extension_attribute(error, "errorMessage"),
        )
        for error in bpmn_children(root, "error")
    }
    element = _choose_process(root, problems)
    draft = _Draft(Reading(problems=problems, errors=errors))
    process_id = _id_of(element, draft)
    check_extensions(element, process_id, problems)
    start = _read_scope(element, process_id, draft, depth=0)
    nodes = wire(draft.nodes, draft.flows, problems)
    problems.raise_any()
    topics = (n.work.topic.literal for n in nodes.values() if isinstance(n.work, model.External))
    return model.Process(
        id=process_id,
        name=element.get("name"),
        start=start.id,
        initiator=start.initiator,
        nodes=nodes,
        topics=frozenset(topic for topic in topics if topic),
    )


def _choose_process(root: Element, problems: Problems) -> Element:
    processes = bpmn_children(root, "process")
    executable = [p for p in processes if (p.get("isExecutable") or "").strip() in {"true", "1"}]
    match executable:
        case [element]:
            return element
        case []:
            for process in processes:
                problems.add(process.get("id") or "process", 'isExecutable is not "true"')
            problems.add("definitions", "the file has no executable process")
        case _:
            for process in executable:
                problems.add(
                    process.get("id") or "process",
                    "the file has more than one executable process: leave one of them so",
                )
    problems.raise_any()
    raise AssertionError("a problem was noted")


@dataclass(frozen=True, slots=True)
class _Start:
    id: str = ""
    initiator: str | None = None
    plain: bool = True  # it waits for no event


def _read_scope(scope: Element, scope_id: str, draft: _Draft, depth: int) -> _Start:
    problems = draft.reading.problems
    if depth > _MAX_NESTING:
        problems.add(scope_id, f"sub-processes nest deeper than {_MAX_NESTING} levels")
        return _Start()
    starts = []
    for element in scope:
        tag = local_name(element)
        if not is_bpmn(element) or tag in _ASIDE:
            continue
        if tag in _REFUSED_INSIDE:
            problems.add(scope_id, _REFUSED_INSIDE[tag])
            continue
        if tag == "sequenceFlow":
            flow_id = _id_of(element, draft) if element.get("id") else _flow_name(element)
            draft.flows.append((scope_id, _read_flow(element, flow_id, problems)))
            continue
        element_id = _id_of(element, draft)
        _read_node(element, element_id, scope_id, draft, depth)
        if tag == "startEvent":
            initiator = extension_attribute(element, "initiator")
            starts.append(_Start(element_id, initiator, plain=not event_definitions(element)))
    # as on Camunda: the none start event begins, else the only one there is
    candidates = [start for start in starts if start.plain] or starts
    if len(candidates) != 1:
        problems.add(scope_id, f"it has {len(candidates) or 'no'} start events: it needs one")
        return _Start()
    return candidates[0]


def _read_node(element: Element, element_id: str, scope_id: str, draft: _Draft, depth: int) -> None:
    problems, tag = draft.reading.problems, local_name(element)
    check_extensions(element, element_id, problems)
    if element.get("isForCompensation") == "true":
        problems.add(element_id, "compensation is not supported")
    work: model.Work | None
    if tag == "subProcess":
        if element.get("triggeredByEvent") == "true":
            problems.add(element_id, "an event sub-process is not supported")
            return
        work = model.SubProcess(start=_read_scope(element, element_id, draft, depth + 1).id)
    else:
        for child in bpmn_children(element, *_REFUSED_INSIDE):
            problems.add(element_id, _REFUSED_INSIDE[local_name(child)])
        work = read_work(element, element_id, draft.reading)
    inputs = read_parameters(element, element_id, "input", problems)
    outputs = read_parameters(element, element_id, "output", problems)
    if (inputs or outputs) and tag.endswith(("Gateway", "startEvent", "boundaryEvent")):
        problems.add(element_id, f"{tag} has no input and output parameters")
    if outputs and tag == "endEvent":
        problems.add(element_id, "an end event has no output parameters")
    name = element.get("name")
    draft.nodes[element_id] = model.Node(
        id=element_id,
        tag=tag,
        name=name,
        scope=scope_id,
        # a placeholder where the work was refused: the problem that was noted ends the reading
        work=work or model.PassThrough(),
        default=element.get("default") or None,
        inputs=inputs,
        outputs=outputs,
        label=problems.optional(element_id, name) if tag == "userTask" else None,
    )


def _read_flow(element: Element, element_id: str, problems: Problems) -> model.Flow:
    check_extensions(element, element_id, problems)
    condition = None
    for child in bpmn_children(element, "conditionExpression"):
        check_extensions(child, element_id, problems)
        language = child.get("language") or "juel"
        if language.lower() != "juel":
            problems.add(element_id, f"a condition written in {language} is not supported")
            condition = problems.expression(element_id, "${true}")  # it has one, after all
            continue
        condition = problems.expression(element_id, text_of(child), _refuse_literal)
    return model.Flow(
        id=element_id,
        source=element.get("sourceRef") or "",
        target=element.get("targetRef") or "",
        condition=condition,
    )


def _flow_name(element: Element) -> str:
    return f"flow from {element.get('sourceRef')} to {element.get('targetRef')}"


def _refuse_literal(text: str) -> None:
    raise ValueError(f"the condition {text[:80]!r} is no expression: write ${{…}}")


def _id_of(element: Element, draft: _Draft) -> str:
    element_id = element.get("id") or ""
    if not element_id:
        place = f"line {element.sourceline}"
        draft.reading.problems.add(place, f"<{local_name(element)}> has no id")
        element_id = f"{place} {local_name(element)} {len(draft.ids)}"
    elif element_id in draft.ids:
        draft.reading.problems.add(element_id, "the id is used twice")
    draft.ids.add(element_id)
    return element_id
