"""A process as the interpreter sees it: nodes, flows, and what each node does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from taskloom.engines.embedded.events import Awaited, Event
from taskloom.engines.embedded.expressions import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A sequence flow."""

    id: str
    source: str
    target: str
    condition: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListValue:
    """A parameter's value that is a list."""

    items: tuple["Value", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapValue:
    """A parameter's value that is a map."""

    entries: tuple[tuple[Expression, "Value"], ...]


Value = Expression | ListValue | MapValue | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input or output parameter."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThrough:
    """Nothing is done: start events, manual and undefined tasks, none throw events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneEnd:
    """One path ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateEnd:
    """The scope ends, whatever else goes on in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEnd:
    """A BPMN error is thrown."""

    code: str
    message: Expression | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusive:
    """The first flow whose condition holds is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Waits for as many tokens as it has incoming flows, then takes every outgoing one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusive:
    """Waits until no other token can come, then takes every flow whose condition holds.

    `feeders` are the nodes of its scope from which it can be reached.
    """

    feeders: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventGateway:
    """Waits for what its targets, catch events, wait for; the first to come goes on."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """The token waits for an event."""

    event: Awaited


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """An event while an activity goes on, which it interrupts or not."""

    attached_to: str
    event: Event
    interrupting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A signal is told to all who wait for it, with the variables mapped by `ins`."""

    name: Expression
    ins: tuple["Mapped", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """An escalation is thrown."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkThrow:
    """A flow to here leads on to the catch event with the same link."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCatch:
    """Where the flows to throw events with the same link lead."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A worker of `topic` does it."""

    topic: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class UserWork:
    """A person does it."""

    description: Expression | None = None
    assignee: Expression | None = None
    candidate_users: tuple[Expression, ...] = ()
    candidate_groups: tuple[Expression, ...] = ()
    form_key: Expression | None = None
    due_date: Expression | None = None
    priority: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubProcess:
    """A scope of its own begins at `start`; `handlers` are the event sub-processes in it."""

    start: str
    handlers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubProcess:
    """A scope that begins when the event of its start comes while the scope around it goes on."""

    start: str
    event: Event
    interrupting: bool
    handlers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiInstance:
    """The node `inner` is done several times: as often as `cardinality` says, or for each item.

    `collection` is an expression; `item` the variable that has each one's item; `until` ends it
    before all are done.
    """

    inner: str
    sequential: bool
    cardinality: Expression | None
    collection: Expression | None
    item: str | None
    until: Expression | None


class Binding(StrEnum):
    """Which version a call activity calls."""

    LATEST = "latest"
    DEPLOYMENT = "deployment"
    VERSION = "version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One ``camunda:in`` or ``camunda:out``: all variables, or one of them under a name."""

    every: bool = False
    source: str | None = None
    expression: Expression | None = None
    target: str = ""
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Another process is started and waited for."""

    called: Expression
    binding: Binding
    version: Expression | None
    business_key: Expression | None
    ins: tuple[Mapped, ...]
    outs: tuple[Mapped, ...]


Work = (
    PassThrough
    | NoneEnd
    | TerminateEnd
    | ErrorEnd
    | Exclusive
    | Parallel
    | Inclusive
    | EventGateway
    | Catch
    | Boundary
    | Signal
    | Escalation
    | LinkThrow
    | LinkCatch
    | External
    | UserWork
    | SubProcess
    | EventSubProcess
    | MultiInstance
    | Call
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A flow node; `scope` is the sub-process it lies in, or the process."""

    id: str
    tag: str
    name: str | None
    scope: str
    work: Work
    incoming: int = 0
    outgoing: tuple[Flow, ...] = ()
    default: str | None = None
    inputs: tuple[Parameter, ...] = ()
    outputs: tuple[Parameter, ...] = ()
    boundary: tuple[str, ...] = ()
    label: Expression | None = field(default=None, repr=False)  # the name, where it may be computed
    loop: MultiInstance | None = None  # while it is read; then a node of its own around this one

    @property
    def written(self) -> str:
        """The id of the element in the file."""
        return self.work.inner if isinstance(self.work, MultiInstance) else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start event of the process; without an event, or at `Process.start`, it begins by key."""

    element: str
    event: Awaited | None
    initiator: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One executable process; `topics` are those written out in it.

    `start` is where it begins when it is started by its key, None if it cannot be.
    """

    id: str
    name: str | None
    start: str | None
    starts: tuple[Start, ...]
    handlers: tuple[str, ...]  # its event sub-processes
    nodes: Mapping[str, Node]
    topics: frozenset[str]
