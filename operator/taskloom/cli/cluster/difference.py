"""What applying manifests would change: asked of the API server itself, by a dry run."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from taskloom.cli.cluster.choice import Reached
from taskloom.cli.cluster.manifests import Manifest
from taskloom.cli.comparison import Change, Verb
from taskloom.errors import Conflict, Forbidden, Invalid, NotFound, TaskloomError
from taskloom.providers.kubernetes.objects import DATA, OURS, Body

_TYPES = {**OURS, **DATA}
_LEFT_OUT = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "generation",
        "uid",
        "creationTimestamp",
        "selfLink",
    }
)
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def is_compared(manifest: Manifest) -> bool:
    """Tell whether a manifest is of a kind that is compared: ours, ConfigMap or Secret."""
    type_ = _TYPES.get(manifest.kind)
    return type_ is not None and type_.api_version == manifest.body.get("apiVersion")


async def compare_with_cluster(reached: Reached, manifests: Sequence[Manifest]) -> list[Change]:
    """Compare each manifest with the live object, as ``kubectl apply --server-side`` would."""
    return [await _compare(reached, each) for each in manifests if is_compared(each)]


async def _compare(reached: Reached, manifest: Manifest) -> Change:
    type_ = _TYPES[manifest.kind]
    metadata = dict(manifest.body.get("metadata") or {})
    namespace = str(metadata.get("namespace") or reached.namespace or "default")
    metadata["namespace"] = namespace
    key = (manifest.kind, namespace, manifest.name)
    wanted = {**manifest.body, "metadata": metadata}
    wanted.pop("status", None)
    live: Body | None = None
    try:
        live = await reached.cluster.get(type_, namespace, manifest.name)
    except NotFound:
        live = None
    try:
        after = await reached.cluster.rehearse(type_, namespace, manifest.name, wanted)
    except (Invalid, NotFound, Forbidden, Conflict) as error:
        return Change(key=key, verb=Verb.REFUSED, problem=_words(error), place=manifest.place)
    lines = difference(live, after)
    verb = Verb.CREATED if live is None else Verb.CHANGED if lines else Verb.UNCHANGED
    return Change(key=key, verb=verb, lines=lines, place=manifest.place)


def _words(error: TaskloomError) -> str:
    """Take the API server's own words."""
    return error.message.partition(": ")[2] or error.message


def difference(before: Body | None, after: Body) -> tuple[str, ...]:
    """Show the lines that differ; a Secret's values are not shown."""
    old, new = _shown(before or {}), _shown(after)
    if after.get("kind") == "Secret":
        _mask(old, new)
    lines = difflib.unified_diff(_yaml(old), _yaml(new), n=2, lineterm="")
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


def _shown(body: Body) -> dict[str, Any]:
    """Leave out what the API server notes of its own accord."""
    kept = {name: value for name, value in body.items() if name not in {"status", "metadata"}}
    metadata = {
        name: value for name, value in (body.get("metadata") or {}).items() if name not in _LEFT_OUT
    }
    notes = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name != _APPLIED
    }
    metadata.pop("annotations", None)
    if notes:
        metadata["annotations"] = notes
    return {**kept, "metadata": metadata} if body else {}


def _mask(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = _data(old), _data(new)
    for data, other, when in ((before, after, "before"), (after, before, "after")):
        hidden = {
            name: "***" if other.get(name) == value else f"*** ({when})"
            for name, value in data.items()
        }
        if data:
            (old if data is before else new)["data"] = hidden


def _data(body: Mapping[str, Any]) -> dict[str, Any]:
    return dict(body.get("data") or {})


def _yaml(value: Mapping[str, Any]) -> list[str]:
    if not value:
        return []
    return yaml.safe_dump(dict(value), allow_unicode=True).splitlines()
