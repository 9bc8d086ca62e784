"""Whose writes count among processes that take turns: each turn has a number, a higher one.

A process that was stopped, or cut off, for so long that another took its place does not know it.
Its transactions would still be committed; here they are not, as each one first looks whether its
term is the newest, and keeps it from ending until it has ended itself.

Terms are counted here and not in the Lease: one that is deleted begins to count anew.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Table, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.errors import Superseded
from taskloom.store.database import Database
from taskloom.store.tables import leadership, workflow_leadership

_IDLE = "idle_in_transaction_session_timeout"
_IDLE_SECONDS = 10
"""For how long a transaction may lie idle: a stopped process must not hold up the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One turn at what `lease` guards; `holds` tells whether the lease is held for all we know."""

    lease: str
    number: int
    table: Table
    holds: Callable[[], bool]

    async def check(self, connection: AsyncConnection) -> None:
        """Raise `Superseded` unless this is the newest term, and let none begin meanwhile."""
        if self.holds():
            columns = self.table.c
            result = await connection.execute(
                select(columns.term, func.set_config(_IDLE, f"{_IDLE_SECONDS}s", True))
                .where(columns.lease == self.lease)
                .with_for_update(read=True)
            )
            if result.scalar() == self.number:
                return
        raise Superseded(
            f"The lease {self.lease} is another process's by now (this was term {self.number})."
        )


async def begin_terms(
    tasks: Database, workflows: Database, lease: str, holds: Callable[[], bool]
) -> tuple[Database, Database]:
    """Begin a new term, and give the two databases (perhaps the same one) as only it writes them.

    Each has a count of its own: a look at one says nothing of the moment of a commit on the other.
    """
    own = await _begin(tasks, leadership, lease, holds)
    if workflows is tasks:
        return own, own
    return own, await _begin(workflows, workflow_leadership, lease, holds)


async def _begin(
    database: Database, table: Table, lease: str, holds: Callable[[], bool]
) -> Database:
    async with database.begin() as tx:
        result = await tx.connection.execute(
            insert(table)
            .values(lease=lease, term=1)
            .on_conflict_do_update(
                index_elements=["lease"],
                set_={"term": table.c.term + 1, "began_at": func.now()},
            )
            .returning(table.c.term)
        )
        number: int = result.scalar_one()
    term = Term(lease=lease, number=number, table=table, holds=holds)
    return database.guarded(term.check)
