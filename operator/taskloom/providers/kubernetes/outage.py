"""What is told of objects while a part that holds them does not answer.

Those that wait for it are told at once.  Those in force are told when the outage has lasted for a
while, as each is a write to the API server, and there may be many.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from taskloom.domain.conditions import ConditionStatus, ConditionType, Reason
from taskloom.providers.kubernetes.mirror import PROVIDER, Seen
from taskloom.providers.kubernetes.status import verdict_of
from taskloom.reconcilers.desired import Desired, manager_of
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, refused, unavailable, unconfirmed
from taskloom.resources.problems import describe
from taskloom.runtime.pulse import Pulse

ENGINE_KINDS = frozenset({"Workflow", "EventMapping", "TaskMapping"})
"""The kinds that cannot be seen to without the engine and its database."""
_REASONS = frozenset(
    {Reason.DATABASE_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE, Reason.INTERNAL_ERROR}
)
_PARTS = {
    Reason.DATABASE_UNAVAILABLE: "The database",
    Reason.ENGINE_UNAVAILABLE: "The engine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A part that does not answer.

    `lasting` tells that objects in force are told, too.
    """

    reason: Reason
    error: str
    lasting: bool = False

    def concerns(self, key: Key) -> bool:
        """Tell whether an object cannot be seen to."""
        return self.reason is not Reason.ENGINE_UNAVAILABLE or key[0] in ENGINE_KINDS


class Outages:
    """Watches the parts, each by the reason that is told while it does not answer.

    `grace` is in seconds.
    """

    def __init__(self, pulses: Mapping[Reason, Pulse], grace: float) -> None:
        self._pulses = pulses
        self._grace = grace
        self._down: frozenset[Reason] = frozenset()
        self._told: frozenset[Reason] = frozenset()

    async def watch(self) -> None:
        """Ask all parts until cancelled."""
        async with asyncio.TaskGroup() as group:
            for pulse in self._pulses.values():
                group.create_task(pulse.watch())

    def of(self, reason: Reason, error: str = "") -> Outage | None:
        """Give the outage of one part; an `error` that was met says that there is one."""
        pulse = self._pulses.get(reason)
        if pulse is None or not pulse.error:
            return Outage(reason=reason, error=error) if error else None
        lasting = pulse.silent_for >= self._grace
        return Outage(reason=reason, error=pulse.error, lasting=lasting)

    def silences(self) -> list[tuple[Reason, float]]:
        """Tell for how many seconds each part has not answered."""
        return [(reason, pulse.silent_for) for reason, pulse in self._pulses.items()]

    def ended(self) -> bool:
        """Tell whether a part answers again that did not when this was asked before."""
        down = frozenset(reason for reason, pulse in self._pulses.items() if pulse.error)
        back, self._down = self._down - down, down
        self._told &= down
        return bool(back)

    def to_tell(self) -> Outage | None:
        """Give an outage that has come to last, once."""
        for reason in self._pulses:
            outage = self.of(reason)
            if outage is not None and outage.lasting and reason not in self._told:
                self._told |= {reason}
                return outage
        return None


def verdicts_of(judged: Mapping[Key, Seen], outage: Outage) -> dict[Key, Verdict]:
    """Decide what is told of each object that the outage concerns; nothing of the others."""
    found = {}
    for key, seen in judged.items():
        verdict = _verdict(key, seen, outage) if outage.concerns(key) else None
        if verdict is not None:
            found[key] = verdict
    return found


def _verdict(key: Key, seen: Seen, outage: Outage) -> Verdict | None:
    standing = verdict_of(seen.status)
    waits = seen.status.get("observedGeneration") != seen.generation or any(
        condition.type is ConditionType.PROGRAMMED and condition.reason in _REASONS
        for condition in standing.conditions
    )
    if waits and seen.refused is not None:
        return refused(None, seen.generation, describe(seen.refused.problems))
    if waits and seen.declared is not None:
        desired = Desired(
            resource=seen.declared.resource,
            manager=manager_of(PROVIDER, key),
            generation=seen.generation,
            created_on=datetime.min.replace(tzinfo=UTC),
        )
        text = f"{_error(outage)}: it is put into force as soon as that is over"
        # Of a former form that stays in force the other fields are right still.
        return replace(unavailable(desired, outage.reason, text), fields=standing.fields)
    if not outage.lasting or _is_final(standing):
        return None
    stays = "what was put into force stays so, and is confirmed when that is over"
    text = (
        f"{_error(outage)}: {stays if _is_in_force(standing) else 'it is tried again after that'}"
    )
    return unconfirmed(standing, seen.generation, outage.reason, text)


def _error(outage: Outage) -> str:
    if outage.reason is Reason.INTERNAL_ERROR:
        return f"The operator failed ({outage.error}; see its log)"
    part = _PARTS.get(outage.reason, "A part")
    return f"{part} cannot be used ({outage.error.rstrip('.')})"


def _is_in_force(verdict: Verdict) -> bool:
    return any(
        condition.type is ConditionType.PROGRAMMED and condition.status is ConditionStatus.TRUE
        for condition in verdict.conditions
    )


def _is_final(verdict: Verdict) -> bool:
    """Tell whether only a change of the object helps: no outage makes that better or worse."""
    return any(
        condition.type is ConditionType.STALLED and condition.status is ConditionStatus.TRUE
        for condition in verdict.conditions
    )
