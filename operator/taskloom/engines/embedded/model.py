"""A process as the interpreter sees it: nodes, flows, and what each node does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

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


class TimerKind(StrEnum):
    """How a timer says when."""

    DATE = "timeDate"
    DURATION = "timeDuration"
    CYCLE = "timeCycle"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerCatch:
    """The token waits for a time."""

    kind: TimerKind
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerBoundary:
    """An activity is interrupted at a time."""

    attached_to: str
    kind: TimerKind
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBoundary:
    """An activity is interrupted by a BPMN error; without a code, by any."""

    attached_to: str
    code: str | None
    code_variable: str | None
    message_variable: str | None


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
    """A scope of its own begins at `start`."""

    start: str


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
    | TimerCatch
    | TimerBoundary
    | ErrorBoundary
    | External
    | UserWork
    | SubProcess
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One executable process; `topics` are those written out in it."""

    id: str
    name: str | None
    start: str
    initiator: str | None
    nodes: Mapping[str, Node]
    topics: frozenset[str]
