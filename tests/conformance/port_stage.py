"""A stage on the `WorkflowEngine` port."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from taskloom.errors import TaskloomError
from taskloom.ids import new_id
from taskloom.ports.engine import (
    ActivityRecord,
    EngineUserTask,
    Message,
    Outcome,
    StartRequest,
    WorkflowEngine,
)
from taskloom.testing.play import Clock
from tests.conformance.model import Model, ancestors, bare
from tests.conformance.stage import (
    LATE,
    IncidentSeen,
    InstanceSeen,
    PersonalTask,
    Result,
    Scene,
    StepSeen,
    Work,
)

_TRIES = 100
"""How many rounds of jobs may follow each other at one moment."""
_RESULTS = {
    Outcome.DONE: Result.DONE,
    Outcome.GONE: Result.GONE,
    Outcome.LOCK_LOST: Result.LOCK_LOST,
}


class TimedEngine(WorkflowEngine, Protocol):
    """An engine that fires its timers when asked."""

    async def run_due_jobs(self, limit: int) -> int:
        """Fire due timers."""
        ...

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due."""
        ...


class Watch(Protocol):
    """What the port does not tell: every instance that began, and the variables of a process."""

    async def roots(self) -> Sequence[str]:
        """List the ids of the instances that nobody called, the oldest first."""
        ...

    async def variables(self, roots: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Give the variables of the processes themselves, also when they have ended."""
        ...


class PortStage:
    """An engine that nobody else uses, on a clock that is set by hand."""

    def __init__(self, engine: TimedEngine, clock: Clock, watch: Watch) -> None:
        self._engine = engine
        self._clock = clock
        self._watch = watch
        self._models: list[Model] = []
        self._definitions: list[str] = []

    async def deploy(self, models: Sequence[Model]) -> Result:
        """Deploy models under the ids of their processes, each on its own."""
        for model in models:
            result = await self._try(partial(self._deploy, model))
            if result is not Result.DONE:
                return result
            self._models.append(model)
        return Result.DONE

    async def start(
        self, process_id: str, business_key: str, variables: Mapping[str, Any]
    ) -> Result:
        """Start an instance by the id of its process."""
        request = StartRequest(
            workflow_key=process_id,
            start_id=str(new_id()),
            business_key=business_key,
            variables=variables,
        )
        return await self._try(lambda: self._engine.start(request))

    async def fetch(self, topic: str, worker: str, lock: timedelta) -> Sequence[Work]:
        """Lock all external tasks of a topic that are due, the oldest first."""
        found = await self._engine.fetch_and_lock([topic], worker, max_tasks=50, lock=lock)
        return [
            Work(
                id=task.id,
                instance=task.instance_id,
                element=task.element_id,
                business_key=task.business_key,
                retries=task.retries,
                variables=dict(sorted(task.variables.items())),
            )
            for task in found
        ]

    async def complete(self, task: str, worker: str, variables: Mapping[str, Any]) -> Result:
        """Complete an external task."""
        return await self._try(lambda: self._engine.complete(task, worker, variables))

    async def fail(self, task: str, worker: str, *, retries: int, after: timedelta) -> Result:
        """Fail an external task."""
        return await self._try(
            lambda: self._engine.fail(task, worker, "it failed", retries=retries, retry_after=after)
        )

    async def bpmn_error(
        self, task: str, worker: str, code: str, message: str, variables: Mapping[str, Any]
    ) -> Result:
        """Throw a BPMN error at an external task."""
        return await self._try(
            lambda: self._engine.bpmn_error(task, worker, code, message, variables)
        )

    async def extend_lock(self, task: str, worker: str, lock: timedelta) -> Result:
        """Hold an external task longer."""
        return await self._try(lambda: self._engine.extend_lock(task, worker, lock))

    async def complete_user_task(self, task: str, variables: Mapping[str, Any]) -> Result:
        """Complete a user task."""
        return await self._try(lambda: self._engine.complete_user_task(task, variables))

    async def correlate(
        self,
        message: str,
        *,
        business_key: str | None,
        correlation: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> Result:
        """Hand a message to the one who waits for it."""
        told = Message(
            name=message, business_key=business_key, correlation=correlation, variables=variables
        )
        return await self._try(lambda: self._engine.correlate(told))

    async def signal(self, name: str, variables: Mapping[str, Any]) -> Result:
        """Tell a signal to all who wait for it."""
        return await self._try(lambda: self._engine.signal(name, variables))

    async def retry(self, incident: str) -> Result:
        """Give what has stopped one more try."""
        return await self._try(lambda: self._engine.retry_incident(incident))

    async def delete(self, instance: str) -> Result:
        """Delete an instance."""
        found = await self._engine.instances([instance])
        if not any(each.id == instance and each.state == "active" for each in found):
            return Result.GONE  # for the port that is no error
        return await self._try(lambda: self._engine.delete_instances([instance], "not needed"))

    async def forward(self, span: timedelta) -> None:
        """Let time pass, and fire every timer at its time."""
        until = self._clock.time + span
        while (due := await self._engine.next_due()) is not None and due <= until:
            self._clock.time = max(self._clock.time, due + LATE)
            await self._settle()
        self._clock.time = max(self._clock.time, until)

    async def look(self) -> Scene:
        """See where everything stands."""
        roots = list(await self._watch.roots())
        if not roots:
            return Scene()
        instances = await self._engine.instances(roots)
        steps = _steps(
            await self._engine.history(roots), {each.id: each.root_id for each in instances}
        )
        self._check_order(steps)
        return Scene(
            instances=[
                InstanceSeen(
                    id=each.id,
                    root=each.root_id,
                    process_id=each.workflow_key,
                    business_key=each.business_key,
                    state=each.state,
                )
                for each in instances
            ],
            steps=steps,
            user_tasks=[_personal(task) for task in await self._engine.user_tasks(roots)],
            incidents=[
                IncidentSeen(id=each.id, root=each.root_instance_id, element=each.element_id)
                for each in await self._engine.incidents(roots)
            ],
            variables={
                root: dict(sorted(variables.items()))
                for root, variables in (await self._watch.variables(roots)).items()
            },
        )

    async def clear(self) -> None:
        """Leave nothing that runs or is deployed."""
        await self._engine.delete_instances(list(await self._watch.roots()), "the play is over")
        await self._engine.undeploy(self._definitions)

    def _check_order(self, steps: Sequence[StepSeen]) -> None:
        """Hold that whatever began was led to by something that had begun before."""
        began: set[tuple[str, str]] = set()
        for step in steps:
            causes = ancestors(step.element, self._models)
            assert not causes or any((step.root, cause) in began for cause in causes), (
                f"{step.element} began before anything that leads to it."
            )
            began.add((step.root, bare(step.element)))

    async def _deploy(self, model: Model) -> None:
        deployed = await self._engine.deploy(model.process_id, model.bpmn)
        self._definitions.append(deployed.definition_id)

    async def _try(self, call: Callable[[], Awaitable[object]]) -> Result:
        try:
            answer = await call()
        except TaskloomError:
            return Result.REFUSED
        await self._settle()
        return _RESULTS[answer] if isinstance(answer, Outcome) else Result.DONE

    async def _settle(self) -> None:
        for _ in range(_TRIES):
            if not await self._engine.run_due_jobs(100):
                return
        raise AssertionError("There is no end of jobs that are due.")


def _steps(history: Sequence[ActivityRecord], root_of: Mapping[str, str]) -> list[StepSeen]:
    """Give steps keys of where and when they began, and a number where that is the same.

    Their places in the history would not do: what runs side by side has no order at one moment.
    """
    same: Counter[str] = Counter()
    steps = []
    for record in history:
        key = f"{record.instance_id} {record.element_id} {record.started_at}"
        same[key] += 1
        steps.append(
            StepSeen(
                key=f"{key} {same[key]}",
                root=root_of[record.instance_id],
                element=record.element_id,
                state=record.state,
            )
        )
    return steps


def _personal(task: EngineUserTask) -> PersonalTask:
    fields = {
        "name": task.name,
        "description": task.description,
        "assignee": task.assignee,
        "formKey": task.form_key,
        "priority": None if task.priority == 50 else task.priority,
        "due": task.due_date,
        "users": sorted(task.candidate_users),
        "groups": sorted(task.candidate_groups),
    }
    return PersonalTask(
        id=task.id,
        root=task.root_instance_id,
        element=task.element_id,
        fields={name: value for name, value in fields.items() if value not in (None, [], "")},
    )
