"""The topics that workers which are not ours fetch, remembered with time."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.store.driver import run

# In their order, so that two who note the same topics cannot wait for each other
_NOTE = """
INSERT INTO fetched_topics AS f (topic, served_until)
SELECT topic, %s FROM unnest(%s::text[]) AS given (topic) ORDER BY topic
ON CONFLICT (topic) DO UPDATE SET served_until = greatest(f.served_until, excluded.served_until)
RETURNING (xmax = 0) AS fresh
"""


class FetchedTopics:
    """The fetched_topics table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def note(self, topics: Iterable[str], *, now: datetime, until: datetime) -> bool:
        """Remember that topics are served until then; tell whether one of them was not before."""
        await run(
            self._connection,
            "DELETE FROM fetched_topics WHERE topic IN (SELECT topic FROM fetched_topics"
            " WHERE served_until <= %s ORDER BY topic FOR UPDATE SKIP LOCKED)",
            (now,),
        )
        rows = await run(self._connection, _NOTE, (until, sorted(set(topics))))
        return any(row.fresh for row in rows)

    async def served(self, now: datetime) -> dict[str, datetime]:
        """Give the topics that count as served, and until when."""
        rows = await run(
            self._connection,
            "SELECT topic, served_until FROM fetched_topics WHERE served_until > %s",
            (now,),
        )
        return {row.topic: row.served_until for row in rows}
