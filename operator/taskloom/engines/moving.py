"""Two engines while work moves from one to the other.

What starts, starts in the present engine; what runs in the former finishes there.
Each call goes to the former first, which has its work in our database and so knows at once what is
its own; what it does not know is the present one's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import NotFound, TaskloomError
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
    WorkflowEngine,
)

_FORMER = "former:"


class MovingEngine:
    """Starts in `present` and lets `former` finish, by its own transactions.

    Call `former.retire()` first, or its start events would go on starting there.
    """

    def __init__(self, former: EmbeddedEngine, present: WorkflowEngine) -> None:
        self.former = former
        self._present = present
        self.name = present.name

    def joins(self, tx: Transaction) -> bool:
        """Take part in no transaction: the present engine cannot, and a use case asks once."""
        return False

    async def ping(self) -> None:
        """Return if both answer."""
        await self.former.ping()
        await self._present.ping()

    # -- what is to start: the present engine's ------------------------------------------------

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Check a model without deploying it."""
        return await self._present.inspect(bpmn)

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: Transaction | None = None
    ) -> Deployment:
        """Make `bpmn` the newest version of `workflow_key`."""
        return await self._present.deploy(workflow_key, bpmn)

    async def undeploy(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Remove definitions; `Conflict` while instances of them run.

        The former engine keeps its own for what runs there.
        """
        await self._present.undeploy(definition_ids)

    async def known_definitions(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> frozenset[str]:
        """Tell which of these definitions are deployed in the present engine."""
        return await self._present.known_definitions(definition_ids)

    async def start(self, request: StartRequest, *, tx: Transaction | None = None) -> Instance:
        """Start an instance, or return the one its start id already has."""
        return await self._present.start(request)

    async def start_many(
        self, requests: Sequence[StartRequest]
    ) -> Sequence[Instance | TaskloomError]:
        """Start these, each by itself."""
        return await self._present.start_many(requests)

    async def repeated_starts(self, within: timedelta) -> Mapping[str, Sequence[Instance]]:
        """List start ids that led to several running instances."""
        return await self._present.repeated_starts(within)

    # -- what may be either's: the former is asked first ---------------------------------------

    async def correlate(self, message: Message, *, tx: Transaction | None = None) -> Correlation:
        """Hand a message to the one who waits for it."""
        try:
            return await self.former.correlate(message)
        except NotFound:
            return await self._present.correlate(message)

    async def signal(
        self, name: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> None:
        """Tell a signal to all who wait for it."""
        await self.former.signal(name, variables)
        await self._present.signal(name, variables)

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
        """Take the former's tasks if there are any, else the present one's."""
        found = await self.former.fetch_and_lock(
            topics, worker_id, max_tasks=max_tasks, lock=lock, only=only
        )
        if found:
            return found
        return await self._present.fetch_and_lock(
            topics, worker_id, max_tasks=max_tasks, lock=lock, wait=wait, only=only
        )

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task."""
        outcome = await self.former.complete(task_id, worker_id, variables)
        if outcome is Outcome.GONE:
            return await self._present.complete(task_id, worker_id, variables)
        return outcome

    async def fail(
        self, task_id: str, worker_id: str, message: str, *, retries: int, retry_after: timedelta
    ) -> Outcome:
        """Report a failure."""
        for engine in (self.former, self._present):
            outcome = await engine.fail(
                task_id, worker_id, message, retries=retries, retry_after=retry_after
            )
            if outcome is not Outcome.GONE:
                return outcome
        return Outcome.GONE

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
        """Raise a BPMN error at the task."""
        for engine in (self.former, self._present):
            outcome = await engine.bpmn_error(task_id, worker_id, code, message, variables)
            if outcome is not Outcome.GONE:
                return outcome
        return Outcome.GONE

    async def extend_lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a fetched task longer."""
        outcome = await self.former.extend_lock(task_id, worker_id, lock)
        if outcome is Outcome.GONE:
            return await self._present.extend_lock(task_id, worker_id, lock)
        return outcome

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Outcome:
        """Finish a user task."""
        outcome = await self.former.complete_user_task(task_id, variables)
        if outcome is Outcome.GONE:
            return await self._present.complete_user_task(task_id, variables)
        return outcome

    async def retry_incident(self, incident_id: str, *, retries: int = 1) -> None:
        """Give the failed work more tries; `NotFound` if there is no such incident."""
        try:
            await self.former.retry_incident(incident_id, retries=retries)
        except NotFound:
            await self._present.retry_incident(incident_id, retries=retries)

    # -- what both know of ---------------------------------------------------------------------

    async def unlock_all(self, worker_id: str) -> int:
        """Free what a former life of this worker still holds."""
        return await self.former.unlock_all(worker_id) + await self._present.unlock_all(worker_id)

    async def delete_instances(
        self, instance_ids: Sequence[str], reason: str, *, tx: Transaction | None = None
    ) -> None:
        """Terminate instances and those they called."""
        await self.former.delete_instances(instance_ids, reason)
        await self._present.delete_instances(instance_ids, reason)

    async def user_tasks(
        self, root_instance_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> Sequence[EngineUserTask]:
        """List the open user tasks below these root instances."""
        former = await self.former.user_tasks(root_instance_ids)
        return [*former, *await self._present.user_tasks(root_instance_ids)]

    async def instances(self, instance_ids: Sequence[str]) -> Sequence[Instance]:
        """Look instances up by id."""
        former = await self.former.instances(instance_ids)
        return [*former, *await self._present.instances(instance_ids)]

    async def running_instances(self, workflow_key: str) -> int:
        """Count the active instances of all versions of a workflow."""
        former = await self.former.running_instances(workflow_key)
        return former + await self._present.running_instances(workflow_key)

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the active instances of every workflow that has some."""
        former = Counter(await self.former.running_by_workflow())
        return former + Counter(await self._present.running_by_workflow())

    async def history(self, root_instance_ids: Sequence[str]) -> Sequence[ActivityRecord]:
        """List what happened below these root instances."""
        former = await self.former.history(root_instance_ids)
        return [*former, *await self._present.history(root_instance_ids)]

    async def incidents(self, root_instance_ids: Sequence[str] | None = None) -> Sequence[Incident]:
        """List open incidents."""
        former = await self.former.incidents(root_instance_ids)
        return [*former, *await self._present.incidents(root_instance_ids)]

    async def changes(self, limit: int) -> Sequence[EngineChange]:
        """Read the former's feed, then the present one's."""
        former = await self.former.changes(limit)
        present = await self._present.changes(limit - len(former)) if len(former) < limit else ()
        return [*(replace(each, id=_FORMER + each.id) for each in former), *present]

    async def confirm_changes(
        self, change_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Drop entries that have been applied, each from the feed it came from."""
        former = [each.removeprefix(_FORMER) for each in change_ids if each.startswith(_FORMER)]
        present = [each for each in change_ids if not each.startswith(_FORMER)]
        if former:
            await self.former.confirm_changes(former)
        if present:
            await self._present.confirm_changes(present)
