"""Conditions: how an object stands, as Kubernetes writes it.

``Ready`` sums up.  ``Accepted``, ``ResolvedRefs`` and ``Programmed`` say how far it came;
``Stalled``, ``Conflicted``, ``Drifted``, ``Degraded`` and ``Suspended`` are there only while true.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any


class ConditionType(StrEnum):
    """What a condition is about."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"
    READY = "Ready"
    TOPICS_SERVED = "TopicsServed"
    STALLED = "Stalled"
    CONFLICTED = "Conflicted"
    DRIFTED = "Drifted"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why, in one word; these words are API."""

    RECONCILED = "Reconciled"
    INVALID_SPEC = "InvalidSpec"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - no secret
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CLIENT_APP_NOT_FOUND = "ClientAppNotFound"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    WORKFLOW_NOT_FOUND = "WorkflowNotFound"
    KEY_CONFLICT = "KeyConflict"
    UNSUPPORTED = "Unsupported"
    PENDING = "Pending"
    TOPICS_UNSERVED = "TopicsUnserved"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    CONNECT_FAILED = "ConnectFailed"
    AUTH_FAILED = "AuthFailed"
    TOPIC_NOT_FOUND = "TopicNotFound"
    MESSAGE_INVALID = "MessageInvalid"
    CONNECTOR_FAILED = "ConnectorFailed"
    ENDPOINT_FAILING = "EndpointFailing"
    DISABLED_AFTER_FAILURES = "DisabledAfterFailures"
    SUSPENDED = "Suspended"
    ROTATION_FAILED = "RotationFailed"
    INSTANCES_RUNNING = "InstancesRunning"
    REPAIRED = "Repaired"
    INTERNAL_ERROR = "InternalError"


ONLY_WHEN_TRUE = frozenset(
    {
        ConditionType.STALLED,
        ConditionType.CONFLICTED,
        ConditionType.DRIFTED,
        ConditionType.DEGRADED,
        ConditionType.SUSPENDED,
    }
)
"""Conditions that are left out while they do not hold."""

_TYPES = frozenset(ConditionType)
_ORDER = {type_: index for index, type_ in enumerate(ConditionType)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that is known of an object.

    `last_transition_time` None means: not told yet; `set_condition` fills it in.
    """

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


def set_condition(
    conditions: Iterable[Condition], new: Condition, now: datetime
) -> tuple[Condition, ...]:
    """Put `new` in the place of the condition of its type.

    Its time stays unless its status changed; one that is shown only while true goes when it
    is not.
    """
    by_type = {condition.type: condition for condition in conditions}
    former = by_type.pop(new.type, None)
    others = list(by_type.values())
    if new.type in ONLY_WHEN_TRUE and new.status is not ConditionStatus.TRUE:
        return _sorted(others)
    same = former is not None and former.status == new.status
    time = former.last_transition_time if same and former is not None else None
    return _sorted([*others, replace(new, last_transition_time=time or now)])


def replace_conditions(
    former: Iterable[Condition], new: Iterable[Condition], now: datetime
) -> tuple[Condition, ...]:
    """Make `new` the whole list: what it lacks is gone, what it keeps keeps its time."""
    former, new = tuple(former), tuple(new)
    conditions = tuple(c for c in former if any(c.type == wanted.type for wanted in new))
    for condition in new:
        conditions = set_condition(conditions, condition, now)
    return conditions


def _sorted(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    return tuple(sorted(conditions, key=lambda condition: _ORDER[condition.type]))


def condition_to_json(condition: Condition) -> dict[str, Any]:
    """Write a condition as a status carries it."""
    time = condition.last_transition_time
    return {
        "type": str(condition.type),
        "status": str(condition.status),
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": None if time is None else timestamp(time),
        "reason": str(condition.reason),
        "message": condition.message,
    }


def json_to_condition(value: Mapping[str, Any]) -> Condition | None:
    """Read a condition from a status; None for a type that is not ours, or what is no condition."""
    if value.get("type") not in _TYPES:
        return None
    time = value.get("lastTransitionTime")
    try:
        return Condition(
            type=ConditionType(value["type"]),
            status=ConditionStatus(value["status"]),
            reason=value["reason"],
            message=value.get("message", ""),
            observed_generation=value.get("observedGeneration", 0),
            last_transition_time=None if time is None else datetime.fromisoformat(time),
        )
    except (KeyError, TypeError, ValueError):
        return None


@lru_cache(maxsize=4096)  # of many objects at once most are of a few moments
def timestamp(time: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
