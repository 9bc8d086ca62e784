"""What is asked of an API server: a small port, so that everything else is tested without one.

Every call raises the errors of `taskloom.errors`: ``NotFound``, ``Conflict``, ``Forbidden``,
``Unauthenticated``, ``Invalid``, and ``Unavailable`` where the same call may work later.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from taskloom.providers.kubernetes.objects import Body, ResourceType

MANAGER = "taskloom"
"""The field manager that everything is written as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the objects of a collection, and the version of the collection as a whole."""

    items: Sequence[Body]
    version: int


class Cluster(Protocol):
    """An API server."""

    def pages(
        self, type_: ResourceType, namespace: str | None, *, selector: str = ""
    ) -> AsyncIterator[Page]:
        """List a collection piece by piece, of all namespaces for None; all of one version.

        With a `selector` only the objects whose labels it selects.
        """
        ...

    async def serves(self, type_: ResourceType) -> bool:
        """Tell whether a type's group and version are known here."""
        ...

    async def apply(self, type_: ResourceType, body: Body, *, manager: str) -> Body:
        """Make or change an object by server-side apply; what another manager set is taken over."""
        ...

    async def get(self, type_: ResourceType, namespace: str, name: str) -> Body:
        """Read one object."""
        ...

    async def create(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Make an object; `Conflict` if there is one of its name."""
        ...

    async def replace(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Put another in an object's place; `Conflict` unless its resource version is given."""
        ...

    async def merge(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Change some fields (JSON merge patch); a resource version in it is a condition."""
        ...

    async def apply_status(
        self, type_: ResourceType, namespace: str, name: str, status: Body
    ) -> Body:
        """Write a status by server-side apply: what was applied before and is left out goes."""
        ...

    async def set_finalizers(
        self, type_: ResourceType, namespace: str, name: str, finalizers: Sequence[str], *, uid: str
    ) -> Body:
        """Make these the finalizers that we put on the object of that uid; others' stay."""
        ...

    async def delete(self, type_: ResourceType, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid; `Conflict` if it is another by now."""
        ...


def as_applied(type_: ResourceType, namespace: str, name: str, status: Body) -> dict[str, Any]:
    """Write the document that is applied to an object's status."""
    return {
        "apiVersion": type_.api_version,
        "kind": type_.kind,
        "metadata": {"name": name, "namespace": namespace},
        "status": dict(status),
    }
