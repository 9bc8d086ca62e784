"""Event sinks."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink
from taskloom.store.driver import run
from taskloom.store.lenient import NO_SECRETS, UNREADABLE, read_or
from taskloom.store.sealing import Sealer
from taskloom.store.tables import event_sinks


class Sinks:
    """The event_sinks table."""

    def __init__(self, connection: AsyncConnection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    async def all(self) -> list[EventSink]:
        """List every sink, oldest first; what cannot be read of one is nothing that there is."""
        result = await self._connection.execute(
            select(event_sinks).order_by(event_sinks.c.created_on, event_sinks.c.id)
        )
        return [self._row_to_sink(row) for row in result]

    async def interests(self) -> list[tuple[UUID, tuple[str, ...], str | None]]:
        """List what sinks want: id, globs of event keys, filter.

        Suspended ones are among them: what they missed is produced when they resume.
        """
        rows = await run(self._connection, "SELECT id, event_keys, filter FROM event_sinks")
        return [
            (row.id, msgspec.json.decode(row.event_keys, type=tuple[str, ...]), row.filter)
            for row in rows
        ]

    async def put(self, sink: EventSink) -> None:
        """Insert a sink, or replace the one with its id."""
        secrets = {name: value.reveal() for name, value in sink.secrets.items()}
        values = {
            "kind": sink.kind,
            "spec": msgspec.json.encode(sink.spec).decode(),
            "secrets": self._sealer.seal(secrets),
            "event_keys": msgspec.json.encode(sink.event_keys).decode(),
            "filter": sink.filter,
            "suspended": sink.suspended,
            "managed_by": sink.managed_by,
        }
        await self._connection.execute(
            insert(event_sinks)
            .values(id=sink.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def remove(self, sink_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(delete(event_sinks).where(event_sinks.c.id == sink_id))

    def _open(self, row: Any) -> dict[str, Secret]:
        secrets = self._sealer.open(row.secrets) if row.secrets else {}
        return {name: Secret(value) for name, value in secrets.items()}

    def _row_to_sink(self, row: Any) -> EventSink:
        return EventSink(
            id=row.id,
            kind=row.kind,
            spec=msgspec.json.decode(row.spec),
            event_keys=read_or(
                (UNREADABLE,), lambda: msgspec.json.decode(row.event_keys, type=tuple[str, ...])
            ),
            filter=row.filter,
            secrets=read_or(NO_SECRETS, lambda: self._open(row)),
            suspended=row.suspended,
            managed_by=row.managed_by,
            created_on=row.created_on,
        )
