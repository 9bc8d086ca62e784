"""The engine elsewhere, as the port sees it.

It joins no transaction of ours, so `tx` is never given.  Use it within ``async with``: what it
needs to know of the engine is asked at its first call, and its long poll is ended at the end.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.definitions import Definitions
from taskloom.engines.camunda.external import External
from taskloom.engines.camunda.feed import Bookmark, Feed
from taskloom.engines.camunda.fetching import Fetching, Wanted
from taskloom.engines.camunda.lineage import Lineage
from taskloom.engines.camunda.messages import Messages
from taskloom.engines.camunda.model_file import ModelFile
from taskloom.engines.camunda.queries import Queries
from taskloom.engines.camunda.starts import Starts
from taskloom.engines.camunda.user_tasks import UserTasks
from taskloom.errors import TaskloomError
from taskloom.ports.engine import (
    ActivityRecord,
    Correlation,
    Deployment,
    EngineChange,
    EngineUserTask,
    ExternalTask,
    Incident,
    Instance,
    Message,
    ModelSummary,
    Outcome,
    StartRequest,
    Transaction,
)

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the calls are made with, once it is known whether the engine has Spin."""

    starts: Starts
    fetching: Fetching
    external: External
    user_tasks: UserTasks
    messages: Messages
    feed: Feed


