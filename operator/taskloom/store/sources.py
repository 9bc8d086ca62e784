"""Event sources."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource
from taskloom.errors import Permanent
from taskloom.store.lenient import NO_SECRETS, read_or
from taskloom.store.sealing import Sealer
from taskloom.store.tables import event_sources, source_states

log = structlog.get_logger()


class Sources:
    """The event_sources table."""

    def __init__(self, connection: AsyncConnection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    async def all(self) -> list[EventSource]:
        """List every source, oldest first; secrets that cannot be read are none that there are."""
        result = await self._connection.execute(
            select(event_sources).order_by(event_sources.c.created_on, event_sources.c.id)
        )
        return [
            self._row_to_source(row, read_or(NO_SECRETS, partial(self._open, row)))
            for row in result
        ]

    async def by_path(self, path: str) -> EventSource | None:
        """Find the http source of a path."""
        result = await self._connection.execute(
            select(event_sources).where(event_sources.c.path == path)
        )
        row = result.first()
        return None if row is None else self._row_to_source(row)

    async def in_pool(self, kinds: Iterable[str], pool: str) -> list[EventSource]:
        """List the sources of these kinds that a pool runs, but for suspended ones."""
        return await self._to_run(kinds, event_sources.c.pool == pool)

    async def dedicated(self, kinds: Iterable[str], namespace: str, name: str) -> list[EventSource]:
        """List the source that an object of this name declares, if it has pods of its own."""
        manager = f":EventSource/{namespace}/{name}"
        return await self._to_run(
            kinds,
            event_sources.c.pool.is_(None)
            & event_sources.c.managed_by.endswith(manager, autoescape=True),
        )

    async def _to_run(self, kinds: Iterable[str], condition: Any) -> list[EventSource]:
        result = await self._connection.execute(
            select(event_sources)
            .where(event_sources.c.kind.in_(sorted(kinds)), condition)
            .where(event_sources.c.suspended.is_(False))
            .order_by(event_sources.c.id)
        )
        found = []
        for row in result:
            try:
                found.append(self._row_to_source(row))
            except Permanent as error:
                # One that cannot be read must not keep the others from running.
                log.error("source.unreadable", source=row.managed_by, error=error.message)  # noqa: TRY400 - the message says all
        return found

    async def put(self, source: EventSource) -> None:
        """Insert a source, or replace the one with its id.

        One that is suspended loses its position: what comes meanwhile is not made up for.
        """
        secrets = {name: value.reveal() for name, value in source.secrets.items()}
        values = {
            "kind": source.kind,
            "path": source.path,
            "spec": msgspec.json.encode(source.spec).decode(),
            "secrets": self._sealer.seal(secrets),
            "suspended": source.suspended,
            "pool": source.pool,
            "managed_by": source.managed_by,
        }
        await self._connection.execute(
            insert(event_sources)
            .values(id=source.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )
        if source.suspended:
            await self._connection.execute(
                update(source_states)
                .where(source_states.c.source_id == source.id)
                .values(position=None)
            )

    async def remove(self, source_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(delete(event_sources).where(event_sources.c.id == source_id))

    def _open(self, row: Any) -> dict[str, Secret]:
        secrets = self._sealer.open(row.secrets) if row.secrets else {}
        return {name: Secret(value) for name, value in secrets.items()}

    def _row_to_source(self, row: Any, secrets: Mapping[str, Secret] | None = None) -> EventSource:
        return EventSource(
            id=row.id,
            kind=row.kind,
            path=row.path,
            spec=msgspec.json.decode(row.spec),
            secrets=self._open(row) if secrets is None else secrets,
            suspended=row.suspended,
            pool=row.pool,
            managed_by=row.managed_by,
            created_on=row.created_on,
        )
