"""The embedded engine: each call is one short transaction on the engine's tables.

Given the caller's transaction on the same database, a call takes part in it.  Everything is
decided before anything is written, so a call that raises has changed nothing: as on Camunda, an
expression that fails undoes the start or completion that led to it, and says at which element.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from taskloom.domain.json_text import storable as is_storable
from taskloom.engines.embedded import (
    correlating,
    external,
    incidents,
    queries,
    records,
    signals,
    start_events,
)
from taskloom.engines.embedded.instances import Live, new_instance
from taskloom.engines.embedded.jobs import Timers
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.state import (
    Complete,
    Fail,
    Fire,
    State,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
)
from taskloom.engines.embedded.stepping import Stepper
from taskloom.errors import Invalid, NotFound, TaskloomError, Temporary
from taskloom.ids import new_id
from taskloom.ports.engine import (
    ActivityRecord,
    Correlation,
    Deployment,
    EngineChange,
    EngineUserTask,
    ExternalTask,
    Incident,
    Instance,
    InstanceState,
    Message,
    ModelSummary,
    Outcome,
    StartRequest,
)
from taskloom.ports.engine import Transaction as AnyTransaction
from taskloom.store.database import Database
from taskloom.store.transaction import Transaction


class EmbeddedEngine:
    """BPMN in the database of `database`; `now` is the clock that timers and locks go by."""

    name = "embedded"

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now
        self._stepper = Stepper(database, now)
        self.timers = Timers(self._stepper)

    def joins(self, tx: AnyTransaction) -> bool:
        """Tell whether a transaction is on the engine's database."""
        return self._stepper.joins(tx)

    # -- definitions -------------------------------------------------------------------------

    async def ping(self) -> None:
        """Return if the engine answers."""
        await self._database.ping()

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Check a model without deploying it."""
        process = parse_bpmn(bpmn)
        return ModelSummary(process_id=process.id, name=process.name, topics=process.topics)

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: AnyTransaction | None = None
    ) -> Deployment:
        """Make `bpmn` the newest version of `workflow_key`."""
        if not is_storable(workflow_key):
            raise Invalid("The workflow key holds characters that cannot be stored.")
        async with self._stepper.within(tx) as own:
            deployment = await self._stepper.definitions.deploy(
                own.connection, workflow_key, bpmn, self._now()
            )
            own.notify("engine-jobs")  # it may begin by timers
            return deployment

    async def undeploy(
        self, definition_ids: Sequence[str], *, tx: AnyTransaction | None = None
    ) -> None:
        """Remove definitions; `Conflict` while instances of them run."""
        async with self._stepper.within(tx) as own:
            await self._stepper.definitions.undeploy(own.connection, definition_ids, self._now())

    async def known_definitions(
        self, definition_ids: Sequence[str], *, tx: AnyTransaction | None = None
    ) -> frozenset[str]:
        """Tell which of these definitions are deployed."""
        async with self._stepper.within(tx) as own:
            return await queries.known_definitions(own.connection, definition_ids)

    async def has_definitions(self) -> bool:
        """Tell whether anything was ever deployed here and not been removed."""
        async with self._database.begin() as tx:
            return await queries.has_definitions(tx.connection)

    async def retire(self) -> None:
        """Let no message, signal or time start anything any more; what runs goes on."""
        async with self._stepper.within(None) as own:
            await start_events.drop_all_start_events(own.connection)

    # -- instances ---------------------------------------------------------------------------

    async def start(self, request: StartRequest, *, tx: AnyTransaction | None = None) -> Instance:
        """Start an instance, or return the one its start id already has."""
        if not is_storable(request.start_id):
            raise Invalid("The start id holds characters that cannot be stored.", field="start_id")
        key = records.storable(request.workflow_key)
        async with self._stepper.within(tx) as own:
            try:
                started = await self._start(own, request, key)
            except TaskloomError:
                before = await queries.find_started(own.connection, key, request.start_id)
                if before is None:
                    raise
                return before
            return started or _found(
                await queries.find_started(own.connection, key, request.start_id)
            )

    async def _start(self, tx: Transaction, request: StartRequest, key: str) -> Instance | None:
        now = self._now()
        definition = await self._stepper.definitions.find(tx.connection, key, request.definition_id)
        instance_id = str(new_id())
        business_key = records.storable(
            request.start_id if request.business_key is None else request.business_key
        )
        live, state = new_instance(
            definition,
            instance_id,
            request.variables,
            business_key=business_key,
            start_id=request.start_id,
        )
        batch = await self._stepper.begin(tx, live, state, now)
        if batch is None:
            return None
        ending = batch.endings.get(instance_id)
        return Instance(
            id=instance_id,
            root_id=instance_id,
            workflow_key=key,
            version=definition.version,
            business_key=business_key,
            state=ending or InstanceState.ACTIVE,
            started_at=now,
            ended_at=now if ending else None,
        )

    async def correlate(self, message: Message, *, tx: AnyTransaction | None = None) -> Correlation:
        """Hand a message to the one who waits for it; a waiting instance goes first."""
        async with self._stepper.within(tx) as own:
            row = await correlating.lock_waiting(own.connection, message)
            if row is not None:
                trigger = Fire(
                    activity_id=row.activity_id,
                    element=row.element_id,
                    variables=message.variables,
                )
                await self._stepper.take(own, row, trigger)
                return Correlation(instance_id=row.at, started=False)
            start = await correlating.find_start(own.connection, message)
            instance_id = await self._stepper.begin_by_event(
                own,
                start.definition_id,
                start.element_id,
                message.variables,
                business_key=message.business_key,
            )
            if instance_id is None:
                raise correlating.nobody_waits(message)
            return Correlation(instance_id=instance_id, started=True)

    async def signal(
        self, name: str, variables: Mapping[str, Any], *, tx: AnyTransaction | None = None
    ) -> None:
        """Tell a signal to all who wait for it; each hears it in a transaction of its own."""
        async with self._stepper.within(tx) as own:
            if await signals.tell(own.connection, name, variables, self._now()):
                own.notify("engine-jobs")

    async def start_many(
        self, requests: Sequence[StartRequest]
    ) -> Sequence[Instance | TaskloomError]:
        """Start these one after the other, each by itself."""
        results: list[Instance | TaskloomError] = []
        for request in requests:
            try:
                results.append(await self.start(request))
            except Temporary:
                raise
            except TaskloomError as exc:
                results.append(exc)
        return results

    async def repeated_starts(self, within: timedelta) -> Mapping[str, Sequence[Instance]]:
        """Know of none: a start id starts one instance here."""
        return {}

    async def delete_instances(
        self, instance_ids: Sequence[str], reason: str, *, tx: AnyTransaction | None = None
    ) -> None:
        """Terminate instances and those they called; a called one leaves its caller's activity."""
        async with self._stepper.within(tx) as own:
            found = await queries.list_roots(own.connection, instance_ids)
            for instance_id, root_id in found:
                await records.lock(own.connection, "root", root_id)
                loaded = await records.load_instance(own.connection, instance_id)
                if loaded is not None:
                    await self._delete(own, *loaded, reason)

    async def _delete(self, tx: Transaction, live: Live, state: State, reason: str) -> None:
        triggers: list[tuple[str, Trigger]] = [(live.id, Terminate())]
        if live.caller_id is not None and live.caller_activity_id is not None:
            triggers.append((live.caller_id, Withdraw(activity_id=live.caller_activity_id)))
        await self._stepper.move(tx, live, state, triggers, reason=reason)

    async def instances(self, instance_ids: Sequence[str]) -> Sequence[Instance]:
        """Look instances up by id, called ones included when their root is named."""
        async with self._database.begin() as tx:
            return await queries.list_instances(tx.connection, instance_ids)

    async def running_instances(self, workflow_key: str) -> int:
        """Count the active instances of all versions of a workflow."""
        async with self._database.begin() as tx:
            return await queries.count_running(tx.connection, records.storable(workflow_key))

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the active instances of every workflow that has some, by its key."""
        async with self._database.begin() as tx:
            return await queries.count_running_by_workflow(tx.connection)

    async def history(self, root_instance_ids: Sequence[str]) -> Sequence[ActivityRecord]:
        """List what happened below these root instances, oldest first."""
        async with self._database.begin() as tx:
            return await queries.list_history(tx.connection, root_instance_ids)

    # -- external tasks ----------------------------------------------------------------------

    async def fetch_and_lock(
        self,
        topics: Sequence[str],
        worker_id: str,
        *,
        max_tasks: int,
        lock: timedelta,
        wait: timedelta = timedelta(0),
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> Sequence[ExternalTask]:
        """Take up to `max_tasks` that are due, oldest first."""
        if not topics or max_tasks < 1:
            return []
        now = self._now()
        async with self._database.at_once() as tx:
            return await external.fetch(
                tx.connection, topics, worker_id, limit=max_tasks, now=now, until=now + lock
            )

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        *,
        local: Mapping[str, Any] = MappingProxyType({}),
        tx: AnyTransaction | None = None,
    ) -> Outcome:
        """Finish an external task and let its instance go on; `local` are its own variables."""
        async with self._stepper.within(tx) as own:
            row, refusal = await _held(own, task_id, worker_id)
            if refusal is not None:
                return refusal
            trigger = Complete(activity_id=task_id, variables=variables, local=local)
            return _outcome(await self._stepper.take(own, row, trigger))

    async def bpmn_error(
        self,
        task_id: str,
        worker_id: str,
        code: str,
        message: str,
        variables: Mapping[str, Any],
        *,
        tx: AnyTransaction | None = None,
    ) -> Outcome:
        """Raise a BPMN error at the task; an incident if nothing in the model catches it."""
        async with self._stepper.within(tx) as own:
            row, refusal = await _held(own, task_id, worker_id)
            if refusal is not None:
                return refusal
            trigger = Fail(activity_id=task_id, code=code, message=message, variables=variables)
            outcome = await self._stepper.take(own, row, trigger)
            if not isinstance(outcome, Thrown):
                return outcome
            uncaught = f"Nothing in the model catches the BPMN error {code}: {message}"
            await self._stop(own, task_id, row, uncaught)
            return Outcome.DONE

    async def fail(
        self,
        task_id: str,
        worker_id: str,
        message: str,
        *,
        retries: int,
        retry_after: timedelta,
        details: str | None = None,
    ) -> Outcome:
        """Report a failure, with a longer story; with `retries` 0 it becomes an incident."""
        async with self._stepper.within(None) as own:
            row, refusal = await _held(own, task_id, worker_id)
            if refusal is not None:
                return refusal
            if retries <= 0:
                await self._stop(own, task_id, row, message, details)
                return Outcome.DONE
            due_at = self._now() + retry_after
            await external.put_off(
                own.connection, task_id, message, retries=retries, due_at=due_at, details=details
            )
            own.notify("external-tasks")
            return Outcome.DONE

    async def _stop(
        self, tx: Transaction, task_id: str, row: Any, message: str, details: str | None = None
    ) -> None:
        now = self._now()
        await external.put_off(
            tx.connection, task_id, message, retries=0, due_at=now, details=details
        )
        await incidents.open_incident(
            tx.connection,
            instance_id=row.at,
            root_id=row.id,
            activity_id=task_id,
            element_id=row.element_id,
            message=message,
            now=now,
        )
        tx.notify("engine-changes")

    async def extend_lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a fetched task longer, counted from now."""
        async with self._database.begin() as tx:
            return await external.extend(tx.connection, task_id, worker_id, self._now() + lock)

    async def unlock_all(self, worker_id: str) -> int:
        """Free what a former life of this worker still holds."""
        async with self._database.begin() as tx:
            freed = await external.free(tx.connection, worker_id, self._now())
            tx.notify("external-tasks")
            return freed

    # -- user tasks --------------------------------------------------------------------------

    async def user_tasks(
        self, root_instance_ids: Sequence[str], *, tx: AnyTransaction | None = None
    ) -> Sequence[EngineUserTask]:
        """List the open user tasks below these root instances, oldest first."""
        if not root_instance_ids:
            return []
        async with self._stepper.within(tx) as own:
            return await queries.list_user_tasks(own.connection, root_instance_ids)

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], *, tx: AnyTransaction | None = None
    ) -> Outcome:
        """Finish a user task and let its instance go on."""
        async with self._stepper.within(tx) as own:
            row = await records.lock(own.connection, "user", records.storable(task_id))
            if row is None:
                return Outcome.GONE
            trigger = Complete(activity_id=task_id, variables=variables)
            return _outcome(await self._stepper.take(own, row, trigger))

    # -- incidents and the feed --------------------------------------------------------------

    async def incidents(self, root_instance_ids: Sequence[str] | None = None) -> Sequence[Incident]:
        """List open incidents, of all instances by default."""
        async with self._database.begin() as tx:
            return await queries.list_incidents(tx.connection, root_instance_ids)

    async def retry_incident(self, incident_id: str, *, retries: int = 1) -> None:
        """Give the failed work `retries` more tries; `NotFound` if there is no such incident."""
        async with self._database.begin() as tx:
            row = await incidents.lock_incident(tx.connection, incident_id)
            if row is None:
                raise NotFound(f"There is no incident {incident_id}.")
            await incidents.close_incident(tx.connection, incident_id)
            if row.timer_seq is not None:
                await self.timers.restart(tx, row.timer_seq, retries=retries)
            else:
                await external.restart(
                    tx.connection, row.activity_id, retries=max(1, retries), now=self._now()
                )
                tx.notify("external-tasks")

    async def changes(self, limit: int) -> Sequence[EngineChange]:
        """Read the oldest unconfirmed entries of the feed."""
        async with self._database.at_once() as tx:
            return await queries.list_changes(tx.connection, limit)

    async def confirm_changes(
        self, change_ids: Sequence[str], *, tx: AnyTransaction | None = None
    ) -> None:
        """Drop entries that have been applied."""
        async with self._stepper.within(tx) as own:
            await queries.drop_changes(own.connection, change_ids)

    # -- timers ------------------------------------------------------------------------------

    async def run_due_jobs(self, limit: int) -> int:
        """Fire up to `limit` due timers, each in its own transaction; return how many were due."""
        return await self.timers.run_due(limit)

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due; None if there is none."""
        return await self.timers.next_due()


async def _held(tx: Transaction, task_id: str, worker_id: str) -> tuple[Any, Outcome | None]:
    """Lock an external task for the worker that holds it, or tell why not."""
    row = await records.lock(tx.connection, "external", records.storable(task_id))
    if row is None:
        return None, Outcome.GONE
    if row.worker_id != records.storable(worker_id):
        return None, Outcome.LOCK_LOST
    return row, None


def _outcome(outcome: Outcome | Thrown) -> Outcome:
    assert isinstance(outcome, Outcome), "only Fail leaves an error uncaught"
    return outcome


def _found(instance: Instance | None) -> Instance:
    assert instance is not None, "the start id was used before"
    return instance
