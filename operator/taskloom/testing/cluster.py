"""An API server in memory, for tests of what reads and writes a cluster."""

import contextlib
import copy
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskloom.errors import Conflict, NotFound, TaskloomError
from taskloom.providers.kubernetes.cluster import Page
from taskloom.providers.kubernetes.feed import Event, Feed
from taskloom.providers.kubernetes.objects import DATA, OURS, Body, ResourceType
from taskloom.reconcilers.snapshot import Key

_PAGE = 2  # small, so that tests meet a second one


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that was made: the verb, and the object or (with an empty name) the collection."""

    verb: str
    kind: str
    namespace: str | None
    name: str = ""


class FakeCluster:
    """Keeps objects as an API server does: versions, uids, generations, conditions of writes.

    `calls` lists what was asked.  What is written by others (`put`, `drop`) and by calls alike is
    told to the feeds that watch.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._objects: dict[Key, dict[str, Any]] = {}
        self._version = 0
        self._feeds: list[Feed] = []
        self._failures: dict[str, deque[TaskloomError]] = {}
        self._missing: set[str] = set()

    def put(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create or change an object as its user does; a status is kept."""
        metadata = body["metadata"]
        key = (str(body["kind"]), str(metadata.get("namespace", "default")), str(metadata["name"]))
        before = self._objects.get(key)
        after = copy.deepcopy(dict(body))
        if before is not None and "status" in before:
            after["status"] = before["status"]
        for name in ("finalizers", "deletionTimestamp"):
            if before is not None and name in before["metadata"]:
                after["metadata"].setdefault(name, before["metadata"][name])
        return self._store(key, after, before)

    def drop(self, kind: str, namespace: str, name: str, *, told: bool = True) -> None:
        """Delete an object as its user does; unless `told`, the watch misses it.

        One with finalizers stays, and says that it is deleted.
        """
        key = (kind, namespace, name)
        before = self._objects[key]
        if not before["metadata"].get("finalizers"):
            self._remove(key, told=told)
            return
        after = copy.deepcopy(before)
        after["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
        self._store(key, after, before)

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Give an object as it stands."""
        found = self._objects.get((kind, namespace, name))
        return None if found is None else copy.deepcopy(found)

    def names(self, kind: str) -> list[str]:
        """Name all objects of a kind."""
        return [key[2] for key in self._objects if key[0] == kind]

    def fail(self, verb: str, *errors: TaskloomError) -> None:
        """Let the next calls of a verb end with these errors, one after another."""
        self._failures.setdefault(verb, deque()).extend(errors)

    def undefine(self, kind: str) -> None:
        """Take the definition of a kind away."""
        self._missing.add(kind)

    def define(self, kind: str) -> None:
        """Give the definition of a kind back."""
        self._missing.discard(kind)

    def count(self, verb: str, kind: str = "") -> int:
        """Count the calls of a verb, of one kind or of all."""
        return sum(call.verb == verb and kind in ("", call.kind) for call in self.calls)

    @contextlib.asynccontextmanager
    async def watch(self, feed: Feed) -> AsyncIterator[None]:
        """Tell a feed of everything there is, then of every change."""
        for key, body in self._objects.items():
            if key[0] in OURS or key[0] in DATA:
                feed.put(Event(body=copy.deepcopy(body), listed=True))
        self._feeds.append(feed)
        try:
            yield
        finally:
            self._feeds.remove(feed)

    async def serves(self, type_: ResourceType) -> bool:
        """Tell whether the definition of a kind is there; only asked of others' kinds."""
        return type_.kind not in self._missing

    async def apply(self, type_: ResourceType, body: Body, *, manager: str) -> Body:
        """Make or change an object: fields are put over those that are there."""
        metadata = body["metadata"]
        namespace, name = str(metadata["namespace"]), str(metadata["name"])
        self._begin("apply", type_, namespace, name)
        key = (type_.kind, namespace, name)
        before = self._objects.get(key)
        return self._store(key, _merged(before, copy.deepcopy(dict(body))), before)

    async def pages(
        self, type_: ResourceType, namespace: str | None, *, selector: str = ""
    ) -> AsyncIterator[Page]:
        """List a collection piece by piece; a `selector` names labels and their values."""
        self._begin("list", type_, namespace)
        version = self._version
        found = [
            copy.deepcopy(body)
            for key, body in sorted(self._objects.items())
            if key[0] == type_.kind and namespace in (None, key[1]) and _has_labels(body, selector)
        ]
        for body in found:
            del body["kind"], body["apiVersion"]  # as in a list of the API server's
        for start in range(0, max(len(found), 1), _PAGE):
            yield Page(items=found[start : start + _PAGE], version=version)

    async def get(self, type_: ResourceType, namespace: str, name: str) -> Body:
        """Read one object."""
        self._begin("get", type_, namespace, name)
        return copy.deepcopy(self._there(type_, namespace, name))

    async def create(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Make an object; `Conflict` if there is one of its name."""
        name = str(body["metadata"]["name"])
        self._begin("create", type_, namespace, name)
        key = (type_.kind, namespace, name)
        if key in self._objects:
            raise Conflict(f"{name} already exists")
        return self._store(key, copy.deepcopy(dict(body)), None)

    async def replace(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Put another in an object's place; `Conflict` unless its resource version is given."""
        self._begin("replace", type_, namespace, name)
        before = self._there(type_, namespace, name)
        _check_version(before, body)
        return self._store((type_.kind, namespace, name), copy.deepcopy(dict(body)), before)

    async def merge(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Change some fields; a resource version in the patch is a condition."""
        self._begin("merge", type_, namespace, name)
        before = self._there(type_, namespace, name)
        if "resourceVersion" in (patch.get("metadata") or {}):
            _check_version(before, patch)
        return self._store((type_.kind, namespace, name), _merged(before, patch), before)

    async def apply_status(
        self, type_: ResourceType, namespace: str, name: str, status: Body
    ) -> Body:
        """Write a status; nothing changes if it stands there already."""
        self._begin("apply-status", type_, namespace, name)
        before = self._there(type_, namespace, name)
        after = copy.deepcopy(before) | {"status": copy.deepcopy(dict(status))}
        if after == before:
            return copy.deepcopy(before)
        return self._store((type_.kind, namespace, name), after, before)

    async def set_finalizers(
        self, type_: ResourceType, namespace: str, name: str, finalizers: Sequence[str], *, uid: str
    ) -> Body:
        """Make these the object's finalizers; one that is deleted goes with the last of them."""
        self._begin("set-finalizers", type_, namespace, name)
        before = self._there(type_, namespace, name)
        if before["metadata"]["uid"] != uid:
            raise Conflict(f"{name} is another by now")
        after = copy.deepcopy(before)
        after["metadata"]["finalizers"] = [*finalizers]
        stored = self._store((type_.kind, namespace, name), after, before)
        if not finalizers and "deletionTimestamp" in after["metadata"]:
            self._remove((type_.kind, namespace, name), told=True)
        return stored

    async def delete(self, type_: ResourceType, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid; `Conflict` if it is another by now."""
        self._begin("delete", type_, namespace, name)
        if self._there(type_, namespace, name)["metadata"]["uid"] != uid:
            raise Conflict(f"{name} is another by now")
        self._remove((type_.kind, namespace, name), told=True)

    def _begin(self, verb: str, type_: ResourceType, namespace: str | None, name: str = "") -> None:
        call = Call(verb=verb, kind=type_.kind, namespace=namespace, name=name)
        self.calls.append(call)
        waiting = self._failures.get(verb)
        if waiting:
            raise waiting.popleft()
        if type_.kind in self._missing:
            raise NotFound("the server could not find the requested resource")

    def _there(self, type_: ResourceType, namespace: str, name: str) -> dict[str, Any]:
        try:
            return self._objects[type_.kind, namespace, name]
        except KeyError:
            raise NotFound(f"{type_.plural} {name} not found") from None

    def _store(
        self, key: Key, body: dict[str, Any], before: dict[str, Any] | None
    ) -> dict[str, Any]:
        self._version += 1
        former = {} if before is None else before["metadata"]
        changed = before is None or before.get("spec") != body.get("spec")
        body["metadata"] = {
            **body["metadata"],
            "namespace": key[1],
            "uid": former.get("uid") or str(uuid.uuid4()),
            "creationTimestamp": body["metadata"].get("creationTimestamp")
            or former.get("creationTimestamp")
            or "2026-11-24T09:00:00Z",
            "generation": former.get("generation", 0) + changed,
            "resourceVersion": str(self._version),
        }
        self._objects[key] = body
        self._tell(Event(body=copy.deepcopy(body)))
        return copy.deepcopy(body)

    def _remove(self, key: Key, *, told: bool) -> None:
        body = self._objects.pop(key)
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        if told:
            self._tell(Event(body=body, deleted=True))

    def _tell(self, event: Event) -> None:
        for feed in self._feeds:
            feed.put(event)


def _has_labels(body: Body, selector: str) -> bool:
    labels = body["metadata"].get("labels") or {}
    wanted = (term.partition("=") for term in selector.split(",") if term)
    return all(labels.get(name) == value for name, _, value in wanted)


def _check_version(before: Body, body: Body) -> None:
    if body["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
        raise Conflict("the object has been modified")


def _merged(before: Any, patch: Any) -> Any:
    """Merge as RFC 7396 says."""
    if not isinstance(patch, Mapping):
        return patch
    made = dict(before) if isinstance(before, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _merged(made.get(name), value)
    return made
