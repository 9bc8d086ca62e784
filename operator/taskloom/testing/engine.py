"""A workflow engine in memory, for tests: the embedded engine's interpreter without a database.

It joins no transaction, and nothing in it survives the process.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from taskloom.engines.embedded.correlating import has_all
from taskloom.engines.embedded.drive import Clockwork, drive
from taskloom.engines.embedded.instances import Definition, Live, new_instance
from taskloom.engines.embedded.iso8601 import next_of_cycle
from taskloom.engines.embedded.model import Binding, Process
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.scopes import visible_variables
from taskloom.engines.embedded.start_events import refuse_held, start_timers
from taskloom.engines.embedded.state import (
    Begin,
    Complete,
    Fail,
    Fire,
    NewCall,
    NewSubscription,
    State,
    SubscriptionKind,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
    dump_variables,
)
from taskloom.errors import Conflict, NotFound, TaskloomError, Temporary, Unprocessable
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
from taskloom.testing.engine_rows import Due, Rows, Task


class InMemoryEngine:
    """The `WorkflowEngine` port in memory; `now` is its clock."""

    name = "memory"

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._rows = Rows()

    def joins(self, tx: Transaction) -> bool:
        """Join nothing."""
        return False

    # -- definitions -------------------------------------------------------------------------

    async def ping(self) -> None:
        """Return if the engine answers."""

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Check a model without deploying it."""
        process = parse_bpmn(bpmn)
        return ModelSummary(process_id=process.id, name=process.name, topics=process.topics)

    async def deploy(
        self, workflow_key: str, bpmn: bytes, *, tx: Transaction | None = None
    ) -> Deployment:
        """Make `bpmn` the newest version of `workflow_key`."""
        process, digest = parse_bpmn(bpmn), sha256(bpmn).hexdigest()
        versions = [each for each in self._rows.definitions if each[0].workflow_key == workflow_key]
        if versions and versions[-1][2] == digest:
            definition = versions[-1][0]
        else:
            version = versions[-1][0].version + 1 if versions else 1
            definition = Definition(
                id=self._rows.new_id(), workflow_key=workflow_key, version=version
            )
            start_timers(process, definition.id, self._now())  # fails before anything is kept
            refuse_held(process, self._rows.held_messages(workflow_key, process))
            self._rows.definitions.append((definition, process, digest))
            self._rows.begin_by_events(workflow_key, self._now())
        return Deployment(
            workflow_key=workflow_key,
            version=definition.version,
            definition_id=definition.id,
            digest=digest,
            topics=process.topics,
        )

    async def undeploy(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Remove definitions; `Conflict` while instances of them run."""
        running = {self._rows.lives[id_].definition_id for id_ in self._rows.states}
        if running & set(definition_ids):
            raise Conflict("Instances of the definition are running.")
        before = self._rows.definitions
        self._rows.definitions = [each for each in before if each[0].id not in definition_ids]
        self._rows.due = [
            each for each in self._rows.due if each.timer.activity_id not in definition_ids
        ]
        latest = {d.workflow_key: d.id for d, _, _ in before}  # the last one of each
        for workflow_key, definition_id in latest.items():
            if definition_id in definition_ids:
                self._rows.begin_by_events(workflow_key, self._now())

    async def known_definitions(
        self, definition_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> frozenset[str]:
        """Tell which of these definitions are deployed."""
        deployed = {definition.id for definition, _, _ in self._rows.definitions}
        return frozenset(deployed & set(definition_ids))

    async def retire(self) -> None:
        """Let no message, signal or time start anything any more; what runs goes on."""
        self._rows.begin_by_nothing()

    # -- instances ---------------------------------------------------------------------------

    async def start(self, request: StartRequest, *, tx: Transaction | None = None) -> Instance:
        """Start an instance, or return the one its start id already has."""
        for live in self._rows.lives.values():
            if (live.workflow_key, live.start_id) == (request.workflow_key, request.start_id):
                return self._rows.instances[live.id]
        definition = self._find(request.workflow_key, request.definition_id)
        key = request.start_id if request.business_key is None else request.business_key
        live, state = new_instance(
            definition,
            self._rows.new_id(),
            request.variables,
            business_key=key,
            start_id=request.start_id,
        )
        await self._move(live, state, [(live.id, Begin())])
        return self._rows.instances[live.id]

    async def correlate(self, message: Message, *, tx: Transaction | None = None) -> Correlation:
        """Hand a message to the one who waits for it; a waiting instance goes first."""
        waiting = [
            (each.live, each.subscription)
            for each in self._rows.subscribed
            if each.live is not None and self._is_for(message, each.live, each.subscription)
        ]
        if len(waiting) > 1:
            raise Conflict(f"More than one waits for the message {message.name!r}.")
        for live, found in waiting:
            trigger = Fire(
                activity_id=found.activity_id, element=found.element, variables=message.variables
            )
            await self._take(live, trigger)
            return Correlation(instance_id=live.id, started=False)
        for each in self._rows.subscribed:
            found = each.subscription
            if each.live is None and (found.kind, found.name) == (
                SubscriptionKind.MESSAGE,
                message.name,
            ):
                instance_id = await self._begin_by_event(
                    found.activity_id, found.element, message.variables, message.business_key
                )
                return Correlation(instance_id=instance_id, started=True)
        raise NotFound(f"Nobody waits for the message {message.name!r}.")

    def _is_for(self, message: Message, live: Live, found: NewSubscription) -> bool:
        return (
            (found.kind, found.name) == (SubscriptionKind.MESSAGE, message.name)
            and message.business_key in {None, live.business_key}
            and message.instance_id in {None, live.id}
            and has_all(self._rows.states[live.id].variables, message.correlation)
        )

    async def signal(
        self, name: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> None:
        """Tell a signal to all who wait for it; they hear it with the timers that are due."""
        dump_variables(variables)
        self._rows.tell(name, variables, self._now())

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
        self, instance_ids: Sequence[str], reason: str, *, tx: Transaction | None = None
    ) -> None:
        """Terminate instances and those they called."""
        for instance_id in instance_ids:
            state = self._rows.states.get(instance_id)
            if state is None:
                continue
            live = self._rows.lives[instance_id]
            triggers: list[tuple[str, Trigger]] = [(instance_id, Terminate())]
            if live.caller_id is not None and live.caller_activity_id is not None:
                triggers.append((live.caller_id, Withdraw(activity_id=live.caller_activity_id)))
            await self._move(live, state, triggers, reason=reason)

    async def instances(self, instance_ids: Sequence[str]) -> Sequence[Instance]:
        """Look instances up by id, called ones included when their root is named."""
        return [
            instance
            for instance in self._rows.instances.values()
            if instance.id in instance_ids or instance.root_id in instance_ids
        ]

    async def running_instances(self, workflow_key: str) -> int:
        """Count the active instances of all versions of a workflow."""
        return sum(self._rows.lives[i].workflow_key == workflow_key for i in self._rows.states)

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Count the active instances of every workflow that has some, by its key."""
        return Counter(self._rows.lives[i].workflow_key for i in self._rows.states)

    async def history(self, root_instance_ids: Sequence[str]) -> Sequence[ActivityRecord]:
        """List what happened below these root instances, oldest first."""
        return [record for root, _, record in self._rows.history if root in root_instance_ids]

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
        now = self._now()
        due = [
            (id_, task)
            for id_, task in self._rows.external.items()
            if task.topic in topics and task.available_at <= now and task.retries != 0
        ][: max(0, max_tasks)]
        for _, task in due:
            task.worker_id, task.available_at = worker_id, now + lock
        return [
            ExternalTask(
                id=id_,
                topic=task.topic,
                element_id=task.element,
                instance_id=task.live.id,
                root_instance_id=task.live.root_id,
                workflow_key=task.live.workflow_key,
                business_key=task.live.business_key,
                variables=visible_variables(self._rows.states[task.live.id], id_),
                retries=task.retries,
            )
            for id_, task in due
        ]

    async def complete(
        self,
        task_id: str,
        worker_id: str,
        variables: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> Outcome:
        """Finish an external task and let its instance go on."""
        task = self._held(task_id, worker_id)
        if isinstance(task, Outcome):
            return task
        await self._take(task.live, Complete(activity_id=task_id, variables=variables))
        return Outcome.DONE

    async def fail(
        self, task_id: str, worker_id: str, message: str, *, retries: int, retry_after: timedelta
    ) -> Outcome:
        """Report a failure; with `retries` 0 it becomes an incident."""
        task = self._held(task_id, worker_id)
        if isinstance(task, Outcome):
            return task
        task.worker_id, task.retries = None, max(0, retries)
        task.available_at = self._now() + retry_after
        if task.retries == 0:
            self._stop(task.live, task.element, message, task_id=task_id)
        return Outcome.DONE

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
        task = self._held(task_id, worker_id)
        if isinstance(task, Outcome):
            return task
        trigger = Fail(activity_id=task_id, code=code, message=message, variables=variables)
        if await self._take(task.live, trigger) is not None:
            task.worker_id, task.retries = None, 0
            uncaught = f"Nothing in the model catches the BPMN error {code}: {message}"
            self._stop(task.live, task.element, uncaught, task_id=task_id)
        return Outcome.DONE

    async def extend_lock(self, task_id: str, worker_id: str, lock: timedelta) -> Outcome:
        """Hold a fetched task longer, counted from now."""
        task = self._held(task_id, worker_id)
        if isinstance(task, Outcome):
            return task
        task.available_at = self._now() + lock
        return Outcome.DONE

    async def unlock_all(self, worker_id: str) -> int:
        """Free what a former life of this worker still holds."""
        held = [task for task in self._rows.external.values() if task.worker_id == worker_id]
        for task in held:
            task.worker_id, task.available_at = None, self._now()
        return len(held)

    # -- user tasks --------------------------------------------------------------------------

    async def user_tasks(
        self, root_instance_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> Sequence[EngineUserTask]:
        """List the open user tasks below these root instances, oldest first."""
        return [t for t in self._rows.user.values() if t.root_instance_id in root_instance_ids]

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Outcome:
        """Finish a user task and let its instance go on."""
        task = self._rows.user.get(task_id)
        if task is None:
            return Outcome.GONE
        trigger = Complete(activity_id=task_id, variables=variables)
        await self._take(self._rows.lives[task.instance_id], trigger)
        return Outcome.DONE

    # -- incidents and the feed --------------------------------------------------------------

    async def incidents(self, root_instance_ids: Sequence[str] | None = None) -> Sequence[Incident]:
        """List open incidents, of all instances by default."""
        found = [stopped.incident for stopped in self._rows.stopped.values()]
        if root_instance_ids is None:
            return found
        return [incident for incident in found if incident.root_instance_id in root_instance_ids]

    async def retry_incident(self, incident_id: str, *, retries: int = 1) -> None:
        """Give the failed work `retries` more tries; `NotFound` if there is no such incident."""
        stopped = self._rows.stopped.pop(incident_id, None)
        if stopped is None:
            raise NotFound(f"There is no incident {incident_id}.")
        if stopped.due is not None:
            again = replace(stopped.due.timer, due_at=self._now())
            self._rows.due.append(replace(stopped.due, timer=again))
        if stopped.task_id is not None:
            task = self._rows.external[stopped.task_id]
            task.retries, task.available_at = max(1, retries), self._now()

    async def changes(self, limit: int) -> Sequence[EngineChange]:
        """Read the oldest unconfirmed entries of the feed."""
        return list(self._rows.changes.values())[:limit]

    async def confirm_changes(
        self, change_ids: Sequence[str], *, tx: Transaction | None = None
    ) -> None:
        """Drop entries that have been applied."""
        for change_id in change_ids:
            self._rows.changes.pop(change_id, None)

    # -- timers ------------------------------------------------------------------------------

    async def run_due_jobs(self, limit: int) -> int:
        """Fire up to `limit` timers and signals that are due; return how many were."""
        now = self._now()
        due = sorted(
            (each for each in self._rows.due if each.timer.due_at <= now),
            key=lambda each: each.timer.due_at,
        )[:limit]
        for each in due:
            if not any(each is other for other in self._rows.due):
                continue  # cancelled by one before it
            try:
                await self._fire(each)
            except TaskloomError as exc:
                self._forget(each)
                self._follow(each)  # it holds up none of those after it
                once = replace(each, timer=replace(each.timer, repeat=None))
                self._stop(each.live, each.timer.element, exc.message, due=once)
        return len(due)

    async def _fire(self, due: Due) -> None:
        timer = due.timer
        if due.live is None:
            await self._begin_by_event(timer.activity_id, timer.element, due.variables or {}, None)
            self._follow(due)
        else:
            trigger = Fire(
                activity_id=timer.activity_id,
                element=timer.element,
                variables=due.variables or {},
                repeat=timer.repeat,
            )
            await self._take(due.live, trigger)
        self._forget(due)

    def _follow(self, due: Due) -> None:
        """Set a timer for its next time, if there is one."""
        repeat = due.timer.repeat
        following = None if repeat is None else next_of_cycle(repeat, self._now())
        if following is not None:
            self._rows.due.append(replace(due, timer=replace(due.timer, due_at=following)))

    def _forget(self, due: Due) -> None:
        self._rows.due = [each for each in self._rows.due if each is not due]

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due; None if there is none."""
        return min((each.timer.due_at for each in self._rows.due), default=None)

    # -- driving -----------------------------------------------------------------------------

    async def process(self, definition_id: str) -> Process:
        """Give a definition's process."""
        return next(p for d, p, _ in self._rows.definitions if d.id == definition_id)

    async def resolve(self, call: NewCall, caller: Live) -> Definition:
        """Find what a call activity calls."""
        process = await self.process(caller.definition_id)
        own = call.called in {process.id, caller.workflow_key}
        if own and call.call.binding is Binding.DEPLOYMENT:
            return self._find(caller.workflow_key, caller.definition_id)
        version = call.version if call.call.binding is Binding.VERSION else None
        for by in ("workflow_key", "process_id"):
            for definition, each, _ in reversed(self._rows.definitions):
                key = definition.workflow_key if by == "workflow_key" else each.id
                if key == call.called and version in {None, definition.version}:
                    return definition
        raise Unprocessable(
            f"{call.element}: it calls {call.called!r}, which is not deployed: deploy it first.",
            field=call.element,
        )

    async def load(self, instance_id: str) -> tuple[Live, State]:
        """Give an active instance."""
        return self._rows.lives[instance_id], self._rows.states[instance_id]

    async def called_by(self, activity_id: str) -> tuple[Live, State] | None:
        """Give the active instance that a call activity started."""
        for instance_id, state in self._rows.states.items():
            live = self._rows.lives[instance_id]
            if live.caller_activity_id == activity_id:
                return live, state
        return None

    async def _take(self, live: Live, trigger: Trigger) -> Thrown | None:
        return await self._move(live, self._rows.states[live.id], [(live.id, trigger)])

    async def _move(
        self,
        live: Live,
        state: State,
        triggers: Sequence[tuple[str, Trigger]],
        *,
        reason: str | None = None,
    ) -> Thrown | None:
        now = self._now()
        clockwork = Clockwork(now=now, new_id=self._rows.new_id)
        batch = await drive(self, live, state, triggers, clockwork=clockwork)
        if batch.uncaught is None:
            batch.reason = reason
            self._rows.keep(batch, now)
        return batch.uncaught

    async def _begin_by_event(
        self,
        definition_id: str,
        element: str,
        variables: Mapping[str, Any],
        business_key: str | None,
    ) -> str:
        definition = next(d for d, _, _ in self._rows.definitions if d.id == definition_id)
        instance_id = self._rows.new_id()
        live, state = new_instance(definition, instance_id, variables, business_key=business_key)
        await self._move(live, state, [(instance_id, Begin(element=element))])
        return instance_id

    def _stop(
        self,
        live: Live | None,
        element: str,
        message: str,
        *,
        task_id: str | None = None,
        due: Due | None = None,
    ) -> None:
        incident = Incident(
            id=self._rows.new_id(),
            instance_id="" if live is None else live.id,
            root_instance_id="" if live is None else live.root_id,
            element_id=element,
            message=message,
            created_at=self._now(),
        )
        self._rows.stop(incident, task_id=task_id, due=due)

    def _held(self, task_id: str, worker_id: str) -> Task | Outcome:
        task = self._rows.external.get(task_id)
        if task is None:
            return Outcome.GONE
        return task if task.worker_id == worker_id else Outcome.LOCK_LOST

    def _find(self, workflow_key: str, definition_id: str | None) -> Definition:
        for definition, _, _ in reversed(self._rows.definitions):
            if definition.workflow_key == workflow_key and definition_id in {None, definition.id}:
                return definition
        raise NotFound(f"There is no workflow {workflow_key}.")
