"""What would change if a folder were reconciled: object by object, against what is in force."""

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import yaml

from taskloom.cli.rehearsal import rehearse
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.reconcilers.snapshot import FILE, Key, Snapshot
from taskloom.reconcilers.specs import spec_digest, spec_of
from taskloom.reconcilers.statuses import look_out
from taskloom.store.resources import StoredResource


class Verb(StrEnum):
    """What would become of an object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object: what would become of it, the lines of its spec that differ, what is wrong."""

    key: Key
    verb: Verb
    lines: tuple[str, ...] = ()
    problem: str | None = None
    place: str | None = None


def compare(
    snapshot: Snapshot,
    resources: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    known: Iterable[WorkflowRow] = (),
) -> list[Change]:
    """Compare a folder with the resources of a server, as GET /resources gives them."""
    memory = {stored_key(each): _stored(each) for each in resources}
    outlook = look_out(snapshot, memory, now)
    rehearsal = rehearse(outlook.world, known=known)
    changes = []
    for key, desired in outlook.world.desired.items():
        if key in outlook.refused:
            continue
        before = memory.get(key)
        spec = spec_of(desired.resource)
        model = rehearsal.models.get(key)
        changes.append(
            Change(
                key=key,
                verb=_verb(before, spec, model),
                lines=_difference({} if before is None else before.spec, spec, before, model),
                problem=rehearsal.problems.get(key),
                place=outlook.places.get(key),
            )
        )
    changes += [
        Change(key=key, verb=Verb.REFUSED, problem=reason, place=outlook.places.get(key))
        for key, reason in outlook.refused.items()
    ]
    changes += [
        Change(
            key=(stored.kind, stored.namespace, stored.name),
            verb=Verb.REMOVED,
            lines=_difference(stored.spec, {}, None, None),
            place=stored.place,
        )
        for stored in outlook.forgotten
    ]
    of_objects = [change for change in changes if change.key[0] != FILE]
    return sorted(of_objects, key=lambda change: change.key)


def stored_key(resource: Mapping[str, Any]) -> Key:
    """Kind, namespace and name of a resource that a server told of."""
    return (resource["kind"], resource["namespace"], resource["name"])


def _stored(resource: Mapping[str, Any]) -> StoredResource:
    spec = resource["spec"]
    return StoredResource(
        kind=resource["kind"],
        namespace=resource["namespace"],
        name=resource["name"],
        generation=resource["generation"],
        digest=spec_digest(spec) if resource["generation"] else "",  # 0: it never was valid
        spec=spec,
        status=resource["status"],
        place=resource["place"],
        created_on=datetime.fromisoformat(resource["createdOn"]),
    )


def _verb(before: StoredResource | None, spec: Mapping[str, Any], model: str | None) -> Verb:
    if before is None or not before.digest:
        return Verb.CREATED
    same = before.digest == spec_digest(spec) and not _is_new(before, model)
    return Verb.UNCHANGED if same else Verb.CHANGED


def _is_new(before: StoredResource, model: str | None) -> bool:
    """Tell whether a model, perhaps out of a ConfigMap, is another than the one in force."""
    digest = before.status.get("digest")
    return (
        model is not None
        and digest is not None
        and digest != hashlib.sha256(model.encode()).hexdigest()
    )


def _difference(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    before: StoredResource | None,
    model: str | None,
) -> tuple[str, ...]:
    lines = difflib.unified_diff(_yaml(old), _yaml(new), n=2, lineterm="")
    found = [line for line in lines if not line.startswith(("---", "+++"))]
    if before is not None and _is_new(before, model) and not found:
        found = ["  the BPMN of its ConfigMap is another: a new version would be deployed"]
    return tuple(found)


def _yaml(spec: Mapping[str, Any]) -> list[str]:
    return yaml.safe_dump(dict(spec), allow_unicode=True).splitlines() if spec else []
