"""Everything about one object that the API server can tell, read at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taskloom.cli.cluster.choice import Reached
from taskloom.cli.cluster.links import Link, links_of
from taskloom.cli.cluster.objects import Named, fetch, near_names, observed, search
from taskloom.errors import Forbidden, NotFound, TaskloomError
from taskloom.providers.kubernetes.objects import (
    CORE_EVENTS,
    DATA,
    LEASES,
    OURS,
    SERVICES,
    Body,
    ResourceType,
)

LEASE_WORD = "taskloom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a reference leads to.

    `found` is None where it could not be looked up, and `trouble` says why.  `keys` are those that
    are there, `near` the names that may be meant; `ready` is of an object of ours.
    """

    link: Link
    found: bool | None
    keys: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    ready: bool | None = None
    trouble: str = ""

    @property
    def missing_keys(self) -> tuple[str, ...]:
        """The keys that are wanted and not there."""
        return tuple(key for key in self.link.keys if key not in self.keys)

    @property
    def broken(self) -> bool:
        """Tell whether it is known to lead nowhere."""
        return self.found is False or bool(self.found and self.missing_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLease:
    """The Lease by which an operator leads."""

    namespace: str
    name: str
    holder: str
    renewed: datetime | None
    seconds: int

    @property
    def pod(self) -> str:
        """The pod that holds it, as far as its identity says."""
        return self.holder.partition("_")[0]

    def stale(self, now: datetime) -> bool:
        """Tell whether nobody leads by it."""
        if not self.holder or self.renewed is None:
            return True
        return (now - self.renewed).total_seconds() > 2 * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One object and what is around it; `leases` None means that they may not be read."""

    body: Body
    now: datetime
    looked: tuple[Looked, ...] = ()
    neighbours: tuple[Body, ...] = ()
    events: tuple[Body, ...] = ()
    leases: tuple[OperatorLease, ...] | None = ()
    blind: tuple[str, ...] = ()

    @property
    def seen(self) -> bool:
        """Tell whether the status speaks of the newest form."""
        return observed(self.body)


async def gather_facts(reached: Reached, named: Named, now: datetime) -> Facts:
    """Read the object, what it refers to, its neighbours, its Events, and who leads."""
    body = await fetch(reached, named)
    around, events, leases = await asyncio.gather(
        search(reached), _events(reached, named, body), _leases(reached)
    )
    looked = await asyncio.gather(*(_look(reached, link, around.bodies) for link in links_of(body)))
    blind = [*around.troubles, *(each.trouble for each in looked if each.trouble)]
    return Facts(
        body={"apiVersion": named.type_.api_version, "kind": named.type_.kind, **body},
        now=now,
        looked=tuple(looked),
        neighbours=around.bodies,
        events=events,
        leases=leases,
        blind=tuple(dict.fromkeys(blind)),
    )


async def _look(reached: Reached, link: Link, neighbours: Sequence[Body]) -> Looked:
    if link.kind in OURS:
        ours = [body for body in neighbours if body["kind"] == link.kind]
        there = next((body for body in ours if body["metadata"]["name"] == link.name), None)
        if there is not None:
            return Looked(link=link, found=True, ready=is_ready(there))
        names = [str(body["metadata"]["name"]) for body in ours]
        return Looked(link=link, found=False, near=tuple(near_names(link.name, names)))
    type_ = SERVICES if link.kind == "Service" else DATA.get(link.kind)
    if type_ is None:
        return Looked(link=link, found=None)
    try:
        body = await reached.cluster.get(type_, reached.one_namespace, link.name)
    except NotFound:
        return Looked(link=link, found=False, near=await _near(reached, type_, link.name))
    except TaskloomError as error:
        return Looked(link=link, found=None, trouble=error.message)
    keys = {**(body.get("data") or {}), **(body.get("binaryData") or {})}  # their names alone
    return Looked(link=link, found=True, keys=tuple(sorted(keys)))


async def _near(reached: Reached, type_: ResourceType, name: str) -> tuple[str, ...]:
    try:
        others = await reached.cluster.find(type_, reached.one_namespace)
    except TaskloomError:
        return ()  # it was only a favour
    return tuple(near_names(name, [str(body["metadata"]["name"]) for body in others]))


async def _events(reached: Reached, named: Named, body: Body) -> tuple[Body, ...]:
    fields = f"involvedObject.kind={named.type_.kind},involvedObject.name={named.name}"
    try:
        found = await reached.cluster.find(CORE_EVENTS, reached.one_namespace, fields=fields)
    except (NotFound, Forbidden):
        return ()
    uid = body["metadata"].get("uid")
    own = [each for each in found if (each.get("involvedObject") or {}).get("uid") in (uid, None)]
    return tuple(sorted(own, key=event_time, reverse=True))


def event_time(event: Body) -> str:
    """Give when an Event happened last, as text that sorts."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        event["metadata"].get("creationTimestamp"),
    )
    return str(next((time for time in times if time), ""))


async def _leases(reached: Reached) -> tuple[OperatorLease, ...] | None:
    found: list[Body] = []
    for namespace in (None, reached.one_namespace):
        try:
            found = await reached.cluster.find(LEASES, namespace)
        except (NotFound, Forbidden):
            continue
        break
    else:
        return None
    return tuple(_lease(body) for body in found if LEASE_WORD in str(body["metadata"].get("name")))


def _lease(body: Body) -> OperatorLease:
    spec: dict[str, Any] = body.get("spec") or {}
    renewed = spec.get("renewTime")
    return OperatorLease(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        holder=str(spec.get("holderIdentity") or ""),
        renewed=None if renewed is None else datetime.fromisoformat(renewed).astimezone(UTC),
        seconds=int(spec.get("leaseDurationSeconds") or 15),
    )


def is_ready(body: Body) -> bool:
    """Tell whether an object's newest form is in force."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return observed(body) and any(
        each["type"] == "Ready" and each["status"] == "True" for each in conditions
    )
