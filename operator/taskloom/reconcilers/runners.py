"""What an installation has to run sources with, and where a source comes to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from taskloom.reconcilers.desired import Desired
from taskloom.reconcilers.snapshot import Key
from taskloom.resources.event_source import EventSourceSpec

SOURCE_LABEL: Final = "taskloom.dev/source-id"
"""Label of a source's own pods; its value is the source's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """What runs sources, those of type http run wherever the API does, and the kinds of `sinks`.

    `adapters` names those that read formats of their own.
    `no_pods` says why a source cannot have pods of its own, and is None where it can;
    `problems` says what is wrong with the pods of some.
    """

    kinds: frozenset[str] = frozenset({"http"})
    sinks: frozenset[str] = frozenset()
    adapters: frozenset[str] = frozenset()
    no_pods: str | None = "this installation makes no pods"
    problems: Mapping[Key, str] = field(default_factory=dict)


HTTP_ONLY: Final = Runners()


def pool_of(spec: EventSourceSpec, runners: Runners) -> str | None:
    """Name the pool that a source runs in; None if it has pods of its own."""
    dedicated = spec.placement.mode == "Dedicated" and runners.no_pods is None
    return None if dedicated else spec.placement.pool


def shortfalls(desired: Desired, spec: EventSourceSpec, runners: Runners) -> list[str]:
    """Say what of a source's placement is not as it asks for."""
    if spec.placement.mode != "Dedicated":
        return []
    if runners.no_pods is not None:
        return [f"it runs in the pool `{spec.placement.pool}`: {runners.no_pods}"]
    problem = runners.problems.get(desired.key)
    return [] if problem is None else [f"its pods: {problem}"]
