"""Why an object is not in force, in plain words, and what to do; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taskloom.cli.cluster.facts import Facts, Looked, OperatorLease, event_time
from taskloom.cli.cluster.links import dependents_of
from taskloom.cli.cluster.remedies import (
    Place,
    delivery_trouble,
    explain_reason,
    explain_unserved,
)
from taskloom.cli.texts import age, read_instant
from taskloom.domain.conditions import Reason
from taskloom.resources.kinds import KINDS

_PATIENCE = 15.0  # seconds in which an operator that works has looked at a change
_EVENTS = 3
_REFERENCES = frozenset(
    {
        Reason.SECRET_NOT_FOUND,
        Reason.CONFIG_MAP_NOT_FOUND,
        Reason.CLIENT_APP_NOT_FOUND,
        Reason.SERVICE_NOT_FOUND,
        Reason.WORKFLOW_NOT_FOUND,
    }
)
_SHOWN_WHILE_TRUE = ("Degraded", "Drifted")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found, and the commands that mend it; not `wrong` is for information."""

    text: str
    fixes: tuple[str, ...] = ()
    wrong: bool = True


def headline(facts: Facts) -> str:
    """Say in one line how the object stands."""
    place = Place.of(facts.body)
    shown = f"{place.kind} {place.namespace}/{place.name}"
    if facts.body["metadata"].get("deletionTimestamp") is not None:
        return f"{shown} is being deleted."
    if not facts.seen:
        new = facts.body["metadata"].get("generation", 1) == 1
        return f"{shown} has not been looked at yet{'' if new else ' in its newest form'}."
    ready, suspended = _condition(facts.body, "Ready"), _condition(facts.body, "Suspended")
    told = suspended or ready
    since = age(told["lastTransitionTime"], facts.now) if told else "?"
    if ready.get("status") == "True":
        return f"{shown} is {'suspended' if suspended else 'ready'}, for {since}."
    return f"{shown} is not ready, for {since}: {ready.get('reason', 'no reason is given')}."


def diagnose(facts: Facts) -> list[Finding]:
    """List what keeps the object from being in force, what else is wrong, then what is notable."""
    found = [*_causes(facts), *_others(facts)]
    found += [*_operator(facts, certain=any(each.wrong for each in found)), *_events(facts)]
    found += [Finding(f"Not looked at: {trouble}", wrong=False) for trouble in facts.blind]
    return found


def _causes(facts: Facts) -> Iterator[Finding]:
    place = Place.of(facts.body)
    yield from _deletion(facts, place)
    ready = _condition(facts.body, "Ready")
    reason, message = str(ready.get("reason", "")), str(ready.get("message", ""))
    refused = facts.seen and ready.get("status") != "True"
    if refused and reason not in _REFERENCES:
        yield Finding(*explain_reason(reason, message, place, facts))
    broken = [each for each in facts.looked if each.broken]
    waiting = [each for each in facts.looked if each.ready is False]
    yield from (_dangling(each, place) for each in _by_target(broken))
    yield from (_waiting(each, place) for each in waiting)
    if not refused or reason not in _REFERENCES or broken or waiting:
        return
    if facts.looked and all(each.found for each in facts.looked):
        yield Finding(
            f"The operator said: {message}. All of it is there now, and is looked at within "
            "seconds, or within 5 minutes where a watch missed it.",
            (f"kubectl taskloom why {place.shown} -n {place.namespace}",),
        )
        return
    yield Finding(*explain_reason(reason, message, place, facts))


def _by_target(broken: list[Looked]) -> list[Looked]:
    """Put the references to one object together: it is mended at once."""
    found: dict[tuple[str, str], Looked] = {}
    for looked in broken:
        link = looked.link
        before = found.get((link.kind, link.name))
        if before is None:
            found[link.kind, link.name] = looked
            continue
        keys = dict.fromkeys((*before.link.keys, *link.keys))
        field = f"{before.link.field}` and `{link.field}"
        together = replace(before.link, keys=tuple(keys), field=field)
        found[link.kind, link.name] = replace(before, link=together)
    return list(found.values())


