"""Remembered objects: their generations, and the statuses that are told of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from taskloom.domain.conditions import (
    condition_to_json,
    json_to_condition,
    replace_conditions,
)
from taskloom.reconcilers.desired import Desired, World, manager_of
from taskloom.reconcilers.snapshot import FILE, Declared, Key, Problem, Snapshot
from taskloom.reconcilers.specs import digest_of, spec_digest, spec_of
from taskloom.reconcilers.verdict import Verdict
from taskloom.resources.base import API_VERSION, Resource
from taskloom.resources.kinds import KINDS
from taskloom.resources.problems import describe
from taskloom.resources.validate import validate
from taskloom.store.resources import StoredResource, read

log = structlog.get_logger()

Memory = Mapping[Key, StoredResource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A world, why some objects' newest form is refused, and where each object stands.

    It is `unsure` if it cannot be told of a remembered object whether it is gone.
    """

    world: World
    refused: Mapping[Key, str] = field(default_factory=dict)
    places: Mapping[Key, str] = field(default_factory=dict)
    forgotten: tuple[StoredResource, ...] = ()
    unsure: bool = False
    leaving: Mapping[Key, Desired] = field(default_factory=dict)

    def find(self, key: Key) -> Desired | None:
        """Find an object that is wanted, or was until it was deleted just now."""
        return self.world.desired.get(key) or self.leaving.get(key)


def key_of(stored: StoredResource) -> Key:
    """Kind, namespace and name of a remembered object."""
    return (stored.kind, stored.namespace, stored.name)


def look_out(snapshot: Snapshot, memory: Memory, now: datetime) -> Outlook:
    """Put what is declared and what is remembered together.

    An object whose newest form is not valid, or breaks a rule about changes, stands on in its
    last valid form; so does one whose file cannot be read.
    What is gone is gone only if the snapshot can tell; what is leaving is gone but is told of.
    """
    desired: dict[Key, Desired] = {}
    places: dict[Key, str] = {}
    refused = {
        item.key: describe(item.problems) for item in snapshot.refused if item.key[0] in KINDS
    }
    places |= {item.key: str(item.place) for item in snapshot.refused if item.place is not None}
    for file_key, problems in _of_files(snapshot).items():
        refused[file_key] = _describe_all(problems)
        places[file_key] = str(problems[0].place)
    for declared in snapshot.resources:
        key = declared.resource.key
        stored = memory.get(key)
        objection = _objection(snapshot.provider, declared, stored)
        if objection is not None:
            refused[key] = objection
            if declared.place is not None:
                places[key] = str(declared.place)
            continue
        desired[key] = _desired(snapshot.provider, declared, stored, now)
        if declared.place is not None:
            places.setdefault(key, str(declared.place))
    forgotten = []
    named = {*desired, *refused, *snapshot.leaving, *snapshot.gone}
    unsure = {
        key
        for key, stored in memory.items()
        if key not in named and snapshot.may_lack(stored.created_on)
    } - snapshot.elsewhere
    for key, stored in memory.items():
        if key in desired or key in unsure or snapshot.is_elsewhere(key):
            continue
        if key not in refused and key not in snapshot.leaving and _is_gone(stored, snapshot):
            forgotten.append(stored)
            continue
        form = standing(stored)
        if form is not None:
            desired[key] = Desired(
                resource=form,
                manager=manager_of(snapshot.provider, key),
                generation=stored.generation,
                created_on=stored.created_on,
            )
    leaving = {key: desired.pop(key) for key in snapshot.leaving if key in desired}
    forgotten += [memory[key] for key in sorted(snapshot.leaving) if key in memory]
    world = World(
        provider=snapshot.provider,
        desired=desired,
        secrets=snapshot.secrets,
        config_maps=snapshot.config_maps,
        gone={
            manager_of(snapshot.provider, key_of(stored)): _policy(stored) for stored in forgotten
        }
        | {item.manager: _policy_of(item.resource) for item in leaving.values()},
        protected=frozenset(
            manager_of(snapshot.provider, key)
            for key in {*refused, *memory, *snapshot.elsewhere}
            if key not in desired
        )
        - {manager_of(snapshot.provider, key_of(stored)) for stored in forgotten},
        sweeps=snapshot.complete and not snapshot.broken,
        namespaces=snapshot.namespaces,
        may_lack=snapshot.may_lack,
    )
    return Outlook(
        world=world,
        refused={key: why for key, why in refused.items() if key not in snapshot.leaving},
        places=places,
        forgotten=tuple(forgotten),
        unsure=bool(unsure),
        leaving=leaving,
    )


def _of_files(snapshot: Snapshot) -> Mapping[Key, list[Problem]]:
    """Group by file the problems that no refused object tells of."""
    told = {item.place for item in snapshot.refused if item.key[0] in KINDS}
    files: dict[Key, list[Problem]] = {}
    for problem in snapshot.problems:
        if problem.place not in told:
            files.setdefault((FILE, "", problem.place.file), []).append(problem)
    return files


def _describe_all(problems: Sequence[Problem]) -> str:
    first, *others = problems
    more = [f"line {problem.place.line}: {problem.message}" for problem in others[:3]]
    return "; ".join([first.message, *more])


