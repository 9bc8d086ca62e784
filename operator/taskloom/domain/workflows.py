"""Workflows, their versions, and the mappings that start them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A BPMN process by its `key`; `version` is the latest."""

    id: UUID
    key: str
    name: str
    description: str | None
    provider: str
    version: int
    input_schema: str | None  # JSON text
    suspended: bool
    managed_by: str
    created_on: datetime
    modified_on: datetime
    created_by: str | None
    modified_by: str | None
    deleted: bool
    deleted_on: datetime | None
    deleted_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowVersion:
    """One deployed version of a workflow."""

    id: UUID
    workflow_id: UUID
    version: int
    definition_id: str
    digest: str
    bpmn: str
    input_schema: str | None  # JSON text
    topics: tuple[str, ...]
    created_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMapping:
    """Start `workflow_key` for events of `event_key` (``*`` = every one).

    `filter`, `variables` and `business_key` are CEL over `event`.
    """

    id: UUID
    event_key: str
    workflow_key: str
    filter: str | None
    variables: str | None
    business_key: str | None
    suspended: bool
    managed_by: str
    created_on: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMapping:
    """Start `workflow_key` for each task of `task_key`."""

    id: UUID
    task_key: str
    workflow_key: str
    suspended: bool
    managed_by: str
    created_on: datetime
