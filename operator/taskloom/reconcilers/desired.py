"""Objects as they are wanted, and the world that a plan is made in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from taskloom.ids import derived_id
from taskloom.reconcilers.snapshot import DataObject, Key, Name
from taskloom.resources.base import Resource

R = TypeVar("R", bound=Resource)

API = "api"
"""Manager of the rows that came by REST, and of those that a deleted object left behind."""


def manager_of(provider: str, key: Key) -> str:
    """Name the manager that an object's rows carry: ``file:Workflow/default/buy``."""
    return f"{provider}:{'/'.join(key)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """One object that is wanted; `id` is the id its row always has.

    `digest` is its spec's; empty if it was not asked for yet.
    """

    resource: Resource
    manager: str
    generation: int
    created_on: datetime
    digest: str = ""

    @property
    def key(self) -> Key:
        """Kind, namespace and name."""
        return self.resource.key

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return self.resource.metadata.namespace

    @property
    def name(self) -> str:
        """The object's name."""
        return self.resource.metadata.name

    @property
    def id(self) -> UUID:
        """The id of the object's row: the same however often the object is made anew."""
        return derived_id("managed", self.manager)

    @property
    def age(self) -> tuple[datetime, Key]:
        """What decides who was first: the older one, then the name."""
        return (self.created_on, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that plans look at besides the rows of their own kind.

    `gone` names the managers whose objects are no more, each with its deletion policy;
    `protected` those of which nothing is known just now.
    `sweeps` allows to remove what no object ever recorded explains, in the `namespaces` that are
    looked at (None is all of them), but for what `may_lack` an explanation still.
    """

    provider: str
    desired: Mapping[Key, Desired]
    secrets: Mapping[Name, DataObject] = field(default_factory=dict, repr=False)
    config_maps: Mapping[Name, DataObject] = field(default_factory=dict, repr=False)
    gone: Mapping[str, str] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    sweeps: bool = False
    namespaces: frozenset[str] | None = None
    may_lack: Callable[[datetime | None], bool] = lambda _created_on: False

    def of(self, kind: type[R]) -> list[tuple[Desired, R]]:
        """List the wanted objects of a kind, the oldest first."""
        found = [
            (item, item.resource)
            for item in self.desired.values()
            if isinstance(item.resource, kind)
        ]
        return sorted(found, key=lambda pair: pair[0].age)

    def find(self, kind: type[R], namespace: str, name: str) -> tuple[Desired, R] | None:
        """Find a wanted object."""
        item = self.desired.get((kind.names.kind, namespace, name))
        if item is None or not isinstance(item.resource, kind):
            return None
        return item, item.resource

    def leaving(self, manager: str, default: str, created_on: datetime | None = None) -> str | None:
        """Tell by which policy a manager's row goes: Delete, Retain, or None if it stays."""
        if manager in self.gone:
            return self.gone[manager]
        if not manager.startswith(f"{self.provider}:") or manager in self.protected:
            return None
        kind, _, rest = manager.partition(":")[2].partition("/")
        if (kind, *rest.split("/", 1)) in self.desired:
            return None
        here = self.namespaces is None or rest.partition("/")[0] in self.namespaces
        return default if self.sweeps and here and not self.may_lack(created_on) else None
