"""The types of object that are read and written, and what is read from any object."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from taskloom.resources.base import GROUP, VERSION
from taskloom.resources.kinds import KINDS

Body = Mapping[str, Any]
"""An object as the API server writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """A type of object and where the API server keeps it; the core group's name is empty."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The type's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str = "") -> str:
        """Give the path of a collection (of all namespaces for None) or of one object."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(parts)


OURS: Mapping[str, ResourceType] = MappingProxyType(
    {
        kind: ResourceType(group=GROUP, version=VERSION, plural=model.names.plural, kind=kind)
        for kind, model in KINDS.items()
    }
)
"""The types of Taskloom's own resources, by kind."""
CONFIG_MAPS = ResourceType(group="", version="v1", plural="configmaps", kind="ConfigMap")
SECRETS = ResourceType(group="", version="v1", plural="secrets", kind="Secret")
DATA: Mapping[str, ResourceType] = MappingProxyType({"ConfigMap": CONFIG_MAPS, "Secret": SECRETS})
"""The types that resources refer to for data, by kind."""
LEASES = ResourceType(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
SERVICES = ResourceType(group="", version="v1", plural="services", kind="Service")
SERVICE_ACCOUNTS = ResourceType(
    group="", version="v1", plural="serviceaccounts", kind="ServiceAccount"
)
CORE_EVENTS = ResourceType(group="", version="v1", plural="events", kind="Event")
"""Events of both groups, as the core group shows them."""
EVENTS = ResourceType(group="events.k8s.io", version="v1", plural="events", kind="Event")

DEPLOYMENTS = ResourceType(group="apps", version="v1", plural="deployments", kind="Deployment")
AUTOSCALERS = ResourceType(
    group="autoscaling",
    version="v2",
    plural="horizontalpodautoscalers",
    kind="HorizontalPodAutoscaler",
)
SCALED_OBJECTS = ResourceType(
    group="keda.sh", version="v1alpha1", plural="scaledobjects", kind="ScaledObject"
)


def metadata_of(body: Body) -> Mapping[str, Any]:
    """Give an object's metadata."""
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    return metadata


def version_of(body: Body) -> int:
    """Give an object's resource version as a number, by which older news are told from newer.

    Zero if it has none that is a number: then it counts as the oldest.
    """
    text = str(metadata_of(body).get("resourceVersion") or "")
    return int(text) if text.isascii() and text.isdigit() else 0