class CamundaEngine:
    """Camunda 7, Operaton or CIB seven at `connection`; `bookmark` keeps where its feed stands."""

    name = "camunda"

    def __init__(
        self, connection: Connection, bookmark: Bookmark, *, client: Client | None = None
    ) -> None:
        self.connection = connection
        self.client = client or Client(connection)
        self._bookmark = bookmark
        self._definitions = Definitions(self.client, history_days=connection.history_days)
        self._lineage = Lineage(self.client, self._definitions)
        self._queries = Queries(self.client, self._lineage)
        self._ready: _Parts | None = None
        self._probing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open the session; nothing is called yet."""
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End the long poll, free what it locked, close the connections."""
        if self._ready is not None:
            await self._ready.fetching.close()
        await self.client.__aexit__(*raised)

    def joins(self, tx: Transaction) -> bool:
        """Take part in no transaction."""
        return False

    async def ping(self) -> None:
        """Return if the engine answers; `Unavailable` says why it does not."""
        await self.client.demand("GET", "/version", patience=5.0, tries=1)

    async def version(self) -> str:
        """Tell the engine's version."""
        return str((await self.client.get("/version"))["version"])

    async def has_spin(self) -> bool:
        """Tell whether the engine keeps objects as JSON.

        It is asked to complete a task that is not there with a variable of the type Json: an
        engine without Spin refuses the type before it looks for the task.
        """
        probe = {"workerId": "probe", "variables": {"x": {"type": "Json", "value": "{}"}}}
        answer = await self.client.call("POST", "/external-task/probe/complete", json_body=probe)
        return answer.status == 404

    # -- definitions -------------------------------------------------------------------------

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Read a model; what the engine does not support it says when it is deployed."""
        return (await asyncio.to_thread(ModelFile, bpmn)).summary()

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: Transaction | None = None
    ) -> Deployment:
        """Make `bpmn` the newest version of `workflow_key`."""
        return await self._definitions.deploy(workflow_key, bpmn)

    async def undeploy(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Remove definitions; `Conflict` while instances of them run."""
        await self._definitions.undeploy(definition_ids)

    async def known_definitions(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> frozenset[str]:
        """Tell which of these definitions are deployed."""
        return await self._definitions.known(definition_ids)

    # -- instances ---------------------------------------------------------------------------

    async def start(self, request: StartRequest, *, tx: Transaction | None = None) -> Instance:
        """Start an instance, or return the one its start id already has."""
        return await (await self._parts()).starts.start(request)

    async def start_many(
        self, requests: Sequence[StartRequest]
    ) -> Sequence[Instance | TaskloomError]:
        """Start these side by side, each by itself."""
        return await (await self._parts()).starts.start_many(requests)

    async def repeated_starts(self, within: timedelta) -> Mapping[str, Sequence[Instance]]:
        """List start ids that led to several running instances."""
        return await (await self._parts()).starts.repeated(within)

    async def delete_instances(
        self, instance_ids: Sequence[str], reason: str, *, tx: Transaction | None = None
    ) -> None:
        """Terminate instances and those they called; the engine keeps no reason."""
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(instance_id: str) -> None:
            async with turn:
                await self._queries.delete(instance_id)

        await asyncio.gather(*(one(id_) for id_ in dict.fromkeys(instance_ids)))

    async def instances(self, instance_ids: Sequence[str]) -> Sequence[Instance]:
        """Look instances up by id, called ones included when their root is named."""
        return await self._queries.instances(instance_ids)

    async def running_instances(self, workflow_key: str) -> int:
        """Count the active instances of all versions of a workflow."""
        return await self._queries.running(workflow_key)

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the active instances of every workflow that has some, by its key."""
        return await self._queries.running_by_workflow()

    async def history(self, root_instance_ids: Sequence[str]) -> Sequence[ActivityRecord]:
        """List what happened below these root instances, oldest first."""
        return await self._queries.history(root_instance_ids)

    async def correlate(self, message: Message, *, tx: Transaction | None = None) -> Correlation:
        """Hand a message to the one who waits for it."""
        return await (await self._parts()).messages.correlate(message)

    async def signal(
        self, name: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> None:
        """Tell a signal to all who wait for it."""
        await (await self._parts()).messages.signal(name, variables)

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
        """Take up to `max_tasks` that are due, oldest first, waiting for the first to come."""
        if not topics or max_tasks < 1:
            return []
        wanted = Wanted(
            topics=tuple(topics),
            worker_id=worker_id,
            limit=max_tasks,
            lock=lock,
            only={} if only is None else only,
        )
        return await (await self._parts()).external.fetch(wanted, wait)

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task and let its instance go on."""
        return await (await self._parts()).external.complete(task_id, worker_id, variables)

    async def fail(
        self, task_id: str, worker_id: str, message: str, *, retries: int, retry_after: timedelta
    ) -> Outcome:
        """Report a failure; with `retries` 0 it becomes an incident."""
        external = (await self._parts()).external
        return await external.fail(
            task_id, worker_id, message, retries=retries, retry_after=retry_after
        )

    async def bpmn_error(
        self,
        task_id: str,
        worker_id: str,
        code: str,
        message: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Raise a BPMN error at the task; an incident if nothing in the model catches it."""
        external = (await self._parts()).external
        return await external.bpmn_error(task_id, worker_id, code, message, variables)

    async def extend_lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a fetched task longer, counted from now."""
        return await (await self._parts()).external.extend(task_id, worker_id, lock)

    async def unlock_all(self, worker_id: str) -> int:
        """Free what a former life of this worker still holds; returns how many."""
        return await (await self._parts()).external.unlock_all(worker_id)

    # -- user tasks, incidents, the feed -----------------------------------------------------

    async def user_tasks(
        self, root_instance_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> Sequence[EngineUserTask]:
        """List the open user tasks below these root instances, oldest first."""
        return await (await self._parts()).user_tasks.below(root_instance_ids)

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Outcome:
        """Finish a user task and let its instance go on."""
        return await (await self._parts()).user_tasks.complete(task_id, variables)

    async def incidents(self, root_instance_ids: Sequence[str] | None = None) -> Sequence[Incident]:
        """List open incidents, of all instances by default."""
        return await self._queries.incidents(root_instance_ids)

    async def retry_incident(self, incident_id: str, *, retries: int = 1) -> None:
        """Give the failed work `retries` more tries; `NotFound` if there is no such incident."""
        await self._queries.retry_incident(incident_id, retries)

    async def changes(self, limit: int) -> Sequence[EngineChange]:
        """Read the oldest unconfirmed entries of the feed."""
        return await (await self._parts()).feed.changes(limit)

    async def confirm_changes(
        self, change_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Leave out entries that have been applied."""
        await (await self._parts()).feed.confirm(change_ids)

    async def _parts(self) -> _Parts:
        """Make what depends on the engine, asking it once; again after it could not be asked."""
        if self._ready is not None:
            return self._ready
        async with self._probing:
            if self._ready is None:
                self._ready = self._make(spin=await self.has_spin())
            return self._ready

    def _make(self, *, spin: bool) -> _Parts:
        client, definitions, lineage = self.client, self._definitions, self._lineage
        fetching = Fetching(client, spin=spin)
        user_tasks = UserTasks(client, definitions, lineage, spin=spin)
        return _Parts(
            starts=Starts(client, definitions, lineage, spin=spin),
            fetching=fetching,
            external=External(client, definitions, lineage, fetching, spin=spin),
            user_tasks=user_tasks,
            messages=Messages(client, spin=spin),
            feed=Feed(client, lineage, user_tasks, self._bookmark),
        )
