"""What is waited for: by catch and boundary events, event sub-processes and start events."""

from dataclasses import dataclass
from enum import StrEnum

from taskloom.engines.embedded.expressions import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent:
    """A message of this name, for one."""

    name: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEvent:
    """A signal of this name, for all."""

    name: Expression


class TimerKind(StrEnum):
    """How a timer says when."""

    DATE = "timeDate"
    DURATION = "timeDuration"
    CYCLE = "timeCycle"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerEvent:
    """A time."""

    kind: TimerKind
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """A BPMN error; without a code, any."""

    code: str | None
    code_variable: str | None = None
    message_variable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationEvent:
    """An escalation; without a code, any."""

    code: str | None
    code_variable: str | None = None


Awaited = MessageEvent | SignalEvent | TimerEvent
"""What comes from outside of the step: a row stands for each."""

Event = Awaited | ErrorEvent | EscalationEvent
