"""Event sources."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.store.sealing import Sealer
from taskloom.store.tables import event_sources


class Sources:
    """The event_sources table."""

    def __init__(self, connection: AsyncConnection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    async def all(self) -> list[EventSource]:
        """List every source, oldest first."""
        result = await self._connection.execute(
            select(event_sources).order_by(event_sources.c.created_on, event_sources.c.id)
        )
        return [self._row_to_source(row) for row in result]

    async def by_path(self, path: str) -> EventSource | None:
        """Find the http source of a path."""
        result = await self._connection.execute(
            select(event_sources).where(event_sources.c.path == path)
        )
        row = result.first()
        return None if row is None else self._row_to_source(row)

    async def put(self, source: EventSource) -> None:
        """Insert a source, or replace the one with its id."""
        secrets = {name: value.reveal() for name, value in source.secrets.items()}
        values = {
            "kind": source.kind,
            "path": source.path,
            "spec": msgspec.json.encode(source.spec).decode(),
            "secrets": self._sealer.seal(secrets),
            "suspended": source.suspended,
            "managed_by": source.managed_by,
        }
        await self._connection.execute(
            insert(event_sources)
            .values(id=source.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def remove(self, source_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(delete(event_sources).where(event_sources.c.id == source_id))

    def _row_to_source(self, row: Any) -> EventSource:
        secrets = self._sealer.open(row.secrets) if row.secrets else {}
        return EventSource(
            id=row.id,
            kind=row.kind,
            path=row.path,
            spec=msgspec.json.decode(row.spec),
            secrets={name: Secret(value) for name, value in secrets.items()},
            suspended=row.suspended,
            managed_by=row.managed_by,
            created_on=row.created_on,
        )