def _others(facts: Facts) -> Iterator[Finding]:
    place = Place.of(facts.body)
    if facts.seen:
        unserved = _condition(facts.body, "TopicsServed")
        if unserved.get("status") == "False":
            yield Finding(*explain_unserved(str(unserved.get("message")), place, facts.neighbours))
        for type_ in _SHOWN_WHILE_TRUE:
            condition = _condition(facts.body, type_)
            if condition.get("status") == "True":
                yield Finding(
                    *explain_reason(
                        str(condition["reason"]), str(condition["message"]), place, facts
                    )
                )
        if (facts.body.get("spec") or {}).get("suspend") is True:
            yield Finding(
                "It is suspended: `spec.suspend` is true, so it does nothing.",
                (f"kubectl taskloom resume {place.shown} -n {place.namespace}",),
                wrong=False,
            )
    trouble = delivery_trouble(facts.body, facts.now)
    if trouble is not None:
        yield Finding(*trouble)


def _deletion(facts: Facts, place: Place) -> Iterator[Finding]:
    metadata = facts.body["metadata"]
    since = metadata.get("deletionTimestamp")
    if since is None:
        return
    holders = metadata.get("finalizers") or []
    text = f"It is being deleted, for {age(since, facts.now)}"
    users = dependents_of(facts.body, facts.neighbours)
    if not holders:
        yield Finding(f"{text}.")
        return
    text += f", and waits for {', '.join(holders)}"
    running = (facts.body.get("status") or {}).get("runningInstances")
    if running:
        text += f": {running} instances run still"
    if users:
        text += f"; {', '.join(f'{each.kind} {each.name}' for each in users[:3])} start it"
    if working_leases(facts) or facts.leases is None:
        yield Finding(f"{text}.")
        return
    patch = """-p '{"metadata":{"finalizers":null}}'"""
    yield Finding(
        f"{text}. No operator works that would end the wait: start one, or, if it is uninstalled "
        "for good, end it by hand.",
        (f"kubectl -n {place.namespace} patch {place.kubectl} --type=merge {patch}",),
    )


def working_leases(facts: Facts) -> list[OperatorLease]:
    """List the leases by which somebody leads."""
    return [each for each in facts.leases or () if not each.stale(facts.now)]


def _dangling(looked: Looked, place: Place) -> Finding:
    link = looked.link
    verb = "refer" if "` and `" in link.field else "refers"
    refers = f"`{link.field}` {verb} to the {link.kind} {link.name}"
    if looked.found:
        keys = " and ".join(f"`{key}`" for key in looked.missing_keys)
        listed = ", ".join(f"`{key}`" for key in looked.keys)
        there = f"its keys are {listed}" if listed else "it has none at all"
        fields = ",".join(f'"{key}":"VALUE"' for key in looked.missing_keys)
        part = "stringData" if link.kind == "Secret" else "data"
        return Finding(
            f"{refers}, which has no key {keys}: {there}.",
            (
                (
                    f"kubectl -n {place.namespace} patch {link.kind.lower()} {link.name} "
                    f"""--type=merge -p '{{"{part}":{{{fields}}}}}'"""
                ),
                place.edit,
            ),
        )
    text = f"{refers}, and there is none in the namespace {place.namespace}."
    if looked.near:
        text += f" There is {' and '.join(looked.near)}: is that meant?"
    return Finding(text, (*_making(looked, place), place.edit))


def _making(looked: Looked, place: Place) -> tuple[str, ...]:
    link = looked.link
    if link.kind in KINDS and not looked.near:
        return (f"kubectl taskloom get {KINDS[link.kind].names.plural} -n {place.namespace}",)
    if looked.near or link.kind not in {"Secret", "ConfigMap"}:
        return ()
    what = "secret generic" if link.kind == "Secret" else "configmap"
    values = " ".join(f"--from-file={key}=FILE" for key in link.keys)
    return (f"kubectl -n {place.namespace} create {what} {link.name} {values}".rstrip(),)


