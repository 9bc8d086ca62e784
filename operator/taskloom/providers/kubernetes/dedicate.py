"""Gives dedicated sources their pods: lists what there is, and applies what differs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from taskloom.errors import Invalid, NotFound, TaskloomError, Temporary
from taskloom.ids import derived_id
from taskloom.providers.kubernetes.cluster import MANAGER, Cluster
from taskloom.providers.kubernetes.mirror import PROVIDER, Mirror
from taskloom.providers.kubernetes.objects import (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    SCALED_OBJECTS,
    Body,
    ResourceType,
    metadata_of,
)
from taskloom.providers.kubernetes.pod_template import read_template
from taskloom.providers.kubernetes.workloads import (
    LABELS,
    SOURCE_ANNOTATION,
    Dedicated,
    Owner,
    Workload,
    differs,
    owns_replicas,
    problem_of,
    seen_of,
    workloads_of,
)
from taskloom.reconcilers.desired import manager_of
from taskloom.reconcilers.snapshot import Key
from taskloom.resources.event_source import EventSource

log = structlog.get_logger()

LOOK_SECONDS = 10.0
"""Between two looks at everything, so that what was changed by hand is put right."""
RETRY_SECONDS = 5.0
"""Before another look, if something was not as it should be."""
CHANGE_SECONDS = 1.0
"""Between two looks at what is wanted."""
_SCALER = "taskloom-scaling"
"""The field manager that holds a number of replicas until an autoscaler sets it."""
_SELECTOR = ",".join(f"{name}={value}" for name, value in sorted(LABELS.items()))

Place = tuple[str, str]
"""Kind and name of an object in the pods' namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """What pods are made from (a file), for which kinds of source, and what is wrong with some.

    All that is made belongs to the ConfigMap `owner`, if one is named, and goes when that goes.
    Whoever sets `changed` is told that the problems are others.
    """

    template: Path
    kinds: frozenset[str]
    owner: str | None = None
    problems: dict[Key, str] = field(default_factory=dict)
    changed: Callable[[], None] = lambda: None


class Dedicator:
    """Keeps the pods of dedicated sources in `home`, as long as it leads."""

    def __init__(self, cluster: Cluster, mirror: Mirror, home: str, pods: Pods) -> None:
        self._cluster = cluster
        self._mirror = mirror
        self._home = home
        self._pods = pods
        self._accepted: dict[Place, tuple[str, Any]] = {}

    async def run(self) -> None:
        """Look again and again until cancelled."""
        clock = asyncio.get_running_loop().time
        due, known = float("-inf"), None
        while True:
            if self._mirror.complete:
                wanted = self.wanted()
                if wanted != known or clock() >= due:
                    known = wanted
                    due = clock() + (LOOK_SECONDS if await self.look() else RETRY_SECONDS)
            await asyncio.sleep(CHANGE_SECONDS)

    def wanted(self) -> Mapping[Key, Dedicated]:
        """List the sources that are to have pods of their own."""
        found = {}
        for key, seen in self._mirror.selected():
            source = None if seen.declared is None else seen.declared.resource
            if not isinstance(source, EventSource) or source.spec.type not in self._pods.kinds:
                continue
            if source.spec.placement.mode == "Dedicated":
                found[key] = Dedicated(
                    namespace=key[1],
                    name=key[2],
                    source_id=derived_id("managed", manager_of(PROVIDER, key)),
                    spec=source.spec,
                    home=self._home,
                )
        return found

    async def look(self) -> bool:
        """Compare once and put right what differs; tell whether all of that worked."""
        problems: dict[Key, str] = {}
        try:
            await self._settle(problems)
        except TaskloomError as error:
            log.warning("kubernetes.pods-later", error=error.message)
            return False
        if problems != self._pods.problems:
            self._pods.problems.clear()
            self._pods.problems.update(problems)
            self._pods.changed()
        return not problems

    async def _settle(self, problems: dict[Key, str]) -> None:
        wanted = self.wanted()
        template, owner = None, None
        try:
            owner = await self._owner()
            template = read_template(await asyncio.to_thread(_read, self._pods.template))
        except NotFound:
            told = f"the ConfigMap {self._pods.owner} that they are to belong to is not there"
            problems |= dict.fromkeys(wanted, told)
        except Invalid as error:
            problems |= dict.fromkeys(wanted, f"their template cannot be used: {error.message}")
        has_keda = await self._cluster.serves(SCALED_OBJECTS)
        types = [DEPLOYMENTS, AUTOSCALERS, *([SCALED_OBJECTS] if has_keda else [])]
        live = {
            (type_.kind, str(metadata_of(body)["name"])): (type_, body)
            for type_ in types
            async for body in self._list(type_)
        }
        kept: set[Place] = set()
        for key, source in wanted.items():
            if template is None:
                kept |= {(type_.kind, source.object_name) for type_ in types}
                continue
            for workload in workloads_of(source, template, has_keda=has_keda, owner=owner):
                place = (workload.type.kind, workload.name)
                kept.add(place)
                present = live[place][1] if place in live else None
                problem = await self._bring(place, workload, present)
                if problem is not None:
                    problems[key] = problem
        for place, (type_, body) in live.items():
            if place not in kept and self._may_go(body):
                await self._remove(type_, body)

    async def _owner(self) -> Owner | None:
        """Read who everything belongs to; `NotFound` if it has gone, as a release that goes has."""
        if self._pods.owner is None:
            return None
        body = await self._cluster.get(CONFIG_MAPS, self._home, self._pods.owner)
        return Owner(type=CONFIG_MAPS, name=self._pods.owner, uid=str(metadata_of(body)["uid"]))

    async def _list(self, type_: ResourceType) -> AsyncIterator[Body]:
        async for page in self._cluster.pages(type_, self._home, selector=_SELECTOR):
            for body in page.items:  # the items of a list leave out what they are
                yield {"apiVersion": type_.api_version, "kind": type_.kind, **body}

    async def _bring(self, place: Place, wanted: Workload, live: Body | None) -> str | None:
        """Apply an object if it differs; say what is wrong with it, if something is."""
        digest, accepted = self._accepted.get(place, ("", None))
        if digest != wanted.digest:
            accepted = None
        if live is not None and not differs(wanted, live, accepted):
            return problem_of(live)
        try:
            if live is not None and _is_handed_over(wanted, live):
                await self._cluster.apply(
                    wanted.type, _replicas_only(wanted, live), manager=_SCALER
                )
            applied = await self._cluster.apply(wanted.type, wanted.body, manager=MANAGER)
        except Temporary:
            raise
        except TaskloomError as error:
            log.warning(
                "kubernetes.pods-refused", kind=place[0], name=place[1], error=error.message
            )
            return error.message
        log.info("kubernetes.pods-applied", kind=place[0], name=place[1])
        self._accepted[place] = (wanted.digest, seen_of(wanted, applied))
        return problem_of(applied)

    def _may_go(self, body: Body) -> bool:
        """Tell whether an object that nobody wants is this installation's to delete."""
        metadata = metadata_of(body)
        if any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()):
            return False  # KEDA gives the autoscaler that it makes the labels of ours
        annotations = metadata.get("annotations") or {}
        namespace, _, name = str(annotations.get(SOURCE_ANNOTATION, "")).partition("/")
        key = ("EventSource", namespace, name)
        if not name or self._mirror.is_elsewhere(key):
            return False
        seen = self._mirror.seen(key)
        # What is not valid any more stands on in its last valid form.
        return seen is None or seen.declared is not None

    async def _remove(self, type_: ResourceType, body: Body) -> None:
        metadata = metadata_of(body)
        name = str(metadata["name"])
        try:
            await self._cluster.delete(type_, self._home, name, uid=str(metadata["uid"]))
        except NotFound:
            return
        self._accepted.pop((type_.kind, name), None)
        log.info("kubernetes.pods-removed", kind=type_.kind, name=name)


def _is_handed_over(wanted: Workload, live: Body) -> bool:
    """Tell whether an autoscaler is to set the replicas that were set here until now."""
    return (
        wanted.type is DEPLOYMENTS
        and "replicas" not in wanted.body["spec"]
        and owns_replicas(live, MANAGER)
    )


def _replicas_only(wanted: Workload, live: Body) -> Body:
    """Write down the replicas there are: let go of without that, they would be one again."""
    metadata = {name: metadata_of(wanted.body)[name] for name in ("name", "namespace")}
    return {
        "apiVersion": wanted.type.api_version,
        "kind": wanted.type.kind,
        "metadata": metadata,
        "spec": {"replicas": max(1, (live.get("spec") or {}).get("replicas") or 1)},
    }


def _read(template: Path) -> str:
    try:
        return template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{template} cannot be read ({type(error).__name__})") from error
