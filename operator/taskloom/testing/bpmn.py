"""Small BPMN files for tests, without the pages of diagram that a modeller adds."""

import itertools
from xml.sax.saxutils import escape

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"'
    ' xmlns:camunda="http://camunda.org/schema/1.0/bpmn"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' id="Definitions" targetNamespace="http://bpmn.io/schema/bpmn">'
)


def bpmn(*parts: str, process_id: str = "P", aside: str = "") -> bytes:
    """Put one executable process together; `aside` stands beside it (errors, messages)."""
    body = "".join(parts)
    process = f'<process id="{process_id}" isExecutable="true">{body}</process>'
    return f"{_HEAD}{aside}{process}</definitions>".encode()


def flow(source: str, target: str, condition: str | None = None) -> str:
    """Join two elements; the flow's id is ``source_target``."""
    head = f'<sequenceFlow id="{source}_{target}" sourceRef="{source}" targetRef="{target}"'
    if condition is None:
        return f"{head}/>"
    inner = f'<conditionExpression xsi:type="tFormalExpression">{escape(condition)}'
    return f"{head}>{inner}</conditionExpression></sequenceFlow>"


def path(ids: str) -> str:
    """Join elements in a row, given their ids with spaces between."""
    names = ids.split()
    return "".join(flow(a, b) for a, b in itertools.pairwise(names))


def external(id_: str, topic: str | None = None, inside: str = "") -> str:
    """Make a service task for workers of `topic` (its id by default)."""
    return (
        f'<serviceTask id="{id_}" camunda:type="external" camunda:topic="{topic or id_}">'
        f"{inside}</serviceTask>"
    )


def mapping(*parameters: str) -> str:
    """Make the extension element of input and output parameters."""
    return (
        "<extensionElements><camunda:inputOutput>"
        + "".join(parameters)
        + "</camunda:inputOutput></extensionElements>"
    )


def timer(kind: str, value: str) -> str:
    """Make a timer's event definition; `kind` is timeDate, timeDuration or timeCycle."""
    inner = f'<{kind} xsi:type="tFormalExpression">{escape(value)}</{kind}>'
    return f"<timerEventDefinition>{inner}</timerEventDefinition>"


def cause(kind: str, reference: str | None = None, attributes: str = "", inside: str = "") -> str:
    """Make an event definition of a kind (message, signal, escalation, error) and what it names."""
    named = "" if reference is None else f' {kind}Ref="{reference}"'
    return f"<{kind}EventDefinition{named} {attributes}>{inside}</{kind}EventDefinition>"


def start_event(id_: str, definition: str, *, interrupting: bool = True) -> str:
    """Make a start event that begins by something."""
    kept = "" if interrupting else ' isInterrupting="false"'
    return f'<startEvent id="{id_}"{kept}>{definition}</startEvent>'


def catch_event(id_: str, definition: str) -> str:
    """Make an intermediate event that waits."""
    return f'<intermediateCatchEvent id="{id_}">{definition}</intermediateCatchEvent>'


def throw_event(id_: str, definition: str) -> str:
    """Make an intermediate event that does something."""
    return f'<intermediateThrowEvent id="{id_}">{definition}</intermediateThrowEvent>'


def boundary_event(id_: str, host: str, definition: str, *, interrupting: bool = True) -> str:
    """Make an event on the boundary of `host`."""
    kept = "" if interrupting else ' cancelActivity="false"'
    return f'<boundaryEvent id="{id_}" attachedToRef="{host}"{kept}>{definition}</boundaryEvent>'


def sub_process(id_: str, *parts: str, handler: bool = False) -> str:
    """Make a sub-process; a `handler` is an event sub-process."""
    triggered = ' triggeredByEvent="true"' if handler else ""
    return f'<subProcess id="{id_}"{triggered}>{"".join(parts)}</subProcess>'


def several(
    *,
    sequential: bool = False,
    number: str | None = None,
    collection: str | None = None,
    item: str | None = None,
    until: str | None = None,
) -> str:
    """Make the marker of an activity that is done several times."""
    attributes = ' isSequential="true"' if sequential else ""
    if collection is not None:
        attributes += f' camunda:collection="{escape(collection)}"'
    if item is not None:
        attributes += f' camunda:elementVariable="{item}"'
    inner = "" if number is None else f"<loopCardinality>{escape(number)}</loopCardinality>"
    if until is not None:
        inner += f"<completionCondition>{escape(until)}</completionCondition>"
    return (
        f"<multiInstanceLoopCharacteristics{attributes}>{inner}</multiInstanceLoopCharacteristics>"
    )
