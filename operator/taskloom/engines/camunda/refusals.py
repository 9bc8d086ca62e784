"""What the engine's answers mean when they are no success: pure.

The engine tells most of what goes wrong by status 500 and a text.  What a model's expressions and
gateways lead to comes again each time, so it is told from what may go well the next time.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from taskloom.errors import Invalid, NotFound, TaskloomError, Temporary, Unprocessable

_OPTIMISTIC_LOCKING, _DEADLOCK = 1, 10_000
_TASK_GONE = re.compile(r"Cannot find task with id|task is null|Cannot find [Ee]xternal ?[Tt]ask")
_NOT_HELD = re.compile(
    r"locked by worker|(?:completed|reported|extended) by worker|has not been locked|is not locked"
)
_OF_THE_MODEL = re.compile(
    r"""
    Unknown\ (?:property|method)\ used\ in\ expression
    | Error\ while\ evaluating\ expression
    | [Ee]xpression\ (?:returns|did\ not\ resolve|could\ not|result)
    | No\ outgoing\ sequence\ flow
    | no\ processes?\ deployed\ with\ key
    | no\ deployed\ process\ definition\ found\ with\ (?:key|id)
    | Cannot\ find\ serializer | [Cc]ouldn't\ find\ a\ variable\ type | Unsupported\ value\ type
    | [Dd]ue\ ?[Dd]ate\ could\ not\ be\ resolved | Priority\ value\ is\ not\ an\ Integer
    | Assignee\ must\ be\ string | candidate\ (?:user|group)
    | Exception\ while\ parsing
    | has\ no\ default\ start\ activity | ENGINE-01011 | ENGINE-02\d\d\d | ENGINE-09\d\d\d
    """,
    re.VERBOSE,
)
_PERSISTENCE = re.compile(r"persistence layer|JDBC|[Dd]atabase|[Cc]onnection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the engine has answered: the body is what its JSON holds, None if it holds nothing."""

    status: int
    body: Any = None

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return self.status < 300

    @property
    def message(self) -> str:
        """What the engine says of a failure."""
        text = self.body.get("message") if isinstance(self.body, dict) else None
        return str(text or f"status {self.status}")


class Fate(StrEnum):
    """What became of a call about one task."""

    DONE = "done"
    GONE = "gone"
    NOT_HELD = "not-held"
    REFUSED = "refused"


def fate(answer: Answer) -> Fate:
    """Tell what became of a call about an external or user task; versions differ in the status."""
    if answer.ok:
        return Fate.DONE
    if answer.status == 404 or _TASK_GONE.search(answer.message):
        return Fate.GONE
    return Fate.NOT_HELD if _NOT_HELD.search(answer.message) else Fate.REFUSED


def is_collision(answer: Answer) -> bool:
    """Tell whether the engine rolled back because another call came between: it may be repeated."""
    if answer.status < 500 or not isinstance(answer.body, dict):
        return False
    return answer.body.get("type") == "OptimisticLockingException" or answer.body.get("code") in {
        _OPTIMISTIC_LOCKING,
        _DEADLOCK,
    }


def may_be_duplicate(answer: Answer) -> bool:
    """Tell whether a start may have met the optional unique index on business keys.

    The engine says of it only that its persistence layer failed.
    """
    return answer.status == 500 and bool(_PERSISTENCE.search(answer.message))


def refusal(answer: Answer) -> TaskloomError:
    """Make the error that says what happens next."""
    message = f"The engine says: {answer.message}"
    if answer.status == 404:
        return NotFound(message)
    if _OF_THE_MODEL.search(answer.message):
        return Unprocessable(message)
    if 400 <= answer.status < 500:
        return Invalid(message)
    return Temporary(message)


def parsing_refusal(answer: Answer) -> TaskloomError:
    """Make the error of a model that the engine refuses, naming each element and what is wrong."""
    found = [
        f"{error.get('mainElementId') or _place(error)}: {_first_line(error.get('message'))}"
        for resource in _details(answer).values()
        for error in resource.get("errors") or ()
    ]
    if not found:
        return refusal(answer)
    lines = "\n".join(dict.fromkeys(found))
    return Unprocessable(f"The engine does not take the BPMN:\n{lines}", field="bpmn")


def _details(answer: Answer) -> dict[str, Any]:
    details = answer.body.get("details") if isinstance(answer.body, dict) else None
    return details if isinstance(details, dict) else {}


def _place(error: dict[str, Any]) -> str:
    return f"line {error.get('line')}"


def _first_line(text: object) -> str:
    lines = str(text or "").strip().splitlines()
    return lines[0] if lines else "it is not valid"