def _waiting(looked: Looked, place: Place) -> Finding:
    link = looked.link
    return Finding(
        f"`{link.field}` refers to the {link.kind} {link.name}, which is not ready itself.",
        (f"kubectl taskloom why {link.kind.lower()}/{link.name} -n {place.namespace}",),
    )


def _operator(facts: Facts, *, certain: bool) -> Iterator[Finding]:
    """Say whether anybody works; where the object was not looked at that is the likely cause."""
    age_seconds = _unseen_seconds(facts)
    leases = facts.leases
    working = working_leases(facts)
    if working or leases is None:
        if not facts.seen and not certain:
            yield from _not_yet(facts, working, age_seconds)
        return
    if not leases:
        if not facts.seen:
            yield Finding(
                "No operator has ever led in this cluster, or in a namespace that you may not "
                "read: no Lease is there.",
                ("helm list --all-namespaces --filter taskloom",),
            )
        return
    for lease in leases:
        yield Finding(
            f"No operator works: {_stopped(lease, facts)}. Nothing that you change comes into "
            "force until one does; what is in force goes on.",
            (
                f"kubectl -n {lease.namespace} get pods -l app.kubernetes.io/name=taskloom",
                f"kubectl -n {lease.namespace} logs --tail=50 {lease.pod or 'POD'}",
            ),
        )


def _stopped(lease: OperatorLease, facts: Facts) -> str:
    where = f"the Lease {lease.namespace}/{lease.name}"
    if not lease.holder or lease.renewed is None:
        return f"nobody holds {where}"
    since = age(lease.renewed.isoformat(), facts.now)
    return f"{where} was renewed {since} ago for the last time, by {lease.pod}"


def _not_yet(
    facts: Facts, working: list[OperatorLease], age_seconds: float | None
) -> Iterator[Finding]:
    place = Place.of(facts.body)
    if age_seconds is not None and age_seconds < _PATIENCE:
        yield Finding(
            f"It was changed {age_seconds:.0f} s ago, and is looked at within seconds.",
            (f"kubectl taskloom why {place.shown} -n {place.namespace}",),
        )
        return
    if not working:
        yield Finding(
            "Whether an operator works cannot be seen from here: you may not read Leases.",
            ("kubectl get leases --all-namespaces",),
        )
        return
    for lease in working:
        yield Finding(
            f"An operator works ({lease.pod}), and does not look at it: its --namespaces or "
            f"--selector may leave it out, or it may be stuck.",
            (
                f"kubectl -n {lease.namespace} logs --tail=50 {lease.pod}",
                f"kubectl get namespace {place.namespace} --show-labels",
            ),
        )


def _unseen_seconds(facts: Facts) -> float | None:
    """Give how long ago the spec was changed, as far as the notes of who did it tell."""
    times = [
        str(entry["time"])
        for entry in facts.body["metadata"].get("managedFields") or ()
        if entry.get("time") and not entry.get("subresource")
    ]
    created = facts.body["metadata"].get("creationTimestamp")
    newest = max([*times, *([created] if created else [])], default=None)
    if newest is None:
        return None
    return (facts.now - read_instant(newest)).total_seconds()


def _events(facts: Facts) -> Iterator[Finding]:
    warnings = [each for each in facts.events if each.get("type") == "Warning"]
    for event in warnings[:_EVENTS]:
        count = (event.get("series") or {}).get("count") or event.get("count") or 1
        times = f", {count} times" if count > 1 else ""
        since = age(event_time(event), facts.now)
        yield Finding(
            f"Event {since} ago{times}: {event.get('reason')}: {event.get('message')}", wrong=False
        )


def _condition(body: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})
