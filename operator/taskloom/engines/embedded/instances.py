"""Instances and the definitions they are of: what never changes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskloom.engines.embedded.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One deployed version."""

    id: str
    workflow_key: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An active instance: what never changes of it."""

    id: str
    root_id: str
    caller_id: str | None
    caller_activity_id: str | None
    definition_id: str
    workflow_key: str
    version: int
    start_id: str | None
    business_key: str | None


def new_instance(
    definition: Definition,
    instance_id: str,
    variables: Mapping[str, Any],
    *,
    business_key: str | None,
    start_id: str | None = None,
) -> tuple[Live, State]:
    """Make an instance that nobody called and that has not begun."""
    live = Live(
        id=instance_id,
        root_id=instance_id,
        caller_id=None,
        caller_activity_id=None,
        definition_id=definition.id,
        workflow_key=definition.workflow_key,
        version=definition.version,
        start_id=start_id,
        business_key=business_key,
    )
    state = State(
        instance_id=instance_id,
        definition_id=definition.id,
        business_key=business_key,
        variables=dict(variables),
    )
    return live, state
