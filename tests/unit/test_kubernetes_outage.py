"""What is told of objects while a part does not answer."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from taskloom.domain.conditions import Reason
from taskloom.errors import Unavailable
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.outage import Outage, Outages, verdicts_of
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.status import status_of
from taskloom.reconcilers.snapshot import Key
from taskloom.runtime.pulse import Pulse

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LASTING = Outage(reason=Reason.DATABASE_UNAVAILABLE, error="It is down.", lasting=True)
BRIEF = Outage(reason=Reason.DATABASE_UNAVAILABLE, error="It is down.")


def told(
    conditions: Mapping[str, str] = MappingProxyType({}),
    *,
    outage: Outage,
    generation: int = 1,
    kind: str = "EventMapping",
) -> dict[str, tuple[str, str]] | None:
    """Tell an object with a status of its generation 1 of an outage: status and reason by type."""
    spec: dict[str, Any] = {"eventKey": "e", "workflowKey": "w"}
    if kind == "Command":
        spec = {"topic": "t", "http": {"url": "http://127.0.0.1/"}}
    status = {
        "observedGeneration": 1,
        "mappingId": "m",
        "conditions": [
            {
                "type": type_,
                "status": value.partition("/")[0],
                "reason": value.partition("/")[2] or "Reconciled",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-24T09:00:00Z",
            }
            for type_, value in conditions.items()
        ],
    }
    mirror = Mirror(Scope())
    mirror.take(
        {
            "kind": kind,
            "metadata": {
                "name": "m",
                "namespace": "shop",
                "generation": generation,
                "uid": "u",
                "resourceVersion": "1",
            },
            "spec": spec,
            "status": status if conditions else {},
        }
    )
    key: Key = (kind, "shop", "m")
    verdict = verdicts_of(dict(mirror.selected()), outage).get(key)
    if verdict is None:
        return None
    written = status_of(verdict, status, generation, NOW)
    assert not conditions or written["mappingId"] == "m"
    return {c["type"]: (c["status"], c["reason"]) for c in written["conditions"]}


def test_what_waits_is_told_at_once() -> None:
    """An object without a status is not ready, and why."""
    expected = {
        "Accepted": ("True", "Reconciled"),
        "Programmed": ("False", "DatabaseUnavailable"),
        "Ready": ("False", "DatabaseUnavailable"),
    }

    assert expected == told(outage=BRIEF)


def test_a_changed_object_waits_too() -> None:
    """A status of a former generation says nothing of the new one."""
    found = told({"Ready": "True", "Programmed": "True"}, outage=BRIEF, generation=2)

    assert found is not None
    assert ("False", "DatabaseUnavailable") == found["Ready"]


def test_what_was_told_that_it_waits_waits_still() -> None:
    """However often it is told, nobody says that it was ever in force."""
    conditions = {"Programmed": "False/DatabaseUnavailable", "Ready": "False/DatabaseUnavailable"}
    found = told(conditions, outage=LASTING)

    assert found is not None
    assert ("False", "DatabaseUnavailable") == found["Ready"]


def test_what_was_not_in_force_for_another_reason_is_unknown_too() -> None:
    """What it lacked may be there by now."""
    conditions = {"Programmed": "False/SecretNotFound", "Ready": "False/SecretNotFound"}
    found = told(conditions, outage=LASTING)

    assert found is not None
    assert ("Unknown", "DatabaseUnavailable") == found["Ready"]


def test_what_is_in_force_is_told_only_when_it_lasts() -> None:
    """Then nobody knows whether it is ready; all else stays, and nothing is final."""
    conditions = {"Accepted": "True", "Programmed": "True", "Ready": "True", "Suspended": "True"}
    expected = {
        "Accepted": ("True", "Reconciled"),
        "Programmed": ("True", "Reconciled"),
        "Ready": ("Unknown", "DatabaseUnavailable"),
        "Suspended": ("True", "Reconciled"),
    }

    assert told(conditions, outage=BRIEF) is None
    assert expected == told(conditions, outage=LASTING)


def test_what_only_a_change_can_help_keeps_its_status() -> None:
    """An invalid object is invalid, whether the database answers or not."""
    conditions = {"Ready": "False/InvalidSpec", "Stalled": "True/InvalidSpec"}

    assert told(conditions, outage=LASTING) is None


def test_an_outage_of_the_engine_concerns_what_needs_it() -> None:
    """Workflows and mappings are told; a Command does not need the engine."""
    outage = Outage(reason=Reason.ENGINE_UNAVAILABLE, error="down", lasting=True)
    found = told({"Ready": "True"}, outage=outage)

    assert found is not None
    assert ("Unknown", "EngineUnavailable") == found["Ready"]
    assert told({"Ready": "True"}, outage=outage, kind="Command") is None


async def _down() -> None:
    raise Unavailable("It is down.")


async def _answers() -> None:
    pass


async def test_an_outage_is_told_once_it_lasts_and_once_only() -> None:
    """Before the grace is over there is nothing to tell; when it ended that is said once."""
    now = 0.0
    asks = [_down]

    async def ask() -> None:
        await asks[0]()

    pulse = Pulse(ask, every=1000, clock=lambda: now)
    outages = Outages({Reason.DATABASE_UNAVAILABLE: pulse}, grace=10)
    assert outages.to_tell() is None
    await one_question(pulse)
    assert not outages.ended()
    assert outages.to_tell() is None
    now = 10.0
    assert LASTING == outages.to_tell()
    assert outages.to_tell() is None
    asks[0] = _answers
    await one_question(pulse)
    assert outages.ended()
    assert not outages.ended()


async def one_question(pulse: Pulse) -> None:
    """Let a pulse ask once."""
    task = asyncio.create_task(pulse.watch())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
