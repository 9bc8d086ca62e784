"""Everything that is declared in the cluster, kept up to date by listings and by news.

News may come late, twice, or not at all, and a listing may be older than the news: what is known
of an object is replaced only by what has a higher resource version, and one that is gone leaves
behind at which version it went.
"""

import base64
import binascii
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from types import MappingProxyType
from typing import Any

import msgspec

from taskloom.providers.kubernetes.compact import compact
from taskloom.providers.kubernetes.objects import DATA, OURS, Body, metadata_of, version_of
from taskloom.providers.kubernetes.references import references_of
from taskloom.providers.kubernetes.scope import Scope
from taskloom.reconcilers.snapshot import DataObject, Declared, Key, Refused, Snapshot
from taskloom.reconcilers.specs import digest_of
from taskloom.resources.validate import validate

PROVIDER = "kubernetes"
_NONE: Mapping[str, str] = MappingProxyType({})
HELD = "Workflow"
"""The one kind whose objects may have to wait before they go."""


class News(StrEnum):
    """What a look at an object came to."""

    NOTHING = "nothing"
    STATUS = "status"
    """Only its status or its frame changed."""
    DECLARED = "declared"
    """What is declared changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One of our objects as it was last seen; `declared` is None if it is not valid.

    Its status is kept as `written`, JSON: there are many, and few are read.
    """

    uid: str
    version: int
    generation: int
    labels: Mapping[str, str]
    written: bytes
    declared: Declared | None
    refused: Refused | None = None
    references: frozenset[Key] = frozenset()
    deleted: bool = False
    """Whether its user has deleted it; it is there still while it has finalizers."""
    finalizers: tuple[str, ...] = ()

    @property
    def status(self) -> Mapping[str, Any]:
        """The status, read anew each time."""
        made: dict[str, Any] = msgspec.json.decode(self.written)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A ConfigMap or Secret that is referred to; `uid` is empty if there is none.

    `owners` are the uids of the objects that it goes with.
    """

    uid: str
    version: int
    found: DataObject | None
    owners: frozenset[str] = frozenset()


class Mirror:
    """What is known of the cluster."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._objects: dict[Key, Seen] = {}
        self._data: dict[Key, Data] = {}
        self._gone: dict[Key, int] = {}
        self._listed: dict[tuple[str, str | None], int] = {}
        self._references: frozenset[Key] = frozenset()
        self._stale = False  # whether `_references` have to be gathered anew

    @property
    def complete(self) -> bool:
        """Tell whether every kind has been listed, so that what is not known is not there."""
        return all((kind, place) in self._listed for kind in OURS for place in self._scope.places)

    @property
    def references(self) -> frozenset[Key]:
        """The ConfigMaps and Secrets that selected objects refer to; may be read by any thread."""
        return self._references

    def unknown(self) -> frozenset[Key]:
        """Gather what is referred to now, forget other data, and name what is to be looked up."""
        self._refer()
        return self._references - self._data.keys()

    def seen(self, key: Key) -> Seen | None:
        """Give what is known of one of our objects; None if there is none."""
        return self._objects.get(key)

    def data(self, key: Key) -> Data | None:
        """Give what is known of a ConfigMap or Secret; None if nothing is."""
        return self._data.get(key)

    def selects(self, seen: Seen) -> bool:
        """Tell whether an object is this installation's business."""
        return self._scope.selects(seen.labels)

    def is_elsewhere(self, key: Key) -> bool:
        """Tell whether an object is not this installation's business, as far as it is known."""
        namespaces, seen = self._scope.namespaces, self._objects.get(key)
        outside = namespaces is not None and key[1] not in namespaces
        return outside or (seen is not None and not self.selects(seen))

    def selected(self) -> list[tuple[Key, Seen]]:
        """List the objects that are this installation's business."""
        return [(k, s) for k, s in self._objects.items() if self._scope.selects(s.labels)]

    def take(self, body: Body, *, deleted: bool = False) -> News:
        """Learn of one object."""
        key = key_of(body)
        if key[0] in DATA:
            return self._take_data(key, body, deleted=deleted)
        if key[0] in OURS:
            return self._take_object(key, body, deleted=deleted)
        return News.NOTHING

    def take_listing(
        self, kind: str, place: str | None, bodies: Iterable[Body], version: int
    ) -> bool:
        """Learn of all objects of a kind in a place at once; tell whether what is declared changed.

        A listing older than the one before says that the cluster was restored from a backup:
        then it is believed in everything.
        """
        listing = self.listing(kind, place, version)
        listing.take(bodies)
        return listing.end()

    def listing(self, kind: str, place: str | None, version: int) -> "Listing":
        """Begin to learn of all objects of a kind in a place, piece by piece.

        Of ConfigMaps and Secrets only those are noted that are referred to.
        """
        if kind in DATA:
            self._refer()
            return Listing(self, kind, place, version, changed=False)
        restored = version < self._listed.get((kind, place), 0)
        if restored:
            self._forget_versions(kind, place)
        return Listing(self, kind, place, version, changed=restored)

    def end_listing(
        self, kind: str, place: str | None, version: int, listed: Container[Key]
    ) -> bool:
        """Forget what a listing lacks; tell whether there was any."""
        if kind in DATA:
            for key in self._references:
                if key[0] == kind and place in (None, key[1]) and key not in listed:
                    self.take_absence(key, version)
            return False
        lost = [
            key
            for key, seen in self._objects.items()
            if key[0] == kind
            and place in (None, key[1])
            and key not in listed
            and seen.version <= version
        ]
        for key in lost:
            del self._objects[key]
        for key, gone in list(self._gone.items()):
            if key[0] == kind and place in (None, key[1]) and gone <= version:
                del self._gone[key]
        self._gone |= dict.fromkeys(lost, version)
        self._listed[kind, place] = version
        self._stale |= bool(lost)
        return bool(lost)

    def knows(self, body: Body) -> bool:
        """Tell whether an object is no news; may be asked by any thread."""
        key, version = key_of(body), version_of(body)
        known = self._objects.get(key) or self._data.get(key)
        return known is not None and 0 < version <= known.version

    def take_absence(self, key: Key, version: int = 0) -> None:
        """Learn that there is no such ConfigMap or Secret."""
        before = self._data.get(key)
        if before is None or version == 0 or version > before.version:
            self._data[key] = Data(uid="", version=version, found=None)

    def snapshot(self) -> Snapshot:
        """Give what is declared now."""
        selected = self.selected()
        found = {key: data.found for key, data in self._data.items() if data.found is not None}
        return Snapshot(
            provider=PROVIDER,
            resources=tuple(seen.declared for _, seen in selected if seen.declared is not None),
            refused=tuple(seen.refused for _, seen in selected if seen.refused is not None),
            config_maps={key[1:]: item for key, item in found.items() if key[0] == "ConfigMap"},
            secrets={key[1:]: item for key, item in found.items() if key[0] == "Secret"},
            complete=self.complete,
            namespaces=(
                None if self._scope.namespaces is None else frozenset(self._scope.namespaces)
            ),
            elsewhere=frozenset(self._objects) - {key for key, _ in selected},
            gone=frozenset(self._gone),
            leaving=frozenset(key for key, seen in selected if seen.deleted and key[0] == HELD),
        )

    def _take_object(self, key: Key, body: Body, *, deleted: bool) -> News:
        version = version_of(body)
        before = self._objects.get(key)
        if version and version <= max(before.version if before else 0, self._gone.get(key, 0)):
            return News.NOTHING
        if deleted:
            self._gone[key] = version
            if self._objects.pop(key, None) is None:
                return News.NOTHING
        else:
            after = _see(key, body, before)
            self._objects[key] = after
            if before is not None and _same_wish(before, after):
                return News.STATUS if before.written != after.written else News.NOTHING
        self._stale = True
        return News.DECLARED

    def _take_data(self, key: Key, body: Body, *, deleted: bool) -> News:
        self._refer()
        if key not in self._references:
            return News.NOTHING
        before, version = self._data.get(key), version_of(body)
        if before is not None and version and version <= before.version:
            return News.NOTHING
        if deleted:
            self._data[key] = Data(uid="", version=version, found=None)
            return News.NOTHING if before is not None and before.found is None else News.DECLARED
        after = _see_data(key, body)
        self._data[key] = after
        same = before is not None and (before.found, before.uid, before.owners) == (
            after.found,
            after.uid,
            after.owners,
        )
        return News.NOTHING if same else News.DECLARED

    def _refer(self) -> None:
        """Note what is referred to now, and forget the rest."""
        if not self._stale:
            return
        self._stale = False
        wanted = frozenset(ref for _, seen in self.selected() for ref in seen.references)
        self._references = wanted
        for key in self._data.keys() - wanted:
            del self._data[key]

    def _forget_versions(self, kind: str, place: str | None) -> None:
        for key in [k for k in self._objects if k[0] == kind and place in (None, k[1])]:
            del self._objects[key]
        for key in [k for k in self._gone if k[0] == kind and place in (None, k[1])]:
            del self._gone[key]
        self._data.clear()
        self._stale = True


