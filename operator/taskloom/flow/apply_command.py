"""An external task has its effect, once: what its command decided, and the ledger's entry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from taskloom.domain.commands import CommandResult
from taskloom.domain.jobs import JobKind, NewJob
from taskloom.domain.tasks import Priority, Task, TaskStatus, check_task_fields
from taskloom.errors import Invalid, Temporary
from taskloom.flow.publish import publish
from taskloom.flow.services import Services
from taskloom.flow.start_children import start_children_within
from taskloom.ids import derived_id
from taskloom.ports.engine import ExternalTask, Outcome
from taskloom.store.ledger import LedgerEntry
from taskloom.store.transaction import Transaction


class LockLost(Temporary):
    """Another worker has the external task now: what was done here is undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where an external task comes from."""

    external_task: ExternalTask
    event_id: UUID | None


async def apply_command(
    services: Services,
    task: ExternalTask,
    result: CommandResult,
    *,
    worker_id: str,
    started_at: datetime,
) -> Outcome:
    """Carry out what a command decided and complete its external task.

    With an engine in the same database it is one transaction, undone as a whole when the lock was
    lost.  Otherwise the ledger is committed first: a task that comes again finds it and is only
    completed.
    """
    engine = services.engine
    async with services.tasks.begin() as tx:
        if await tx.ledger.put(_done(task, result.variables, started_at, services.now())):
            await _effect(services, tx, task, result)
            variables = result.variables
        else:
            variables = await tx.ledger.variables_of(task.id)
        if engine.joins(tx):
            outcome = await engine.complete(task.id, worker_id, variables, tx=tx)
            if outcome is not Outcome.DONE:
                raise LockLost
            return outcome
    return await engine.complete(task.id, worker_id, variables)


async def _effect(
    services: Services, tx: Transaction, task: ExternalTask, result: CommandResult
) -> None:
    lineage = Lineage(
        external_task=task,
        event_id=await _event_of(tx, task),
    )
    if result.create_tasks:
        await _create_tasks(services, tx, lineage, result.create_tasks)
    if result.complete_task is not None:
        await _complete_task(services, tx, lineage, result.complete_task)
    for announcement in result.announce:
        await publish(
            services,
            tx,
            announcement.key,
            announcement.payload,
            event_id=lineage.event_id,
            root_instance_id=task.root_instance_id,
        )


async def _event_of(tx: Transaction, task: ExternalTask) -> UUID | None:
    """Find the event that a task descends from.

    An engine elsewhere may hand a task out before the start that led to it has been recorded: its
    start id is known from before.
    """
    event_id = await tx.jobs.event_of_instance(task.root_instance_id)
    if event_id is None and task.start_id is not None:
        event_id = await tx.jobs.event_of_start(task.start_id)
    return event_id


async def _create_tasks(
    services: Services, tx: Transaction, lineage: Lineage, given: Sequence[Mapping[str, Any]]
) -> None:
    now = services.now()
    rows = [_row(lineage, index, fields, now) for index, fields in enumerate(given)]
    tasks = await tx.tasks.add(rows)
    if not tasks:
        return
    mappings = await tx.mappings.task_mappings_for({task.key for task in tasks})
    children = {task.id: mappings[task.key].workflow_key for task in tasks if task.key in mappings}
    if not children or services.engine.joins(tx):
        await start_children_within(services, tx, tasks, children)
        return
    await tx.jobs.add([_children_job(lineage, tasks, children)])
    tx.notify("jobs")


def _children_job(lineage: Lineage, tasks: Sequence[Task], children: Mapping[UUID, str]) -> NewJob:
    return NewJob(
        id=derived_id("children", lineage.external_task.id),
        kind=JobKind.START_CHILDREN,
        payload={
            "tasks": [str(task.id) for task in tasks],
            "children": {str(id_): workflow for id_, workflow in children.items()},
        },
        event_id=lineage.event_id,
    )


async def _complete_task(
    services: Services, tx: Transaction, lineage: Lineage, task_id: UUID
) -> None:
    if not await tx.tasks.complete(task_id):
        if await tx.tasks.get(task_id) is None:
            raise Invalid(
                f'There is no task {task_id}: the variable "taskId" must hold the id of a task.',
                field="taskId",
            )
        return  # completed before, and told of then
    await publish(
        services,
        tx,
        "task-completed",
        {"taskId": str(task_id)},
        event_id=lineage.event_id,
        task_id=task_id,
        root_instance_id=lineage.external_task.root_instance_id,
    )


def _row(lineage: Lineage, index: int, fields: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    values = check_task_fields(fields, where=f"tasks[{index}].")
    if "key" not in values:
        raise Invalid(
            f"tasks[{index}] has no key: give it one, and map it to a workflow if it has its own.",
            field=f"tasks[{index}].key",
        )
    metadata = values.pop("metadata", None)
    return {
        "name": None,
        "description": None,
        "status": TaskStatus.PENDING,
        "priority": Priority.MEDIUM,
        "severity": None,
        "type": None,
        "start_date": None,
        "due_date": None,
        "end_date": None,
        "assignee_id": None,
        "notes": None,
        **values,
        "id": derived_id("task", lineage.external_task.id, index),
        "metadata": None if metadata is None else json.dumps(metadata),
        "event_id": lineage.event_id,
        "origin_instance_id": lineage.external_task.instance_id,
        "external_task_id": lineage.external_task.id,
        # a microsecond apart, so that sorting by it keeps the order they were listed in
        "created_on": now + timedelta(microseconds=index),
    }


def _done(
    task: ExternalTask, variables: Mapping[str, Any], started_at: datetime, now: datetime
) -> LedgerEntry:
    return LedgerEntry(
        external_task_id=task.id,
        topic=task.topic,
        root_instance_id=task.root_instance_id,
        state="done",
        variables=variables,
        error=None,
        attempts=1,
        started_at=started_at,
        finished_at=now,
    )
