"""Who asked the API server for what, by its audit log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.real.kubernetes.api import Json


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """A verb on a resource (``pods``, ``pods/status``) of an API group; the core's is empty."""

    group: str
    resource: str
    verb: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it was answered."""

    user: str
    right: Right
    path: str
    code: int


def requests(log: Path) -> list[Request]:
    """Read an audit log; what asked for no resource (discovery, health) is left out."""
    found = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        target = event.get("objectRef")
        if target is None:
            continue
        resource = target["resource"]
        if "subresource" in target:
            resource += f"/{target['subresource']}"
        right = Right(group=target.get("apiGroup", ""), resource=resource, verb=event["verb"])
        found.append(
            Request(
                user=event["user"]["username"],
                right=right,
                path=event["requestURI"],
                code=event.get("responseStatus", {}).get("code", 0),
            )
        )
    return found


def granted(roles: Iterable[Json]) -> set[Right]:
    """Give all rights that some Roles and ClusterRoles grant."""
    return {
        Right(group=group, resource=resource, verb=verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
