"""Declared resources and their statuses, where no cluster keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.store.tables import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResource:
    """A resource as it was last read, and its status; `place` is file and line."""

    kind: str
    namespace: str
    name: str
    generation: int
    digest: str  # of the spec
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    place: str | None
    created_on: datetime


class Resources:
    """The resources table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[StoredResource]:
        """List them all, by kind, namespace and name."""
        result = await self._connection.execute(
            select(resources).order_by(resources.c.kind, resources.c.namespace, resources.c.name)
        )
        return [_row_to_resource(row) for row in result]

    async def put(self, resource: StoredResource) -> None:
        """Insert or replace one; its first `created_on` stays."""
        values = {
            "generation": resource.generation,
            "digest": resource.digest,
            "spec": msgspec.json.encode(resource.spec).decode(),
            "status": msgspec.json.encode(resource.status).decode(),
            "place": resource.place,
        }
        await self._connection.execute(
            insert(resources)
            .values(
                kind=resource.kind,
                namespace=resource.namespace,
                name=resource.name,
                created_on=resource.created_on,
                **values,
            )
            .on_conflict_do_update(
                index_elements=["kind", "namespace", "name"],
                set_={**values, "modified_on": func.now()},
            )
        )

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete one."""
        await self._connection.execute(
            delete(resources).where(
                resources.c.kind == kind,
                resources.c.namespace == namespace,
                resources.c.name == name,
            )
        )


def _row_to_resource(row: Any) -> StoredResource:
    return StoredResource(
        kind=row.kind,
        namespace=row.namespace,
        name=row.name,
        generation=row.generation,
        digest=row.digest,
        spec=msgspec.json.decode(row.spec),
        status=msgspec.json.decode(row.status),
        place=row.place,
        created_on=row.created_on,
    )
