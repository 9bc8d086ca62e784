"""What a model says that the interpreter passes over and clients ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskloom.engines.embedded.reading import (
    Element,
    bpmn_children,
    extension_elements,
    local_name,
    read_xml,
)

_DEFINITION = "EventDefinition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """By the ids of elements: the kind of their event, and their ``camunda:properties``."""

    events: Mapping[str, str] = field(default_factory=dict)  # timer, message, error, …
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_annotations(bpmn: bytes) -> Annotations:
    """Read a deployed model's annotations."""
    events: dict[str, str] = {}
    properties: dict[str, Mapping[str, str]] = {}
    for element in read_xml(bpmn).iter():
        id_ = element.get("id")
        if id_ is None:
            continue
        for child in bpmn_children(element):
            name = local_name(child)
            if name.endswith(_DEFINITION):
                events[id_] = name.removesuffix(_DEFINITION)
        given = _properties(element)
        if given:
            properties[id_] = given
    return Annotations(events=events, properties=properties)


def _properties(element: Element) -> dict[str, str]:
    return {
        each.get("name", ""): each.get("value", "")
        for holder in extension_elements(element, "properties")
        for each in holder
        if local_name(each) == "property" and each.get("name")
    }
