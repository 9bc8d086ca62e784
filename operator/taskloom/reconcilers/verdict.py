"""What is told of an object: its conditions and the other fields of its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from taskloom.domain.conditions import Condition, ConditionStatus, ConditionType, Reason
from taskloom.reconcilers.desired import Desired

_TYPES = frozenset(ConditionType)
_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An object's conditions and status fields."""

    conditions: tuple[Condition, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def stands(self, status: Mapping[str, Any], generation: int) -> bool:
        """Tell whether a status says this of a generation, whenever each of it came to be so.

        No is a guess where that is not easily told.
        """
        told = {
            value.get("type"): value
            for value in status.get("conditions") or ()
            if value.get("type") in _TYPES
        }
        fields = {
            name: value
            for name, value in status.items()
            if name not in ("conditions", "observedGeneration")
        }
        return (
            status.get("observedGeneration") == generation
            and fields == self.fields
            and len(told) == len(self.conditions)
            and all(_says(told.get(c.type), c, generation) for c in self.conditions)
        )

    @property
    def ready(self) -> bool:
        """Tell whether the object is in force."""
        return any(
            condition.type is ConditionType.READY and condition.status is _TRUE
            for condition in self.conditions
        )


def _says(told: Mapping[str, Any] | None, condition: Condition, generation: int) -> bool:
    return (
        told is not None
        and bool(told.get("lastTransitionTime"))
        and told.get("status") == condition.status
        and told.get("reason") == condition.reason
        and told.get("message") == condition.message
        and told.get("observedGeneration") == generation
    )


def programmed(
    desired: Desired,
    fields: Mapping[str, Any],
    *,
    message: str = "",
    suspended: bool = False,
    missing: Sequence[str] = (),
    more: Sequence[Condition] = (),
) -> Verdict:
    """Tell that an object is in force.

    `missing` lists what it asks for that this version does not do.
    """
    reason = Reason.SUSPENDED if suspended else Reason.RECONCILED
    conditions = [
        _condition(desired.generation, ConditionType.ACCEPTED, _TRUE, Reason.RECONCILED),
        _condition(desired.generation, ConditionType.RESOLVED_REFS, _TRUE, Reason.RECONCILED),
        _condition(desired.generation, ConditionType.PROGRAMMED, _TRUE, Reason.RECONCILED),
        _condition(desired.generation, ConditionType.READY, _TRUE, reason, message),
        *more,
    ]
    if suspended:
        conditions.append(
            _condition(
                desired.generation,
                ConditionType.SUSPENDED,
                _TRUE,
                Reason.SUSPENDED,
                "`spec.suspend` is true",
            )
        )
    if missing:
        text = f"not done by this version yet: {', '.join(missing)}"
        conditions.append(
            _condition(desired.generation, ConditionType.DEGRADED, _TRUE, Reason.UNSUPPORTED, text)
        )
    return Verdict(conditions=tuple(conditions), fields=fields)


def programmed_only(
    desired: Desired,
    reason: Reason,
    message: str,
    fields: Mapping[str, Any],
    *,
    more: Sequence[Condition] = (),
) -> Verdict:
    """Tell that the database holds an object, but that it is not in force."""
    fine = Reason.RECONCILED
    conditions = [
        _condition(desired.generation, ConditionType.ACCEPTED, _TRUE, fine),
        _condition(desired.generation, ConditionType.RESOLVED_REFS, _TRUE, fine),
        _condition(desired.generation, ConditionType.PROGRAMMED, _TRUE, fine),
        _condition(desired.generation, ConditionType.READY, _FALSE, reason, message),
        *more,
    ]
    return Verdict(conditions=tuple(conditions), fields=fields)


def invalid(desired: Desired, message: str) -> Verdict:
    """Tell that an object asks for what cannot be; only a change of it helps."""
    return _failed(desired.generation, Reason.INVALID_SPEC, message, accepted=_FALSE, stalled=True)


def unresolved(desired: Desired, reason: Reason, message: str) -> Verdict:
    """Tell that something an object refers to is not there."""
    return _failed(desired.generation, reason, message, resolved=_FALSE)


def conflicted(desired: Desired, message: str) -> Verdict:
    """Tell that another object has the key."""
    return _failed(
        desired.generation,
        Reason.KEY_CONFLICT,
        message,
        more=[
            _condition(
                desired.generation, ConditionType.CONFLICTED, _TRUE, Reason.KEY_CONFLICT, message
            )
        ],
    )


def unsupported(desired: Desired, message: str, fields: Mapping[str, Any] | None = None) -> Verdict:
    """Tell that this installation has no part that does it."""
    verdict = _failed(desired.generation, Reason.UNSUPPORTED, message, stalled=True)
    return Verdict(conditions=verdict.conditions, fields=fields or {})


def unavailable(desired: Desired, reason: Reason, message: str) -> Verdict:
    """Tell that a part did not answer; it is tried again."""
    return _failed(desired.generation, reason, message)


def waiting(desired: Desired, instances: int) -> Verdict:
    """Tell that a deleted workflow waits for its instances."""
    noun = "instance" if instances == 1 else "instances"
    text = (
        f"deleted; waits for {instances} running {noun} to end "
        "(`deletionPolicy: Retain` lets it go at once)"
    )
    fine = Reason.RECONCILED
    return Verdict(
        conditions=(
            _condition(desired.generation, ConditionType.ACCEPTED, _TRUE, fine),
            _condition(desired.generation, ConditionType.PROGRAMMED, _TRUE, fine),
            _condition(
                desired.generation, ConditionType.READY, _FALSE, Reason.INSTANCES_RUNNING, text
            ),
        )
    )


def unconfirmed(verdict: Verdict, generation: int, reason: Reason, message: str) -> Verdict:
    """Tell that a part did not answer, so that nobody knows whether an object is in force still.

    All else that was told of it stays.
    """
    ready = _condition(generation, ConditionType.READY, ConditionStatus.UNKNOWN, reason, message)
    others = [c for c in verdict.conditions if c.type is not ConditionType.READY]
    return replace(verdict, conditions=(*others, ready))


def drifted(verdict: Verdict, generation: int, message: str) -> Verdict:
    """Tell besides that what an object made had been changed by another."""
    condition = _condition(generation, ConditionType.DRIFTED, _TRUE, Reason.REPAIRED, message)
    return replace(verdict, conditions=(*verdict.conditions, condition))


def refused(verdict: Verdict | None, generation: int, message: str) -> Verdict:
    """Tell that an object's newest form is not valid, whatever became of the former one."""
    stands = verdict is not None and verdict.ready
    text = f"{message}; the last valid form stays in force" if stands else message
    told = _failed(generation, Reason.INVALID_SPEC, text, accepted=_FALSE, stalled=True)
    return Verdict(conditions=told.conditions, fields={} if verdict is None else verdict.fields)


def topics_served(desired: Desired, unserved: Sequence[str]) -> Condition:
    """Tell whether each topic of a workflow has a command, or a worker that fetches it."""
    if not unserved:
        return _condition(desired.generation, ConditionType.TOPICS_SERVED, _TRUE, Reason.RECONCILED)
    text = f"no command runs: {', '.join(unserved)}"
    return _condition(
        desired.generation, ConditionType.TOPICS_SERVED, _FALSE, Reason.TOPICS_UNSERVED, text
    )


def degraded(desired: Desired, reason: Reason, message: str) -> Condition:
    """Tell what does not go as it should with an object that is in force."""
    return _condition(desired.generation, ConditionType.DEGRADED, _TRUE, reason, message)


def _failed(
    generation: int,
    reason: Reason,
    message: str,
    *,
    accepted: ConditionStatus = _TRUE,
    resolved: ConditionStatus | None = None,
    stalled: bool = False,
    more: Sequence[Condition] = (),
) -> Verdict:
    fine = Reason.RECONCILED
    conditions = [
        _condition(
            generation,
            ConditionType.ACCEPTED,
            accepted,
            fine if accepted is _TRUE else reason,
            "" if accepted is _TRUE else message,
        ),
        _condition(generation, ConditionType.PROGRAMMED, _FALSE, reason, message),
        _condition(generation, ConditionType.READY, _FALSE, reason, message),
        *more,
    ]
    if resolved is _FALSE:
        conditions.append(
            _condition(generation, ConditionType.RESOLVED_REFS, _FALSE, reason, message)
        )
    if stalled:
        conditions.append(_condition(generation, ConditionType.STALLED, _TRUE, reason, message))
    return Verdict(conditions=tuple(conditions))


def _condition(
    generation: int,
    type_: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: str = "",
) -> Condition:
    # Most objects are told the same, and share what they are told.
    make = _make_condition if message else _share_condition
    return make(generation, type_, status, reason, message)


def _make_condition(
    generation: int,
    type_: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: str,
) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
    )


_share_condition = lru_cache(maxsize=4096)(_make_condition)


def given_up(verdict: Verdict, message: str) -> Verdict:
    """Tell that a receiver was given up since the verdict was made."""
    generation = verdict.conditions[0].observed_generation
    reason = Reason.DISABLED_AFTER_FAILURES
    told = _failed(generation, reason, message, stalled=True)
    return replace(told, fields=verdict.fields)


def also_degraded(verdict: Verdict, reason: Reason, message: str) -> Verdict:
    """Tell in addition what does not go as it should; what was told of that already stays."""
    others = [c for c in verdict.conditions if c.type is not ConditionType.DEGRADED]
    known = [c.message for c in verdict.conditions if c.type is ConditionType.DEGRADED]
    generation = verdict.conditions[0].observed_generation
    text = "; ".join([message, *known])
    condition = _condition(generation, ConditionType.DEGRADED, _TRUE, reason, text)
    return replace(verdict, conditions=(*others, condition))


def disabled(desired: Desired, message: str, fields: Mapping[str, Any]) -> Verdict:
    """Tell that a receiver was given up."""
    verdict = _failed(desired.generation, Reason.DISABLED_AFTER_FAILURES, message, stalled=True)
    return replace(verdict, fields=fields)
