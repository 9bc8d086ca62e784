"""Values computed at one place of an instance: parameters, task attributes, due times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskloom.engines.embedded import model
from taskloom.engines.embedded.elements import read_due_date
from taskloom.engines.embedded.event_definitions import due_at
from taskloom.engines.embedded.events import TimerEvent, TimerKind
from taskloom.engines.embedded.expressions import Expression, ExpressionError
from taskloom.engines.embedded.iso8601 import format_date, next_of_cycle, written_out
from taskloom.engines.embedded.operators import to_number, to_text
from taskloom.engines.embedded.state import NewUserTask, State

_DEFAULT_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Place:
    """The scope that expressions see: `find` looks from one activity out to the process."""

    now: datetime
    state: State
    node: model.Node
    find: Callable[[str], tuple[bool, Any]]

    @property
    def properties(self) -> dict[str, Any]:
        """What ``execution.…`` gives."""
        return {
            "processInstanceId": self.state.instance_id,
            "processBusinessKey": self.state.business_key,
            "processDefinitionId": self.state.definition_id,
            "currentActivityId": self.node.id,
            "currentActivityName": self.node.name,
        }


def evaluate_value(value: model.Value, place: Place) -> Any:
    """Compute a parameter's value."""
    match value:
        case None:
            return None
        case Expression():
            return value.evaluate(place)
        case model.ListValue():
            return [evaluate_value(item, place) for item in value.items]
        case model.MapValue():
            return {
                to_text(key.evaluate(place)): evaluate_value(item, place)
                for key, item in value.entries
            }


def evaluate_text(expression: Expression | None, place: Place) -> str | None:
    """Compute a text; null stays null."""
    if expression is None:
        return None
    value = expression.evaluate(place)
    return None if value is None else to_text(value)


def evaluate_integer(expression: Expression, place: Place) -> int:
    """Compute a whole number."""
    try:
        return int(to_number(expression.evaluate(place)))
    except ValueError as exc:
        raise ExpressionError(f"{expression.source[:200]}: {exc}") from exc


def evaluate_due(
    timer: TimerEvent, place: Place, *, repeats: bool = False
) -> tuple[datetime, str | None]:
    """Compute when a timer fires that is set now, and the cycle by which it goes on if it does."""
    try:
        text = to_text(timer.value.evaluate(place))
        due = due_at(timer.kind, text, place.now)
        if not repeats or timer.kind is not TimerKind.CYCLE:
            return due, None
        cycle = written_out(text, place.now)
        next_of_cycle(cycle, due)  # refuses one without time between
    except ValueError as exc:
        raise ExpressionError(f"{timer.value.source[:200]}: {exc}") from exc
    return due, cycle


def evaluate_user_task(
    node: model.Node, work: model.UserWork, activity_id: str, place: Place
) -> NewUserTask:
    """Compute everything that a person is told of a user task."""
    return NewUserTask(
        id=activity_id,
        element=node.id,
        name=evaluate_text(node.label, place),
        description=evaluate_text(work.description, place),
        assignee=evaluate_text(work.assignee, place) or None,
        candidate_groups=_candidates(work.candidate_groups, place),
        candidate_users=_candidates(work.candidate_users, place),
        form_key=evaluate_text(work.form_key, place),
        priority=(
            _DEFAULT_PRIORITY if work.priority is None else evaluate_integer(work.priority, place)
        ),
        due_date=_due_date(work.due_date, place),
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Where variables that cross a call activity come from: a place, and all that it sees."""

    place: Place
    variables: Mapping[str, Any]


def map_variables(
    mapped: Sequence[model.Mapped], everywhere: Source, local: Source
) -> list[tuple[str, Any, bool]]:
    """Compute the variables that cross a call activity: name, value, whether it is local."""
    result: list[tuple[str, Any, bool]] = []
    for each in mapped:
        source = local if each.local else everywhere
        if each.every:
            result.extend((name, value, each.local) for name, value in source.variables.items())
        elif each.expression is not None:
            result.append((each.target, each.expression.evaluate(source.place), each.local))
        else:
            result.append((each.target, source.place.find(each.source or "")[1], each.local))
    return result


def _candidates(expressions: Sequence[Expression], place: Place) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for expression in expressions:
        value = expression.evaluate(place)
        for item in value if isinstance(value, list | tuple) else [value]:
            parts = to_text(item).split(",")
            names.update((part.strip(), None) for part in parts if part.strip())
    return tuple(names)


def _due_date(expression: Expression | None, place: Place) -> str | None:
    text = evaluate_text(expression, place)
    if expression is None or not text:
        return None
    try:
        return format_date(read_due_date(text, place.now))
    except ValueError as exc:
        raise ExpressionError(f"{expression.source[:200]}: {exc}") from exc
