"""The embedded engine's face towards its own clients: foreign workers, and lists of everything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from taskloom.engines.embedded import foreign, incidents, listing, records
from taskloom.engines.embedded.annotations import Annotations, read_annotations
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.embedded.scopes import visible_variables
from taskloom.errors import NotFound
from taskloom.ports.engine import Outcome, Transaction
from taskloom.ports.hosted_engine import (
    ActivityRow,
    DefinitionRow,
    IncidentRow,
    InstanceRow,
    Kind,
    Query,
    TopicRequest,
    UserTaskRow,
    VariableRow,
    WorkItem,
)
from taskloom.store.database import Database
from taskloom.store.driver import run

Row = TypeVar("Row")
_KEPT = 256


class EmbeddedHost:
    """The `HostedEngine` port on the embedded engine; both work on `database`."""

    def __init__(
        self,
        engine: EmbeddedEngine,
        database: Database,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._database = database
        self._now = now
        self._annotated: dict[str, Annotations] = {}

    # -- work --------------------------------------------------------------------------------

    async def fetch(
        self, requests: Sequence[TopicRequest], worker_id: str, *, limit: int, newest: bool = False
    ) -> Sequence[WorkItem]:
        """Lock up to `limit` due tasks for a worker."""
        if not requests or limit < 1:
            return []
        async with self._database.at_once() as tx:
            items = await foreign.fetch(
                tx.connection, requests, worker_id, limit=limit, newest=newest, now=self._now()
            )
        return [
            await self._with_properties(item) if requests[item.request].properties else item
            for item in items
        ]

    async def due(self, topics: Sequence[str]) -> Mapping[str, datetime]:
        """Tell when the next task of each of these topics is due."""
        async with self._database.at_once() as tx:
            return await foreign.due(tx.connection, topics, self._now())

    async def work_item(self, task_id: str) -> WorkItem | None:
        """Look an external task up."""
        found = await self.work_items(Query(where={"id": [task_id]}))
        return found[0] if found else None

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        local: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task."""
        return await self._engine.complete(task_id, worker_id, variables, local=local, tx=tx)

    async def fail(
        self,
        task_id: str,
        worker_id: str,
        message: str,
        details: str | None,
        *,
        retries: int,
        retry_after: timedelta,
    ) -> Outcome:
        """Report a failure, with a longer story."""
        return await self._engine.fail(
            task_id, worker_id, message, details=details, retries=retries, retry_after=retry_after
        )

    async def lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold one task for a worker."""
        async with self._database.begin() as tx:
            return await foreign.lock(
                tx.connection, records.storable(task_id), worker_id, self._now(), lock
            )

    async def unlock(self, task_id: str) -> Outcome:
        """Free one task."""
        async with self._database.begin() as tx:
            outcome = await foreign.unlock(tx.connection, records.storable(task_id), self._now())
            tx.notify("external-tasks")
        return outcome

    async def set_retries(self, task_id: str, retries: int) -> Outcome:
        """Say how often a task may be tried; its incident is closed, or with 0 opened."""
        async with self._database.begin() as tx:
            row = await records.lock(tx.connection, "external", records.storable(task_id))
            if row is None:
                return Outcome.GONE
            found = await run(
                tx.connection,
                "UPDATE engine_external_tasks AS t SET retries = %s FROM engine_external_tasks AS b"
                " WHERE t.id = %s AND b.id = t.id RETURNING b.retries AS before, t.error",
                (retries, task_id),
            )
            task = found.first()
            assert task is not None, "its row is locked"
            if retries > 0:
                await run(
                    tx.connection,
                    "DELETE FROM engine_incidents WHERE activity_id = %s AND timer_seq IS NULL",
                    (task_id,),
                )
                tx.notify("external-tasks")
            elif task.before != 0:
                await incidents.open_incident(
                    tx.connection,
                    instance_id=row.at,
                    root_id=row.id,
                    activity_id=task_id,
                    element_id=row.element_id,
                    message=task.error or "Its retries were set to 0.",
                    now=self._now(),
                )
                tx.notify("engine-changes")
            return Outcome.DONE

    async def retry_timer(self, timer: int, retries: int) -> Outcome:
        """Fire a timer that has an incident, with `retries` tries before the next one."""
        stopped = await self.incident_rows(Query(where={"timer": [timer]}))
        try:
            for incident in stopped:
                await self._engine.retry_incident(incident.id, retries=retries)
        except NotFound:
            return Outcome.GONE  # a moment ago
        return Outcome.DONE if stopped else Outcome.GONE

    # -- lists -------------------------------------------------------------------------------

    async def count(self, kind: Kind, query: Query) -> int:
        """Count the rows of a query, whatever its page."""
        async with self._database.at_once() as tx:
            source = listing.source_of(kind, self._now())
            return await listing.count_rows(tx.connection, source, query)

    async def work_items(self, query: Query) -> Sequence[WorkItem]:
        """List external tasks."""
        return await self._list(Kind.WORK, query, listing.to_work_item)

    async def definitions(self, query: Query) -> Sequence[DefinitionRow]:
        """List deployed versions."""
        return await self._list(Kind.DEFINITION, query, listing.to_definition)

    async def model(self, definition_id: str) -> bytes | None:
        """Give the BPMN of a definition."""
        async with self._database.at_once() as tx:
            found = await run(
                tx.connection,
                "SELECT bpmn FROM engine_definitions WHERE id = %s",
                (records.storable(definition_id),),
            )
            bpmn = found.scalar()
        return None if bpmn is None else bytes(bpmn)

    async def instance_rows(self, query: Query) -> Sequence[InstanceRow]:
        """List instances, ended ones too."""
        return await self._list(Kind.INSTANCE, query, listing.to_instance_row)

    async def instance_variables(self, instance_id: str) -> Mapping[str, Any] | None:
        """Give the variables of an active instance."""
        async with self._database.at_once() as tx:
            loaded = await records.load_instance(tx.connection, records.storable(instance_id))
        return None if loaded is None else loaded[1].variables

    async def task_variables(self, task_id: str) -> Mapping[str, Any] | None:
        """Give the variables that an open user task sees."""
        async with self._database.begin() as tx:
            found = await run(
                tx.connection,
                "SELECT instance_id FROM engine_user_tasks WHERE id = %s",
                (records.storable(task_id),),
            )
            instance_id = found.scalar()
            if instance_id is None:
                return None
            loaded = await records.load_instance(tx.connection, instance_id)
        return None if loaded is None else visible_variables(loaded[1], task_id)

    async def user_task_rows(self, query: Query) -> Sequence[UserTaskRow]:
        """List open user tasks."""
        return await self._list(Kind.USER_TASK, query, listing.to_user_task)

    async def activity_rows(self, query: Query) -> Sequence[ActivityRow]:
        """List what happened."""
        rows = await self._list(Kind.ACTIVITY, query, listing.to_activity)
        models = {
            id_: await self._annotations(id_) for id_ in {row.place.definition_id for row in rows}
        }
        return [
            replace(row, event=models[row.place.definition_id].events.get(row.element_id))
            for row in rows
        ]

    async def incident_rows(self, query: Query) -> Sequence[IncidentRow]:
        """List open incidents."""
        return await self._list(Kind.INCIDENT, query, listing.to_incident)

    async def variable_rows(self, query: Query) -> Sequence[VariableRow]:
        """List the variables of active instances."""
        return await self._list(Kind.VARIABLE, query, listing.to_variable)

    async def _with_properties(self, item: WorkItem) -> WorkItem:
        annotations = await self._annotations(item.place.definition_id)
        return replace(item, properties=annotations.properties.get(item.element_id, {}))

    async def _annotations(self, definition_id: str) -> Annotations:
        """Give a model's annotations; none of one that was removed."""
        known = self._annotated.get(definition_id)
        if known is None:
            bpmn = await self.model(definition_id)
            if bpmn is None:
                return Annotations()
            if len(self._annotated) >= _KEPT:
                self._annotated.clear()
            known = self._annotated[definition_id] = read_annotations(bpmn)
        return known

    async def _list(self, kind: Kind, query: Query, read: Callable[[Any], Row]) -> Sequence[Row]:
        async with self._database.at_once() as tx:
            source = listing.source_of(kind, self._now())
            return await listing.list_rows(tx.connection, source, query, read)