class Listing:
    """A listing on its way into a mirror."""

    def __init__(
        self, mirror: Mirror, kind: str, place: str | None, version: int, *, changed: bool
    ) -> None:
        self._mirror = mirror
        self._kind = kind
        self._place = place
        self._version = version
        self._listed: set[Key] = set()
        self._changed = changed

    def take(self, bodies: Iterable[Body]) -> None:
        """Learn of some of the objects."""
        for body in bodies:
            typed = {"kind": self._kind, **body}  # the items of a list leave it out
            self._changed |= self._mirror.take(typed) is News.DECLARED
            key = key_of(typed)
            if self._mirror.seen(key) is not None or self._mirror.data(key) is not None:
                self._listed.add(key)

    def end(self) -> bool:
        """Learn that this was all; tell whether what is declared changed."""
        lost = self._mirror.end_listing(self._kind, self._place, self._version, self._listed)
        return self._changed or lost


def key_of(body: Body) -> Key:
    """Give an object's kind, namespace and name."""
    metadata = metadata_of(body)
    return (
        intern(str(body.get("kind"))),
        intern(str(metadata.get("namespace") or "default")),
        intern(str(metadata.get("name"))),
    )


def _see(key: Key, body: Body, before: Seen | None) -> Seen:
    metadata = metadata_of(body)
    generation = int(metadata.get("generation") or 0)
    uid = str(metadata.get("uid") or "")
    labels = dict(metadata.get("labels") or {}) or _NONE
    status = msgspec.json.encode(body.get("status") or {}, order="sorted")
    deleted = bool(metadata.get("deletionTimestamp"))
    finalizers = tuple(metadata.get("finalizers") or ())
    if before is not None and (before.uid, before.generation) == (uid, generation) and generation:
        # The spec is the same: reading it again would be the dearest part of every status change.
        return Seen(
            uid=uid,
            version=version_of(body),
            generation=generation,
            labels=labels,
            written=status,
            declared=before.declared,
            refused=before.refused,
            references=before.references,
            deleted=deleted,
            finalizers=finalizers,
        )
    made = validate(_document(key, body))
    if isinstance(made, list):
        refused = Refused(key=key, problems=tuple(made))
        return Seen(
            uid=uid,
            version=version_of(body),
            generation=generation,
            labels=labels,
            written=status,
            declared=None,
            refused=refused,
            references=frozenset() if before is None else before.references,
            deleted=deleted,
            finalizers=finalizers,
        )
    return Seen(
        uid=uid,
        version=version_of(body),
        generation=generation,
        labels=labels,
        written=status,
        declared=Declared(resource=compact(made), digest=digest_of(made)),
        references=references_of(made),
        deleted=deleted,
        finalizers=finalizers,
    )


