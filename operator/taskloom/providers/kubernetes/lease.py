"""Who leads: decided from the Lease alone, by this process's own clock.

::

    no lease ─────────────────────────► Create
    held by me ───────────────────────► Renew
    held by nobody ───────────────────► Take
    held by another, seen unchanged
      for as long as it lasts ────────► Take
      for less ───────────────────────► Wait

The times that others wrote into it are not trusted: what counts is for how long this process has
seen the lease unchanged, so clocks may differ.  The API server refuses all but one of those who
take it at once, as the lease's resource version is a condition of each write.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from taskloom.providers.kubernetes.objects import LEASES, Body, metadata_of

DURATION = 15
"""Seconds that a lease lasts without being renewed."""


class Step(StrEnum):
    """What to do about the lease."""

    CREATE = "create"
    RENEW = "renew"
    TAKE = "take"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A lease as it was read, and since when (on a clock that only goes forward) it looks so."""

    body: Body
    since: float

    @property
    def holder(self) -> str:
        """Who holds it; empty for nobody."""
        return str(_spec(self.body).get("holderIdentity") or "")


def sight(body: Body, before: Sighting | None, clock: float) -> Sighting:
    """Note a lease that was read at `clock`; it is as old as the first look at this form of it."""
    if before is not None and _spec(before.body) == _spec(body):
        return Sighting(body=body, since=before.since)
    return Sighting(body=body, since=clock)


def decide(seen: Sighting | None, me: str, clock: float) -> Step:
    """Decide what to do about the lease."""
    if seen is None:
        return Step.CREATE
    if seen.holder == me:
        return Step.RENEW
    if not seen.holder or clock - seen.since >= _duration(seen.body):
        return Step.TAKE
    return Step.WAIT


def lease_body(
    namespace: str, name: str, me: str, *, seen: Sighting | None, step: Step, now: datetime
) -> dict[str, Any]:
    """Write the lease that creates, renews or takes it."""
    former = {} if seen is None else _spec(seen.body)
    stamp = _micro_time(now)
    transitions = int(former.get("leaseTransitions") or 0)
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if seen is not None:
        metadata["resourceVersion"] = metadata_of(seen.body).get("resourceVersion")
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": metadata,
        "spec": {
            "holderIdentity": me,
            "leaseDurationSeconds": DURATION,
            "acquireTime": former.get("acquireTime", stamp) if step is Step.RENEW else stamp,
            "renewTime": stamp,
            "leaseTransitions": transitions + (step is Step.TAKE),
        },
    }


def released_body(seen: Sighting, now: datetime) -> dict[str, Any]:
    """Write the lease that lets go of it, so that another need not wait."""
    spec = dict(_spec(seen.body)) | {"leaseDurationSeconds": 1, "renewTime": _micro_time(now)}
    spec.pop("holderIdentity", None)
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {
            field: metadata_of(seen.body).get(field)
            for field in ("name", "namespace", "resourceVersion")
        },
        "spec": spec,
    }


def _spec(body: Body) -> dict[str, Any]:
    spec: dict[str, Any] = body.get("spec") or {}
    return spec


def _duration(body: Body) -> float:
    return float(_spec(body).get("leaseDurationSeconds") or DURATION)


def _micro_time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
