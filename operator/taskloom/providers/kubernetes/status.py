"""A verdict as the status of an object, and whether it stands there already."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from taskloom.domain.conditions import (
    ConditionType,
    condition_to_json,
    json_to_condition,
    replace_conditions,
)
from taskloom.reconcilers.verdict import Verdict

_LONGEST_MESSAGE = 32768
_OURS = frozenset(str(type_) for type_ in ConditionType)


def status_of(
    verdict: Verdict, former: Mapping[str, Any], generation: int, now: datetime
) -> dict[str, Any]:
    """Write the status of an object whose form of `generation` was judged.

    A condition that stays as it was in the `former` status keeps its time.
    """
    known = [
        condition
        for value in former.get("conditions") or ()
        if (condition := json_to_condition(value)) is not None
    ]
    judged = [
        replace(
            condition,
            observed_generation=generation,
            message=condition.message[:_LONGEST_MESSAGE],
        )
        for condition in verdict.conditions
    ]
    return {
        "observedGeneration": generation,
        "conditions": [condition_to_json(c) for c in replace_conditions(known, judged, now)],
        **verdict.fields,
    }


def verdict_of(status: Mapping[str, Any]) -> Verdict:
    """Read back what is told of an object."""
    conditions = [
        condition
        for value in status.get("conditions") or ()
        if (condition := json_to_condition(value)) is not None
    ]
    fields = {
        name: value
        for name, value in status.items()
        if name not in ("observedGeneration", "conditions")
    }
    return Verdict(conditions=tuple(conditions), fields=fields)


def is_told(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Tell whether a status says what it should; conditions that others put there do not count."""
    return _own(wanted) == _own(present)


def _own(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = {
        value.get("type"): dict(value)
        for value in status.get("conditions") or ()
        if value.get("type") in _OURS
    }
    return {**status, "conditions": conditions}
