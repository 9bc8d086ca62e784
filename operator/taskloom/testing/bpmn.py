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
