"""Objects of our kinds: which are meant, found in the cluster, or good words about it."""

import asyncio
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from taskloom.cli.cluster.choice import Reached
from taskloom.cli.resource_table import find_kind
from taskloom.errors import Forbidden, NotFound, TaskloomError
from taskloom.providers.kubernetes.objects import OURS, Body, ResourceType
from taskloom.resources.base import Resource
from taskloom.resources.kinds import KINDS

NOT_YET_SEEN = "NotYetSeen"
"""The reason shown for an object whose newest form has no verdict yet."""


@dataclass(frozen=True, slots=True)
class Named:
    """One object of ours, by kind and name."""

    kind: type[Resource]
    name: str

    @property
    def type_(self) -> ResourceType:
        """Where the API server keeps it."""
        return OURS[self.kind.names.kind]

    @property
    def shown(self) -> str:
        """The way to write it on the command line."""
        return f"{self.kind.names.singular}/{self.name}"


def read_named(first: str, second: str | None, *, kind: type[Resource] | None = None) -> Named:
    """Read ``kind/name`` or ``kind name``; a single name is of `kind`, if there is one."""
    if second is not None:
        return Named(find_kind(first), second)
    text, slash, name = first.partition("/")
    if slash and name:
        return Named(find_kind(text), name)
    if not slash and kind is not None:
        return Named(kind, first)
    raise typer.BadParameter("give a kind and a name, such as workflow/order", param_hint="KIND")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, and for which kinds it could not look and why."""

    bodies: tuple[Body, ...]
    troubles: tuple[str, ...] = ()


async def search(
    reached: Reached,
    kinds: Iterable[type[Resource]] = tuple(KINDS.values()),
    *,
    labels: str = "",
    fields: str = "",
) -> Found:
    """List the objects of some kinds; kinds that may not be read are named in `troubles`.

    Raises `NotFound` if the cluster knows none of the kinds, and `Forbidden` if none may be read.
    """
    wanted = [OURS[kind.names.kind] for kind in kinds]
    answers = await asyncio.gather(
        *(_list(reached, type_, labels=labels, fields=fields) for type_ in wanted)
    )
    errors = [answer for answer in answers if isinstance(answer, TaskloomError)]
    if len(errors) == len(answers):
        if all(isinstance(error, NotFound) for error in errors):
            raise NotFound(
                f"The cluster of the context {reached.context} does not know Taskloom's kinds: "
                "install the chart or `kubectl apply --server-side -f crds/`, or choose another "
                "--context."
            )
        raise errors[0]
    return Found(
        bodies=tuple(body for answer in answers if isinstance(answer, list) for body in answer),
        troubles=tuple(dict.fromkeys(error.message for error in errors)),
    )


async def _list(
    reached: Reached, type_: ResourceType, *, labels: str, fields: str
) -> list[Body] | TaskloomError:
    try:
        found = await reached.cluster.find(type_, reached.namespace, labels=labels, fields=fields)
    except (NotFound, Forbidden) as error:
        return error
    # items of a list do not say what they are
    return [{"apiVersion": type_.api_version, "kind": type_.kind, **body} for body in found]


async def fetch(reached: Reached, named: Named) -> Body:
    """Read one object; `NotFound` says which names are near, and where else there is one."""
    namespace = reached.one_namespace
    try:
        return await reached.cluster.get(named.type_, namespace, named.name)
    except NotFound:
        others = (await search(reached, [named.kind])).bodies
        names = [str(body["metadata"]["name"]) for body in others]
        elsewhere = await _elsewhere(reached, named)
        raise NotFound(explain_missing(named, namespace, names, elsewhere)) from None


async def _elsewhere(reached: Reached, named: Named) -> list[str]:
    everywhere = Reached(cluster=reached.cluster, context=reached.context, namespace=None)
    try:
        found = await search(everywhere, [named.kind], fields=f"metadata.name={named.name}")
    except TaskloomError:
        return []  # it was only a favour
    return [str(body["metadata"]["namespace"]) for body in found.bodies]


def explain_missing(
    named: Named, namespace: str, names: Sequence[str], elsewhere: Sequence[str]
) -> str:
    """Say that there is no such object, and what may be meant."""
    text = f"There is no {named.kind.names.kind} {named.name} in the namespace {namespace}"
    near = near_names(named.name, names)
    if elsewhere:
        places = " and ".join(f"-n {each}" for each in elsewhere[:3])
        return f"{text}: there is one with {places}."
    if near:
        return f"{text}: did you mean {' or '.join(near)}?"
    if names:
        listed = ", ".join(sorted(names)[:5])
        return f"{text}: there {'are' if len(names) > 1 else 'is'} {listed}."
    return f"{text}, nor any other."


def near_names(wanted: str, names: Iterable[str]) -> list[str]:
    """Give the names that may be meant by one that is wrong, the nearest first."""
    return difflib.get_close_matches(wanted, list(names), n=3, cutoff=0.6)


def observed(body: Body) -> bool:
    """Tell whether the status speaks of the object's newest form."""
    status = body.get("status") or {}
    return int(status.get("observedGeneration") or 0) >= int(body["metadata"].get("generation", 1))


def as_resource(body: Body) -> dict[str, Any]:
    """Give an object the form that GET /resources gives it.

    Where its newest form has no verdict yet, the old verdict is not shown for one.
    """
    metadata = body["metadata"]
    status = dict(body.get("status") or {})
    if not observed(body):
        others = [each for each in status.get("conditions") or () if each["type"] != "Ready"]
        ready = {
            "type": "Ready",
            "status": "Unknown",
            "reason": NOT_YET_SEEN,
            "message": f"generation {metadata.get('generation', 1)} has not been looked at yet",
        }
        status["conditions"] = [*others, ready]
    return {
        "kind": body["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "generation": metadata.get("generation", 1),
        "createdOn": metadata["creationTimestamp"],
        "place": None,
        "spec": body.get("spec") or {},
        "status": status,
    }


def as_printed(body: Body) -> dict[str, Any]:
    """Give an object as kubectl prints it: without the notes of who manages which field."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata} | {
        name: value
        for name, value in body.items()
        if name not in {"apiVersion", "kind", "metadata"}
    }