def remember(
    outlook: Outlook, verdicts: Mapping[Key, Verdict], memory: Memory, now: datetime
) -> list[StoredResource]:
    """Give the records that differ from what is remembered."""
    records = []
    for key in sorted({*verdicts, *outlook.refused}):
        before, place = memory.get(key), outlook.places.get(key)
        desired, verdict = outlook.find(key), verdicts[key]
        if before is not None and _is_told(before, desired, verdict, place):
            continue
        record = _record(key, desired, verdict, before=before, place=place, now=now)
        if record != before:
            records.append(record)
    return records


def _is_told(
    before: StoredResource, desired: Desired | None, verdict: Verdict, place: str | None
) -> bool:
    """Tell whether a record says all this already; no is a guess."""
    return (
        desired is not None
        and (desired.digest, desired.generation) == (before.digest, before.generation)
        and place in (None, before.place)
        and verdict.stands(read(before.status), before.generation)
    )


def retell(stored: StoredResource, verdict: Verdict, now: datetime) -> StoredResource:
    """Give a remembered object another status, of the same form of it."""
    former = stored.status.get("conditions", [])
    return replace(stored, status=_status(verdict, former, stored.generation, now))


def _desired(
    provider: str, declared: Declared, stored: StoredResource | None, now: datetime
) -> Desired:
    resource, digest = declared.resource, declared.digest or digest_of(declared.resource)
    generation = resource.metadata.generation
    if provider == "file":
        generation = 1
        if stored is not None:
            changed = stored.digest != digest
            generation = stored.generation + 1 if changed else stored.generation
    created = stored.created_on if stored is not None else now
    if resource.metadata.creation_timestamp is not None and provider != "file":
        created = datetime.fromisoformat(resource.metadata.creation_timestamp)
    return Desired(
        resource=resource,
        manager=manager_of(provider, resource.key),
        generation=generation,
        created_on=created,
        digest=digest,
    )


def _objection(provider: str, declared: Declared, stored: StoredResource | None) -> str | None:
    """Say why a valid object cannot follow its former form, or cannot be kept at all.

    Where an API server holds the rules about changes, what differs from the former form in spite
    of them is an object that was deleted and made anew.
    """
    digest = declared.digest or digest_of(declared.resource)
    if not digest:
        return "spec: Invalid value: must not hold NUL characters"
    if provider != "file" or stored is None or not stored.digest:
        return None
    if digest == stored.digest:
        return None
    resource, spec = declared.resource, spec_of(declared.resource)
    document = {
        "apiVersion": API_VERSION,
        "kind": resource.kind,
        "metadata": {"name": resource.metadata.name},
        "spec": spec,
    }
    problems = validate(document, old={"spec": read(stored.spec)})
    return describe(problems) if isinstance(problems, list) else None


def _is_gone(stored: StoredResource, snapshot: Snapshot) -> bool:
    if not snapshot.complete:
        return False
    file = (stored.place or "").rpartition(":")[0]
    return not (file and snapshot.is_broken(file))


def standing(stored: StoredResource) -> Resource | None:
    """Read a remembered object; None if it never was valid, or is not in this version."""
    kind = KINDS.get(stored.kind)
    if kind is None or not stored.digest:
        return None
    try:
        return kind.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": stored.kind,
                "metadata": {"name": stored.name, "namespace": stored.namespace},
                "spec": read(stored.spec),
            }
        )
    except ValidationError:
        log.warning("resource.outdated", kind=stored.kind, name=stored.name)
        return None


def _policy(stored: StoredResource) -> str:
    return _policy_in(stored.kind, stored.spec)


def _policy_of(resource: Resource) -> str:
    return _policy_in(resource.kind, spec_of(resource))


def _policy_in(kind: str, spec: Mapping[str, Any]) -> str:
    default = "Retain" if kind == "Workflow" else "Delete"
    policy = spec.get("deletionPolicy", default)
    return policy if policy in ("Delete", "Retain") else default


def _record(
    key: Key,
    desired: Desired | None,
    verdict: Verdict,
    *,
    before: StoredResource | None,
    place: str | None,
    now: datetime,
) -> StoredResource:
    spec: Mapping[str, Any] = {}
    digest, generation = "", 0
    if desired is not None:
        spec = spec_of(desired.resource)
        digest, generation = desired.digest or spec_digest(spec), desired.generation
    former = [] if before is None else before.status.get("conditions", [])
    return StoredResource(
        kind=key[0],
        namespace=key[1],
        name=key[2],
        generation=generation,
        digest=digest,
        spec=spec,
        status=_status(verdict, former, generation, now),
        place=place if place is not None or before is None else before.place,
        created_on=_created_on(before, desired, now),
    )


def _created_on(before: StoredResource | None, desired: Desired | None, now: datetime) -> datetime:
    if before is not None:
        return before.created_on
    return now if desired is None else desired.created_on


def _status(
    verdict: Verdict, former: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> dict[str, Any]:
    known = [c for c in map(json_to_condition, former) if c is not None]
    conditions = replace_conditions(known, verdict.conditions, now)
    return {
        "observedGeneration": generation,
        "conditions": [condition_to_json(condition) for condition in conditions],
        **verdict.fields,
    }
