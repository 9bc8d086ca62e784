"""What random models are made of: names, flows, events, and the process that they may call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer
from tests.conformance.model import Model

PROCESS = "woven"
CODES = ("E1", "E2")
LEVELS = ("X1", "X2")
VARIABLES = ("u", "v", "w")
VALUES = (0, 1, 2)
ITEMS = ("x", "y")
CALLED = "called"
MAX_DEPTH = 3
MAX_NODES = 24
CONDITIONS = ("u == 1", "v &gt; 0", "u == v", "w != 2")


FAILS = '<errorEventDefinition errorRef="Error_E1"/>'
DECLARED = [
    *(f'<error id="Error_{code}" name="{code}" errorCode="{code}"/>' for code in CODES),
    *(f'<escalation id="Escalation_{x}" name="{x}" escalationCode="{x}"/>' for x in LEVELS),
]
PARAMETERS = mapping('<camunda:inputParameter name="v">${u + 1}</camunda:inputParameter>')
ALL = (
    '<extensionElements><camunda:in variables="all"/><camunda:out variables="all"/>'
    "</extensionElements>"
)


def escalation(level: str) -> str:
    """Make an escalation's event definition; without a level it catches any."""
    reference = f' escalationRef="Escalation_{level}"' if level else ""
    return f"<escalationEventDefinition{reference}/>"


def signal(name: str) -> str:
    """Make a signal's event definition."""
    return f'<signalEventDefinition signalRef="{name}"/>'


def child() -> Model:
    """Make the process that is called: it may fail, raise an escalation, or just end."""
    work = f"{CALLED}_work"
    parts = [
        '<startEvent id="called_start"/>',
        external(work),
        '<exclusiveGateway id="called_which" default="called_which_called_end"/>',
        '<endEvent id="called_end"/>',
        f'<endEvent id="called_failed">{FAILS}</endEvent>',
        f'<intermediateThrowEvent id="called_raise">{escalation("X1")}</intermediateThrowEvent>',
        path(f"called_start {work} called_which called_end"),
        flow("called_which", "called_failed", "${u == 2}"),
        flow("called_which", "called_raise", "${u == 1}"),
        flow("called_raise", "called_end"),
    ]
    xml = bpmn(*parts, process_id=CALLED, aside="".join(DECLARED))
    return Model(name=f"{CALLED}.bpmn", bpmn=lasting(xml, CALLED))


def lasting(xml: bytes, process_id: str) -> bytes:
    """Give a process the time to live that Camunda asks for."""
    head = f'<process id="{process_id}"'
    return xml.replace(head.encode(), f'{head} camunda:historyTimeToLive="1"'.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Woven:
    """A model, and what can be done to it from outside."""

    models: tuple[Model, ...]  # the one to start, and the one that it may call
    topics: dict[str, frozenset[str]]  # with the error codes that are caught there
    messages: tuple[str, ...]
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """A flow that leads nowhere yet."""

    source: str
    condition: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block is woven in."""

    depth: int = 0
    whole: bool = False  # every token must come out of it
    many: bool = False  # within an activity that is done several times
    inside: bool = False  # within a sub-process
    silent: bool = False  # it follows from an event: thrown there, it might follow from itself
    caught: frozenset[str] = frozenset()


@dataclass(slots=True)
class Thread:
    """What has been woven so far, and the scope that is being woven."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    parts: list[str] = field(default_factory=list)  # of the scope that is being woven
    aside: list[str] = field(default_factory=list)
    topics: dict[str, frozenset[str]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    nodes: int = 0
    flows: int = 0
    timers: int = 0
    called: bool = False

    def node(self, kind: str) -> str:
        """Name a new element."""
        self.nodes += 1
        return f"{kind}_{self.nodes}"

    def flow_id(self) -> str:
        """Name a new flow."""
        self.flows += 1
        return f"Flow_{self.flows}"

    def join(self, way: Way, target: str) -> None:
        """Let a flow lead somewhere."""
        head = f'<sequenceFlow id="{way.id or self.flow_id()}" sourceRef="{way.source}"'
        inner = ""
        if way.condition is not None:
            inner = (
                '<conditionExpression xsi:type="tFormalExpression">'
                f"${{{way.condition}}}</conditionExpression>"
            )
        self.parts.append(f'{head} targetRef="{target}">{inner}</sequenceFlow>')

    def add(self, way: Way, xml: str, id_: str) -> Way:
        """Add an element at the end of a flow."""
        self.parts.append(xml)
        self.join(way, id_)
        return Way(id_)

    def one_of(self, *choices: Any) -> Any:
        """Draw one."""
        return self.draw(st.sampled_from(choices))

    def event(self, kind: str, *, again: bool = False) -> str:
        """Make what an event waits for; a timer comes `again` where its event may."""
        if kind == "escalation":
            return escalation(self.one_of("", *LEVELS))
        if kind == "timer":
            self.timers += 1
            length = f"PT{60 * self.one_of(1, 2) + 2 ** (self.timers % 6)}M"
            if again and self.draw(st.booleans()):
                return timer("timeCycle", f"R2/{length}")
            return timer("timeDuration", length)
        return f'<{kind}EventDefinition {kind}Ref="{self.named(kind)}"/>'

    def named(self, kind: str) -> str:
        """Declare a message or signal that nobody else waits for."""
        names = self.messages if kind == "message" else self.signals
        id_ = f"{kind}_{len(names) + 1}"
        names.append(id_)
        self.aside.append(f'<{kind} id="{id_}" name="{id_}"/>')
        return id_
