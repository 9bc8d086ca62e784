"""One object described for people: how it stands, what it needs, who needs it, what happened."""

from collections.abc import Mapping
from typing import Any

from taskloom.cli.cluster.facts import Facts, Looked, event_time
from taskloom.cli.cluster.links import dependents_of
from taskloom.cli.texts import age

_EVENTS = 10


def reference_rows(facts: Facts) -> list[list[str]]:
    """Give what the object refers to, and whether it is there."""
    return [
        [f"{looked.link.kind}/{looked.link.name}", _standing(looked), looked.link.field]
        for looked in facts.looked
    ]


def _standing(looked: Looked) -> str:
    if looked.found is None:
        return "not looked at"
    if not looked.found:
        near = f", there is {' and '.join(looked.near)}" if looked.near else ""
        return f"missing{near}"
    if looked.missing_keys:
        return f"has no key {', '.join(looked.missing_keys)}"
    if looked.ready is None:
        return "there"
    return "ready" if looked.ready else "not ready"


def dependent_rows(facts: Facts) -> list[list[str]]:
    """Give the objects that need this one."""
    return [
        [f"{each.kind}/{each.name}", each.how]
        for each in dependents_of(facts.body, facts.neighbours)
    ]


def event_rows(facts: Facts) -> list[list[str]]:
    """Give the latest Events."""
    return [
        [
            age(event_time(event), facts.now),
            str(event.get("type", "")),
            str(event.get("reason", "")),
            str((event.get("series") or {}).get("count") or event.get("count") or 1),
            str(event.get("message", "")),
        ]
        for event in facts.events[:_EVENTS]
    ]


def condition_rows(facts: Facts) -> list[list[str]]:
    """Give the conditions, with the time that they have stood."""
    status: Mapping[str, Any] = facts.body.get("status") or {}
    return [
        [
            each["type"],
            each["status"],
            each["reason"],
            age(each["lastTransitionTime"], facts.now),
            each.get("message", ""),
        ]
        for each in status.get("conditions") or ()
    ]
