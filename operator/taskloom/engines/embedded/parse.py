"""From a BPMN file to a `Process`, or to the list of everything in it that cannot be deployed."""

from dataclasses import dataclass, field

from taskloom.engines.embedded import model
from taskloom.engines.embedded.attaching import check_waits
from taskloom.engines.embedded.elements import read_loop, read_work
from taskloom.engines.embedded.event_definitions import Reading, read_beside
from taskloom.engines.embedded.extensions import check_extensions, read_parameters
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    is_bpmn,
    local_name,
    read_xml,
    text_of,
)
from taskloom.engines.embedded.starting import (
    choose_start,
    read_event_start,
    read_starts,
    read_sub_start,
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
_LOOPS = frozenset({"multiInstanceLoopCharacteristics", "standardLoopCharacteristics"})


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
    element = _choose_process(root, problems)
    draft = _Draft(read_beside(root, problems))
    process_id = _id_of(element, draft)
    check_extensions(element, process_id, problems)
    inside = _read_scope(element, process_id, draft, depth=0)
    starts = read_starts(inside.starts, process_id, draft.reading)
    nodes = wire(draft.nodes, draft.flows, problems)
    topics = (n.work.topic.literal for n in nodes.values() if isinstance(n.work, model.External))
    process = model.Process(
        id=process_id,
        name=element.get("name"),
        start=choose_start(starts),
        starts=starts,
        handlers=inside.handlers,
        nodes=nodes,
        topics=frozenset(topic for topic in topics if topic),
    )
    check_waits(process, problems)
    problems.raise_any()
    return process


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


@dataclass(slots=True)
class _Inside:
    """What else is to be known of a scope: its start events and event sub-processes."""

    starts: list[tuple[str, Element]] = field(default_factory=list)
    handlers: tuple[str, ...] = ()


def _read_scope(scope: Element, scope_id: str, draft: _Draft, depth: int) -> _Inside:
    problems, inside = draft.reading.problems, _Inside()
    if depth > _MAX_NESTING:
        problems.add(scope_id, f"sub-processes nest deeper than {_MAX_NESTING} levels")
        return inside
    for element in scope:
        tag = local_name(element)
        if not is_bpmn(element) or tag in _ASIDE or tag in _LOOPS:
            continue
        if tag == "sequenceFlow":
            flow_id = _id_of(element, draft) if element.get("id") else _flow_name(element)
            draft.flows.append((scope_id, _read_flow(element, flow_id, problems)))
            continue
        element_id = _id_of(element, draft)
        _read_node(element, element_id, scope_id, draft, depth)
        if tag == "startEvent":
            inside.starts.append((element_id, element))
        if tag == "subProcess" and element.get("triggeredByEvent") == "true":
            inside.handlers += (element_id,)
    return inside


def _read_node(element: Element, element_id: str, scope_id: str, draft: _Draft, depth: int) -> None:
    problems, tag = draft.reading.problems, local_name(element)
    check_extensions(element, element_id, problems)
    if element.get("isForCompensation") == "true":
        problems.add(element_id, "compensation is not supported")
    if bpmn_children(element, "standardLoopCharacteristics"):
        problems.add(element_id, "a loop marker is not supported")
    work: model.Work | None
    if tag == "subProcess":
        work = _read_sub_process(element, element_id, draft, depth)
    else:
        work = read_work(element, element_id, draft.reading)
    loop = read_loop(element, element_id, draft.reading)
    inputs = read_parameters(element, element_id, "input", problems)
    outputs = read_parameters(element, element_id, "output", problems)
    if (inputs or outputs) and tag.endswith(("Gateway", "startEvent", "boundaryEvent")):
        problems.add(element_id, f"{tag} has no input and output parameters")
    if outputs and tag == "endEvent":
        problems.add(element_id, "an end event has no output parameters")
    if outputs and loop is not None:
        problems.add(element_id, "a multi-instance activity has no output parameters")
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
        loop=loop,
    )


def _read_sub_process(
    element: Element, element_id: str, draft: _Draft, depth: int
) -> model.Work | None:
    inside = _read_scope(element, element_id, draft, depth + 1)
    if element.get("triggeredByEvent") != "true":
        start = read_sub_start(inside.starts, element_id, draft.reading)
        return model.SubProcess(start=start, handlers=inside.handlers)
    found = read_event_start(inside.starts, element_id, draft.reading)
    if found is None:
        return None
    start, event, interrupting = found
    return model.EventSubProcess(
        start=start, event=event, interrupting=interrupting, handlers=inside.handlers
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
