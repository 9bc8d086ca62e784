"""A locked row and a trigger become a written batch: what every call of the engine shares."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded import records
from taskloom.engines.embedded.definitions import Definitions
from taskloom.engines.embedded.drive import Batch, Clockwork, drive
from taskloom.engines.embedded.instances import Definition, Live, new_instance
from taskloom.engines.embedded.model import Process
from taskloom.engines.embedded.signals import tell
from taskloom.engines.embedded.state import Begin, NewCall, State, Thrown, Trigger
from taskloom.errors import NotFound
from taskloom.ids import new_id
from taskloom.ports.engine import Outcome
from taskloom.ports.engine import Transaction as AnyTransaction
from taskloom.store.database import Database
from taskloom.store.transaction import Transaction


class Stepper:
    """Moves instances on within transactions on one database."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self.database = database
        self.now = now
        self.definitions = Definitions()

    def joins(self, tx: AnyTransaction) -> bool:
        """Tell whether a transaction is on this database."""
        return isinstance(tx, Transaction) and tx.database == self.database.url

    @asynccontextmanager
    async def within(self, tx: AnyTransaction | None) -> AsyncIterator[Transaction]:
        """Take part in the caller's transaction, or open one."""
        if tx is None:
            async with self.database.begin() as own:
                yield own
        elif isinstance(tx, Transaction) and self.joins(tx):
            yield tx
        else:
            raise ValueError("The transaction is on another database: ask joins() first.")

    async def begin(
        self, tx: Transaction, live: Live, state: State, now: datetime, element: str | None = None
    ) -> Batch | None:
        """Start an instance and write it; None if its start id has been used before.

        It begins at the start event `element`, by default as one that is started by its key.
        """
        batch = await self._drive(tx, live, state, [(live.id, Begin(element=element))], now)
        topics = await records.write_start(tx.connection, batch, now)
        if topics is None:
            return None
        _wake(tx, topics)
        await self._tell(tx, batch, now)
        return batch

    async def begin_by_event(
        self,
        tx: Transaction,
        definition_id: str,
        element: str,
        variables: Mapping[str, Any],
        *,
        business_key: str | None = None,
    ) -> str | None:
        """Start an instance by a start event's event; its id, None if the definition is gone."""
        definition = await self.definitions.named(tx.connection, definition_id)
        if definition is None:
            return None
        instance_id = str(new_id())
        live, state = new_instance(definition, instance_id, variables, business_key=business_key)
        await self.begin(tx, live, state, self.now(), element)
        return instance_id

    async def take(self, tx: Transaction, row: Any, trigger: Trigger) -> Outcome | Thrown:
        """Take a trigger up at the instance that a locked row lies in, and write what follows.

        Gives the BPMN error if the trigger is one that nothing catches; nothing has changed then.
        """
        loaded = await records.load_locked(tx.connection, row)
        if loaded is None:
            return Outcome.GONE
        live, state = loaded
        return await self.move(tx, live, state, [(live.id, trigger)])

    async def move(
        self,
        tx: Transaction,
        live: Live,
        state: State,
        triggers: Sequence[tuple[str, Trigger]],
        *,
        reason: str | None = None,
    ) -> Outcome | Thrown:
        """Take triggers up, the first at a loaded instance whose tree is locked."""
        now = self.now()
        batch = await self._drive(tx, live, state, triggers, now)
        if batch.uncaught is not None:
            return batch.uncaught
        batch.reason = reason
        _wake(tx, await records.write(tx.connection, batch, now))
        await self._tell(tx, batch, now)
        return Outcome.DONE

    async def _tell(self, tx: Transaction, batch: Batch, now: datetime) -> None:
        """Tell the signals that a batch throws, as soon as who waits in it is written."""
        told = 0
        for each in batch.signals:
            name, variables = each.signal.name, each.signal.variables
            heard = each.heard_by | set(batch.started)  # or began later than the signal
            told += await tell(tx.connection, name, variables, now, but_for=heard)
        if told:
            tx.notify("engine-jobs")

    async def _drive(
        self,
        tx: Transaction,
        live: Live,
        state: State,
        triggers: Sequence[tuple[str, Trigger]],
        now: datetime,
    ) -> Batch:
        world = _World(tx.connection, self.definitions)
        clockwork = Clockwork(now=now, new_id=lambda: str(new_id()))
        return await drive(world, live, state, triggers, clockwork=clockwork)


class _World:
    """The database, as driving looks things up in it."""

    def __init__(self, connection: AsyncConnection, definitions: Definitions) -> None:
        self._connection = connection
        self._definitions = definitions

    async def process(self, definition_id: str) -> Process:
        return await self._definitions.process(self._connection, definition_id)

    async def resolve(self, call: NewCall, caller: Live) -> Definition:
        return await self._definitions.resolve(self._connection, call, caller)

    async def load(self, instance_id: str) -> tuple[Live, State]:
        loaded = await records.load_instance(self._connection, instance_id)
        if loaded is None:
            raise NotFound(f"The instance {instance_id} is not active any more.")
        return loaded

    async def called_by(self, activity_id: str) -> tuple[Live, State] | None:
        return await records.load_called(self._connection, activity_id)


def _wake(tx: Transaction, topics: set[str]) -> None:
    for topic in topics:
        tx.notify(topic)
