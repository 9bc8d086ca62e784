"""Workflows and their versions."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.query_tree import Filter, Where
from taskloom.domain.workflows import Workflow, WorkflowVersion
from taskloom.store.filters import Columns, page, query_bounds, where_clause
from taskloom.store.tables import workflow_versions, workflows

COLUMNS: Columns = {
    "id": workflows.c.id,
    "name": workflows.c.name,
    "description": workflows.c.description,
    "provider": workflows.c.provider,
    "workflowVersion": workflows.c.version,
    "externalIdentifier": workflows.c.key,
    "inputSchema": workflows.c.input_schema,
    "createdOn": workflows.c.created_on,
    "modifiedOn": workflows.c.modified_on,
    "createdBy": workflows.c.created_by,
    "modifiedBy": workflows.c.modified_by,
}

_NAMES = tuple(field.name for field in fields(Workflow))


class Workflows:
    """The workflows and workflow_versions tables; deleted rows are left out everywhere."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[Workflow]:
        """List every workflow, oldest first."""
        result = await self._connection.execute(
            select(workflows).where(~workflows.c.deleted).order_by(workflows.c.created_on)
        )
        return [_row_to_workflow(row) for row in result]

    async def get(self, workflow_id: UUID, *, lock: bool = False) -> Workflow | None:
        """Look one up, and hold it against changes with `lock`."""
        query = select(workflows).where(workflows.c.id == workflow_id, ~workflows.c.deleted)
        result = await self._connection.execute(query.with_for_update() if lock else query)
        row = result.first()
        return None if row is None else _row_to_workflow(row)

    async def by_key(self, key: str, *, lock: bool = False) -> Workflow | None:
        """Find one by its key, and hold it against changes with `lock`."""
        query = select(workflows).where(workflows.c.key == key, ~workflows.c.deleted)
        result = await self._connection.execute(query.with_for_update() if lock else query)
        row = result.first()
        return None if row is None else _row_to_workflow(row)

    async def list(self, query: Filter) -> list[Workflow]:
        """List by a query, in its order."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                page(select(workflows).where(~workflows.c.deleted), query, COLUMNS, workflows.c.id)
            )
            return [_row_to_workflow(row) for row in result]

    async def count(self, where: Where) -> int:
        """Count by a query."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(func.count())
                .select_from(workflows)
                .where(~workflows.c.deleted, where_clause(where, COLUMNS))
            )
            return result.scalar_one()

    async def put(self, workflow: Workflow) -> None:
        """Insert a workflow, or replace the one with its id."""
        values = {
            "key": workflow.key,
            "name": workflow.name,
            "description": workflow.description,
            "version": workflow.version,
            "input_schema": workflow.input_schema,
            "suspended": workflow.suspended,
            "managed_by": workflow.managed_by,
            "modified_by": workflow.modified_by,
        }
        await self._connection.execute(
            insert(workflows)
            .values(id=workflow.id, created_by=workflow.created_by, **values)
            .on_conflict_do_update(
                index_elements=["id"], set_={**values, "modified_on": func.now()}
            )
        )

    async def remove(self, workflow_id: UUID) -> None:
        """Delete a workflow and its versions."""
        await self._connection.execute(delete(workflows).where(workflows.c.id == workflow_id))

    async def versions(self, workflow_ids: Sequence[UUID]) -> Sequence[WorkflowVersion]:
        """List the versions of some workflows, in order."""
        result = await self._connection.execute(
            select(workflow_versions)
            .where(workflow_versions.c.workflow_id.in_(workflow_ids))
            .order_by(workflow_versions.c.workflow_id, workflow_versions.c.version)
        )
        return [_row_to_version(row) for row in result]

    async def version(self, workflow_id: UUID, number: int) -> WorkflowVersion | None:
        """Look one version up."""
        result = await self._connection.execute(
            select(workflow_versions).where(
                workflow_versions.c.workflow_id == workflow_id,
                workflow_versions.c.version == number,
            )
        )
        row = result.first()
        return None if row is None else _row_to_version(row)

    async def put_version(self, version: WorkflowVersion) -> None:
        """Insert a version; one that is there already takes the new input schema."""
        values = {
            "definition_id": version.definition_id,
            "digest": version.digest,
            "bpmn": version.bpmn,
            "input_schema": version.input_schema,
            "topics": msgspec.json.encode(version.topics).decode(),
        }
        # Its id is made of its number: a row with the one but not the other was changed by hand.
        await self._connection.execute(
            delete(workflow_versions).where(
                workflow_versions.c.id == version.id,
                workflow_versions.c.version != version.version,
            )
        )
        await self._connection.execute(
            insert(workflow_versions)
            .values(
                id=version.id, workflow_id=version.workflow_id, version=version.version, **values
            )
            .on_conflict_do_update(index_elements=["workflow_id", "version"], set_=values)
        )

    async def remove_version(self, version_id: UUID) -> None:
        """Delete one version."""
        await self._connection.execute(
            delete(workflow_versions).where(workflow_versions.c.id == version_id)
        )


def _row_to_workflow(row: Any) -> Workflow:
    return Workflow(**{name: getattr(row, name) for name in _NAMES})


def _row_to_version(row: Any) -> WorkflowVersion:
    return WorkflowVersion(
        id=row.id,
        workflow_id=row.workflow_id,
        version=row.version,
        definition_id=row.definition_id,
        digest=row.digest,
        bpmn=row.bpmn,
        input_schema=row.input_schema,
        topics=msgspec.json.decode(row.topics, type=tuple[str, ...]),
        created_on=row.created_on,
    )
