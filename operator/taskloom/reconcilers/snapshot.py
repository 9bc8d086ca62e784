"""What a provider of desired state hands over: everything that is declared, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from taskloom.resources.base import Resource
from taskloom.resources.problems import FieldProblem

Key = tuple[str, str, str]
"""Kind, namespace and name."""
Name = tuple[str, str]
"""Namespace and name."""
FILE = "File"
"""Kind under which is told what is wrong with a file as a whole, or with what has no name."""

SKEW = timedelta(seconds=10)
"""By how much clocks may differ."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where a document stands: a file relative to the folder, and its line, from 1."""

    file: str
    line: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A resource that was read and is valid.

    `digest` is its spec's, if whoever read it keeps it from one snapshot to the next.
    """

    resource: Resource
    place: Place | None = None
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A resource that is named but not valid; what stood before it stands on.

    `place` is None where a cluster keeps the object.
    """

    key: Key
    place: Place | None = None
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """A ConfigMap or a Secret; its data are never printed."""

    namespace: str
    name: str
    data: Mapping[str, bytes] = field(repr=False)
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person has to mend, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is declared.

    Only a `complete` snapshot says that what it lacks is gone; and even then nothing is gone
    that was last seen in one of the `broken` files, which could not be read this time.
    Objects that are `leaving` are deleted already, but kept from going until their rows are gone.
    What is outside of the `namespaces` (None is all of them), or is one of the objects that are
    `elsewhere` looked after, is left as it is.
    What was made after `since` and is not among the `gone` may be there though the snapshot lacks
    it: where others look after objects of the same cluster, they may know of it earlier.
    A `look` is a snapshot that is taken though nothing is known to have changed.
    """

    provider: str
    resources: tuple[Declared, ...] = ()
    refused: tuple[Refused, ...] = ()
    config_maps: Mapping[Name, DataObject] = field(default_factory=dict)
    secrets: Mapping[Name, DataObject] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    broken: frozenset[str] = frozenset()
    complete: bool = True
    namespaces: frozenset[str] | None = None
    elsewhere: frozenset[Key] = frozenset()
    leaving: frozenset[Key] = frozenset()
    gone: frozenset[Key] = frozenset()
    since: datetime | None = None
    look: bool = False

    def is_elsewhere(self, key: Key) -> bool:
        """Tell whether an object is not this provider's business."""
        return key in self.elsewhere or (
            self.namespaces is not None and key[1] not in self.namespaces
        )

    def may_lack(self, created_on: datetime | None) -> bool:
        """Tell whether what was made then may be there though it is not in the snapshot."""
        if self.since is None:
            return False
        return created_on is None or created_on > self.since - SKEW

    def is_broken(self, file: str) -> bool:
        """Tell whether a file, or a folder above it, could not be read."""
        return any(file == part or file.startswith(f"{part}/") for part in self.broken)
