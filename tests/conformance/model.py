"""A BPMN file as the suite sees it: its process, and which of its elements follow each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

_BPMN = "{http://www.omg.org/spec/BPMN/20100524/MODEL}"
_BODY = "#multiInstanceBody"
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file with one executable process."""

    name: str
    bpmn: bytes

    @cached_property
    def process_id(self) -> str:
        """The id of the executable process."""
        root = etree.fromstring(self.bpmn)
        return next(
            process.get("id") or ""
            for process in root.iter(f"{_BPMN}process")
            if process.get("isExecutable") == "true"
        )

    @cached_property
    def successors(self) -> Mapping[str, frozenset[str]]:
        """For each element those that directly follow from it.

        A sub-process leads to what lies in it, and that leads to what follows the sub-process;
        an activity leads to its boundary events, a link to where it is caught.
        """
        edges: dict[str, set[str]] = defaultdict(set)
        links: dict[tuple[str, str], list[str]] = defaultdict(list)
        for element in etree.fromstring(self.bpmn).iter(f"{_BPMN}*"):
            name, id_ = etree.QName(element).localname, element.get("id") or ""
            if name == "sequenceFlow":
                edges[element.get("sourceRef") or ""].add(element.get("targetRef") or "")
            elif name == "boundaryEvent":
                edges[element.get("attachedToRef") or ""].add(id_)
            elif name == "linkEventDefinition":
                parent = element.getparent()
                assert parent is not None
                links[element.get("name") or "", etree.QName(parent).localname].append(
                    parent.get("id") or ""
                )
        for (link, tag), sources in links.items():
            if tag == "intermediateThrowEvent":
                for source in sources:
                    edges[source].update(links[link, "intermediateCatchEvent"])
        self._nest(edges)
        return {source: frozenset(targets) for source, targets in edges.items()}

    @cached_property
    def reached(self) -> Mapping[str, frozenset[str]]:
        """For each element all that can follow from it."""
        closure = {}
        for start in self.successors:
            found: set[str] = set()
            ahead = list(self.successors[start])
            while ahead:
                element = ahead.pop()
                if element not in found:
                    found.add(element)
                    ahead.extend(self.successors.get(element, ()))
            closure[start] = frozenset(found)
        return closure

    def _nest(self, edges: dict[str, set[str]]) -> None:
        for element in etree.fromstring(self.bpmn).iter(f"{_BPMN}subProcess"):
            id_ = element.get("id") or ""
            children = {child.get("id") or "" for child in element.iterchildren(f"{_BPMN}*")}
            beyond = set(edges[id_])
            edges[id_] |= children
            for child in children:
                edges[child] |= beyond


def in_order(steps: Sequence[tuple[str, str]], models: Iterable[Model]) -> list[str]:
    """Put steps (element, label) into the one order that stands for all that mean the same.

    What lies on one path is in the order of that path, within a loop in the order given; what runs
    side by side is sorted.  (The lexicographic normal form of a trace.  Real engines tell the order
    of what began at one moment in part only, hence the order of the path and not the given one.)
    """
    reached = _reached(models)
    left = [(bare(element), label) for element, label in steps]
    result = []
    while left:
        free = [at for at in range(len(left)) if not _is_behind(at, left, reached)]
        chosen = min(free, key=lambda at: left[at][1])
        result.append(left.pop(chosen)[1])
    return result


def ancestors(element: str, models: Iterable[Model]) -> frozenset[str]:
    """Give the elements from which one can be reached."""
    own = bare(element)
    return frozenset(source for source, targets in _reached(models).items() if own in targets)


def bare(element: str) -> str:
    """Give the element's own id, for a record of the body that holds its many instances, too."""
    return element.removesuffix(_BODY)


def _is_behind(
    at: int, left: Sequence[tuple[str, str]], reached: Mapping[str, frozenset[str]]
) -> bool:
    element = left[at][0]
    for place, (other, _) in enumerate(left):
        follows = element in reached.get(other, _NONE)
        leads = other in reached.get(element, _NONE) or other == element
        if (follows and not leads) or (leads and (follows or other == element) and place < at):
            return True
    return False


def _reached(models: Iterable[Model]) -> Mapping[str, frozenset[str]]:
    return {source: targets for model in models for source, targets in model.reached.items()}
