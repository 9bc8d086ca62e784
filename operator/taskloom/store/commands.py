"""Commands declared as resources."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.sources import HttpCommand
from taskloom.store.lenient import NO_TARGET, read_or
from taskloom.store.sealing import Sealer
from taskloom.store.tables import commands
from taskloom.store.targets import json_to_target, target_to_json


class Commands:
    """The commands table."""

    def __init__(self, connection: AsyncConnection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    async def all(self) -> list[HttpCommand]:
        """List every command, oldest first; a target that cannot be read is empty."""
        result = await self._connection.execute(
            select(commands).order_by(commands.c.created_on, commands.c.id)
        )
        return [self._row_to_command(row) for row in result]

    async def to_run(self) -> list[HttpCommand]:
        """List those that can be read: one that cannot must not keep the others from running."""
        return [command for command in await self.all() if command.target is not NO_TARGET]

    async def put(self, command: HttpCommand) -> None:
        """Insert a command, or replace the one with its id."""
        values = {
            "topic": command.topic,
            "target": self._sealer.seal(target_to_json(command.target)),
            "timeout_seconds": command.timeout_seconds,
            "suspended": command.suspended,
            "managed_by": command.managed_by,
        }
        await self._connection.execute(
            insert(commands)
            .values(id=command.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    async def remove(self, command_id: UUID) -> None:
        """Delete one."""
        await self._connection.execute(delete(commands).where(commands.c.id == command_id))

    def _row_to_command(self, row: Any) -> HttpCommand:
        return HttpCommand(
            id=row.id,
            topic=row.topic,
            target=read_or(NO_TARGET, lambda: json_to_target(self._sealer.open(row.target))),
            timeout_seconds=row.timeout_seconds,
            suspended=row.suspended,
            managed_by=row.managed_by,
            created_on=row.created_on,
        )
