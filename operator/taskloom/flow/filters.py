"""Filters and mapping expressions over an event, whose payload is JSON text."""

import json
from collections.abc import Mapping
from typing import Any

from taskloom.domain.events import as_binding
from taskloom.errors import Invalid
from taskloom.resources.cel import compile_expression, judge

_VARIABLES = ("event",)


def reason_against(
    expression: str | None, key: str, payload: str, source: str | None
) -> str | None:
    """Give None if a filter lets an event through, else the reason why not."""
    if expression is None:
        return None
    try:
        program = compile_expression(expression, _VARIABLES)
    except Invalid as exc:
        return exc.message
    verdict = judge(program, {"event": as_binding(key, json.loads(payload), source)})
    if verdict.matched:
        return None
    return verdict.reason or "the filter is false"


def evaluate(expression: str, key: str, payload: Any, source: str | None) -> Any:
    """Evaluate a mapping expression over an event; `Invalid` if it fails."""
    program = compile_expression(expression, _VARIABLES)
    return program.evaluate({"event": as_binding(key, payload, source)})


def evaluate_variables(
    expression: str | None, key: str, payload: Any, source: str | None
) -> Mapping[str, Any]:
    """Give the variables a process starts with: the payload itself unless an expression says so."""
    if expression is None:
        return payload if isinstance(payload, Mapping) else {"payload": payload}
    value = evaluate(expression, key, payload, source)
    if not isinstance(value, Mapping):
        raise Invalid(
            f"The mapping's variables expression must give a map, not {type(value).__name__}."
        )
    return value
