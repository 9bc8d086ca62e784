"""What a BPMN file says of itself, and the file as the engine is given it: pure.

The engine knows a process by its id in the file, and we by its workflow's key.  Where these differ
the engine is given a copy whose process has the key for its id, so that a start, a call activity
and the engine's own pages all name a workflow by the one key.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

from taskloom.engines.embedded.reading import (
    BPMN,
    EXTENSIONS,
    Element,
    bpmn_children,
    extension_attribute,
    extension_elements,
    is_bpmn,
    local_name,
    read_xml,
)
from taskloom.errors import Unprocessable
from taskloom.ports.engine import ModelSummary

_KEY = re.compile(r"[^\W\d][\w.-]*")
_DIAGRAM = "http://www.omg.org/spec/BPMN/20100524/DI"
_TTL = "historyTimeToLive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Who may do a user task, as far as its model tells."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


class ModelFile:
    """A BPMN file; what the engine does not support is the engine's to refuse."""

    def __init__(self, bpmn: bytes) -> None:
        self._bpmn = bpmn
        self._root = read_xml(bpmn)
        self._executable = [
            process
            for process in bpmn_children(self._root, "process")
            if (process.get("isExecutable") or "").strip() in {"true", "1"}
        ]
        if not self._executable:
            raise Unprocessable(
                'definitions: the file has no executable process: set isExecutable="true".',
                field="bpmn",
            )

    def summary(self) -> ModelSummary:
        """Tell of the first executable process, which gives a workflow its key."""
        process = self._executable[0]
        process_id = process.get("id") or ""
        if not process_id:
            raise Unprocessable("process: it has no id.", field="bpmn")
        return ModelSummary(process_id=process_id, name=process.get("name"), topics=self.topics)

    @cached_property
    def topics(self) -> frozenset[str]:
        """The topics of external tasks that are known before an instance runs."""
        return frozenset(
            topic
            for element in self._elements()
            if extension_attribute(element, "type") == "external"
            and (topic := extension_attribute(element, "topic")) is not None
            and not _is_computed(topic)
        )

    @cached_property
    def calls(self) -> bool:
        """Whether a process of it may call another one."""
        return any(local_name(element) == "callActivity" for element in self._elements())

    def for_engine(self, workflow_key: str, *, history_days: int) -> bytes:
        """Give the file as it is deployed, the same bytes for the same file.

        `history_days` is for processes that do not say how long their history is kept, which
        engines of today insist on.
        """
        renamed = self._rename(workflow_key)
        limited = [p for p in self._executable if extension_attribute(p, _TTL) is None]
        for process in limited:
            process.set(f"{{{EXTENSIONS[0]}}}{_TTL}", f"P{history_days}D")
        if not renamed and not limited:
            return self._bpmn
        return etree.tostring(self._root, xml_declaration=True, encoding="UTF-8")

    def candidates(self, element_id: str) -> Candidates | None:
        """Tell who may do a user task; None if that is decided when it begins."""
        element = self._by_id.get(element_id)
        if element is None or extension_elements(element, "taskListener"):
            return None
        if bpmn_children(element, "potentialOwner", "humanPerformer"):
            return None
        groups = extension_attribute(element, "candidateGroups") or ""
        users = extension_attribute(element, "candidateUsers") or ""
        if _is_computed(groups) or _is_computed(users):
            return None
        return Candidates(groups=_names(groups), users=_names(users))

    def catches(self, element_id: str, code: str) -> bool:
        """Tell whether something around an element catches a BPMN error of this code."""
        element = self._by_id.get(element_id)
        while element is not None and local_name(element) != "process":
            scope = element.getparent()
            if scope is None:
                return False
            catching = [
                *self._boundary_events(scope, element.get("id") or ""),
                *_error_starts(scope, other_than=element),
            ]
            if any(self._takes(event, code) for event in catching):
                return True
            element = scope
        return False

    def _rename(self, workflow_key: str) -> bool:
        if any(process.get("id") == workflow_key for process in self._executable):
            return False
        if _KEY.fullmatch(workflow_key) is None:
            raise Unprocessable(
                f"The workflow key {workflow_key!r} cannot be the id of a process: it has to begin "
                "with a letter and hold letters, digits, dots, dashes and underscores only. "
                "Give the workflow another key.",
                field="bpmn",
            )
        if workflow_key in self._by_id:
            raise Unprocessable(
                f"{workflow_key}: an element has the workflow's key for its id, which the process "
                "is to have: give the element another id.",
                field="bpmn",
            )
        process = self._executable[0]
        former = process.get("id")
        process.set("id", workflow_key)
        for element in self._root.iter(
            f"{{{BPMN}}}participant", f"{{{BPMN}}}callActivity", f"{{{_DIAGRAM}}}BPMNPlane"
        ):
            for reference in ("processRef", "calledElement", "bpmnElement"):
                if former is not None and element.get(reference) == former:
                    element.set(reference, workflow_key)
        return True

    @cached_property
    def _by_id(self) -> dict[str, Element]:
        return {id_: each for each in self._root.iter() if (id_ := each.get("id"))}

    @cached_property
    def _codes(self) -> dict[str, str | None]:
        return {
            error.get("id") or "": (error.get("errorCode") or "").strip() or None
            for error in bpmn_children(self._root, "error")
        }

    def _elements(self) -> Iterator[Element]:
        for process in self._executable:
            yield from (element for element in process.iter() if is_bpmn(element))

    def _boundary_events(self, scope: Element, host: str) -> Iterator[Element]:
        return (e for e in bpmn_children(scope, "boundaryEvent") if e.get("attachedToRef") == host)

    def _takes(self, event: Element, code: str) -> bool:
        """Tell whether an event catches a code; one that names no error catches all."""
        return any(
            self._codes.get(definition.get("errorRef") or "") in {None, code}
            for definition in bpmn_children(event, "errorEventDefinition")
        )


def _error_starts(scope: Element, *, other_than: Element) -> Iterator[Element]:
    for inner in bpmn_children(scope, "subProcess"):
        if inner is not other_than and inner.get("triggeredByEvent") == "true":
            yield from bpmn_children(inner, "startEvent")


def _is_computed(text: str) -> bool:
    return "${" in text or "#{" in text


def _names(text: str) -> tuple[str, ...]:
    return tuple(_stripped(text.split(",")))


def _stripped(texts: Iterable[str]) -> Iterator[str]:
    return (stripped for text in texts if (stripped := text.strip()))
