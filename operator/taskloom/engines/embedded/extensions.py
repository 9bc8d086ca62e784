"""The engine's own attributes and elements in BPMN: which have a meaning here, which do no harm.

Those that would change what happens and are not understood are problems.
"""

from lxml import etree

from taskloom.engines.embedded.model import ListValue, Mapped, MapValue, Parameter, Value
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.reading import (
    EXTENSIONS,
    Element,
    bpmn_children,
    extension_elements,
    local_name,
    namespace,
    text_of,
)

_ZEEBE = "http://camunda.org/schema/zeebe/1.0"
_MAX_NESTING = 20

# read by ``elements``, or about storage, forms and job scheduling, which change no path
_ATTRIBUTES = frozenset(
    {
        "assignee", "async", "asyncAfter", "asyncBefore", "calledElementBinding",
        "calledElementVersion", "candidateGroups", "candidateStarterGroups",
        "candidateStarterUsers", "candidateUsers", "collection", "dueDate", "elementVariable",
        "errorCodeVariable", "errorMessage", "errorMessageVariable", "escalationCodeVariable",
        "exclusive", "followUpDate", "formKey", "formRef",
        "formRefBinding", "formRefVersion", "historyTimeToLive", "initiator",
        "isStartableInTasklist", "jobPriority", "modelerTemplate", "modelerTemplateIcon",
        "modelerTemplateVersion", "priority", "retries", "taskPriority", "topic", "type",
        "versionTag",
    }
)  # fmt: skip
_ELEMENTS = frozenset(
    {
        "failedJobRetryTimeCycle", "field", "formData", "formProperty", "inputOutput",
        "potentialStarter", "properties", "validation",
    }
)  # fmt: skip
# what carries variables, and which way
_MAPPED = {
    "callActivity": frozenset({"in", "out"}),
    "signalEventDefinition": frozenset({"in"}),
}
_REASONS = {
    "class": "Java classes cannot run here",
    "delegateExpression": "Java delegates cannot run here",
    "expression": "Java expressions as work cannot run here",
    "decisionRef": "DMN decisions cannot run here",
    "resource": "external scripts cannot run here",
    "variableMappingClass": "Java classes cannot run here",
    "variableMappingDelegateExpression": "Java delegates cannot run here",
    "executionListener": "listeners are not supported",
    "taskListener": "listeners are not supported",
    "connector": "connectors are not supported",
    "errorEventDefinition": "errors thrown by expression are not supported",
}


def check_extensions(element: Element, element_id: str, problems: Problems) -> None:
    """Note every engine attribute and extension element of `element` that is not understood."""
    for key in element.attrib:
        attribute = etree.QName(key)
        if attribute.namespace == _ZEEBE:
            problems.add(element_id, "the model was made for Camunda 8 (zeebe)")
        if attribute.namespace in EXTENSIONS and attribute.localname not in _ATTRIBUTES:
            problems.add(element_id, _refusal("attribute", attribute.localname))
    mapped = _MAPPED.get(local_name(element), frozenset())
    for holder in bpmn_children(element, "extensionElements"):
        for child in holder:
            name = local_name(child)
            if namespace(child) == _ZEEBE:
                problems.add(element_id, "the model was made for Camunda 8 (zeebe)")
            if namespace(child) not in EXTENSIONS or name in _ELEMENTS:
                continue
            if name not in mapped:
                problems.add(element_id, _refusal("element", name))


def read_parameters(
    element: Element, element_id: str, direction: str, problems: Problems
) -> tuple[Parameter, ...]:
    """Read the ``inputParameter`` or ``outputParameter`` elements, in order."""
    parameters = []
    for holder in extension_elements(element, "inputOutput"):
        for child in holder:
            name = local_name(child)
            if namespace(child) in EXTENSIONS and name == "connector":
                problems.add(element_id, _refusal("element", name))
            if name != f"{direction}Parameter":
                continue
            target = (child.get("name") or "").strip()
            if not target:
                problems.add(element_id, f"an {direction} parameter has no name")
            parameters.append(Parameter(name=target, value=_value(child, element_id, problems, 0)))
    return tuple(parameters)


def read_mapped(
    element: Element, element_id: str, tag: str, problems: Problems
) -> tuple[Mapped, ...]:
    """Read the ``camunda:in`` or ``camunda:out`` elements that carry variables."""
    mapped = []
    for child in extension_elements(element, tag):
        if tag == "in" and child.get("businessKey") is not None:
            continue
        local = child.get("local") == "true"
        every, source = child.get("variables"), child.get("source")
        computed, target = child.get("sourceExpression"), child.get("target")
        if every is not None:
            if every != "all":
                problems.add(element_id, f'camunda:{tag} variables="{every}" is not "all"')
            mapped.append(Mapped(every=True, local=local))
        elif not target or not (source or computed):
            problems.add(element_id, f"camunda:{tag} needs a source and a target")
        elif source:
            mapped.append(Mapped(source=source, target=target, local=local))
        else:
            expression = problems.optional(element_id, computed)
            mapped.append(Mapped(expression=expression, target=target, local=local))
    return tuple(mapped)


def _value(element: Element, element_id: str, problems: Problems, depth: int) -> Value:
    if len(element):
        return _structure(element[0], element_id, problems, depth + 1)
    text = text_of(element)
    return problems.expression(element_id, text) if text else None


def _structure(element: Element, element_id: str, problems: Problems, depth: int) -> Value:
    if depth > _MAX_NESTING:
        problems.add(element_id, f"a parameter nests deeper than {_MAX_NESTING} levels")
        return None
    match local_name(element):
        case "value":
            return _value(element, element_id, problems, depth)
        case "list":
            items = (_structure(item, element_id, problems, depth + 1) for item in element)
            return ListValue(items=tuple(items))
        case "map":
            entries = (
                (
                    problems.expression(element_id, entry.get("key") or ""),
                    _value(entry, element_id, problems, depth),
                )
                for entry in element
            )
            return MapValue(entries=tuple(entries))
        case name:
            problems.add(element_id, f"a parameter made by <{name}> is not supported")
            return None


def _refusal(kind: str, name: str) -> str:
    return f"the {kind} camunda:{name} is not supported: " + _REASONS.get(
        name, "it would change what happens"
    )
