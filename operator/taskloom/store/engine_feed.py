"""How far the changes of an engine elsewhere have been read: kept in the task database."""

from collections.abc import Mapping
from datetime import datetime

from taskloom.store.database import Database
from taskloom.store.driver import as_parameter, run

_KEEP = """
INSERT INTO engine_feed AS f (engine, kind, read_to)
SELECT %s, kind, read_to FROM jsonb_to_recordset(%s::jsonb) AS m (kind text, read_to timestamptz)
ON CONFLICT (engine, kind) DO UPDATE SET read_to = excluded.read_to
WHERE f.read_to < excluded.read_to
"""


class FeedBookmark:
    """The moments of one engine, by kind of change; none goes back, whoever writes it."""

    def __init__(self, database: Database, engine: str) -> None:
        self._database = database
        self._engine = engine

    async def read(self) -> Mapping[str, datetime]:
        """Give the moments that are kept."""
        async with self._database.at_once() as tx:
            rows = await run(
                tx.connection,
                "SELECT kind, read_to FROM engine_feed WHERE engine = %s",
                (self._engine,),
            )
            return {row.kind: row.read_to for row in rows}

    async def keep(self, moments: Mapping[str, datetime]) -> None:
        """Keep moments."""
        rows = [{"kind": kind, "read_to": at.isoformat()} for kind, at in sorted(moments.items())]
        async with self._database.begin() as tx:
            await run(tx.connection, _KEEP, (self._engine, as_parameter(rows)))
