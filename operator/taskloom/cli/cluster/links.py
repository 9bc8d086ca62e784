"""What an object refers to, and which others refer to it; pure, and read from the bare spec.

The bare spec is read, as an object that is not valid has links that matter too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskloom.providers.kubernetes.objects import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reference to an object of the same namespace, and to some of its keys."""

    kind: str
    name: str
    field: str
    keys: tuple[str, ...] = ()


_KINDS = {
    "secretKeyRef": "Secret",
    "usernameRef": "Secret",
    "passwordRef": "Secret",
    "clientIdRef": "Secret",
    "clientSecretRef": "Secret",
    "accessKeyIdRef": "Secret",
    "credentialsRef": "Secret",
    "tokenRef": "Secret",
    "userRef": "Secret",
    "secretAccessKeyRef": "Secret",
    "sessionTokenRef": "Secret",
    "secretRef": "Secret",
    "clientCertificateRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "caBundleRef": "ConfigMap",
    "caRef": "ConfigMap",
    "clientAppRef": "ClientApp",
    "clientAppRefs": "ClientApp",
    "workflowRef": "Workflow",
    "serviceRef": "Service",
}
_KEYS = {"usernameRef": "username", "passwordRef": "password", "configMapKeyRef": "process.bpmn"}
_CERTIFICATE = ("tls.crt", "tls.key")


def links_of(body: Body) -> list[Link]:
    """List what an object refers to, in the order of its spec."""
    return list(dict.fromkeys(_walk(body.get("spec") or {}, "spec")))


def _walk(value: Any, path: str) -> Iterator[Link]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]")
    if not isinstance(value, Mapping):
        return
    for field, part in value.items():
        where = f"{path}.{field}"
        if field not in _KINDS:
            yield from _walk(part, where)
            continue
        for target in part if isinstance(part, list) else [part]:
            if isinstance(target, Mapping) and isinstance(target.get("name"), str):
                yield Link(
                    kind=str(target.get("kind") or _KINDS[field]),
                    name=target["name"],
                    field=where,
                    keys=_keys(field, target),
                )


def _keys(field: str, target: Mapping[str, Any]) -> tuple[str, ...]:
    if field == "clientCertificateRef":
        return _CERTIFICATE
    if _KINDS[field] not in {"Secret", "ConfigMap"} or field == "secretRef":
        return ()
    default = "ca.crt" if field in {"caBundleRef", "caRef"} else _KEYS.get(field)
    key = target.get("key") or default
    return (key,) if key else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """An object that needs another, and how."""

    kind: str
    name: str
    how: str


def dependents_of(body: Body, others: Iterable[Body]) -> list[Dependent]:
    """List the objects of the same namespace that need this one."""
    name = body["metadata"]["name"]
    found = []
    for other in others:
        if other["metadata"]["name"] == name and other["kind"] == body["kind"]:
            continue
        how = next(
            (
                link.field
                for link in links_of(other)
                if link.kind == body["kind"] and link.name == name
            ),
            None,
        ) or _by_word(body, other)
        if how is not None:
            found.append(Dependent(kind=other["kind"], name=other["metadata"]["name"], how=how))
    return sorted(found, key=lambda each: (each.kind, each.name))


def _by_word(body: Body, other: Body) -> str | None:
    """Say how `other` means `body` without naming it: by a workflow's key, by a topic."""
    spec = body.get("spec") or {}
    if body["kind"] == "Workflow" and "workflowKey" in (other.get("spec") or {}):
        key = spec.get("externalIdentifier") or body["metadata"]["name"]
        return "spec.workflowKey" if other["spec"]["workflowKey"] == key else None
    if body["kind"] == "Command" and other["kind"] == "Workflow":
        topics = (other.get("status") or {}).get("topics") or ()
        return f"topic {spec['topic']}" if spec.get("topic") in topics else None
    return None