_KEPT = ("name", "namespace", "uid", "generation", "creationTimestamp")


def _document(key: Key, body: Body) -> dict[str, Any]:
    """Keep what a resource is read from: the rest of its frame is Kubernetes' own business."""
    metadata = metadata_of(body)
    return {
        "apiVersion": OURS[key[0]].api_version,
        "kind": key[0],
        "metadata": {name: metadata[name] for name in _KEPT if name in metadata},
        "spec": body.get("spec"),
    }


def _same_wish(before: Seen, after: Seen) -> bool:
    return (before.declared, before.refused, before.uid, before.labels, before.deleted) == (
        after.declared,
        after.refused,
        after.uid,
        after.labels,
        after.deleted,
    )


def _see_data(key: Key, body: Body) -> Data:
    metadata = metadata_of(body)
    return Data(
        uid=str(metadata.get("uid") or ""),
        version=version_of(body),
        found=DataObject(namespace=key[1], name=key[2], data=_values(key[0], body)),
        owners=frozenset(
            str(owner.get("uid")) for owner in metadata.get("ownerReferences") or () if owner
        ),
    )


def _values(kind: str, body: Body) -> dict[str, bytes]:
    encoded = "data" if kind == "Secret" else "binaryData"
    values = {name: _decoded(text) for name, text in (body.get(encoded) or {}).items()}
    if kind == "ConfigMap":
        plain = (body.get("data") or {}).items()
        values |= {name: str(text or "").encode("utf-8", "replace") for name, text in plain}
    return values


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return b""  # the API server lets nothing else in
