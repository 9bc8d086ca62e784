"""A start job becomes a process instance, once."""

import json
from collections.abc import Sequence

from taskloom.domain.jobs import Job, StartOrder
from taskloom.errors import Permanent
from taskloom.flow.adopt import adopt_user_tasks
from taskloom.flow.filters import evaluate, evaluate_variables
from taskloom.flow.services import Services
from taskloom.flow.start_children import child_start
from taskloom.ports.engine import EngineUserTask, Instance, StartRequest
from taskloom.store.transaction import Transaction


async def start_process(services: Services, job: Job) -> None:
    """Start the workflow a job names, and note the instance with the job and its task.

    With an engine in the same database this is one transaction.  Otherwise the engine knows a
    repeated start by its start id, so a crash in between starts nothing twice.
    """
    engine = services.engine
    async with services.tasks.begin() as tx:
        order = await tx.jobs.take_start(job.id)
        if order is None:
            return
        request = _request(order)
        if engine.joins(tx):
            instance = await engine.start(request, tx=tx)
            open_tasks = await engine.user_tasks([instance.root_id], tx=tx) if job.task_id else ()
            await _record(tx, job, instance, open_tasks)
            return
    instance = await engine.start(request)
    open_tasks = await engine.user_tasks([instance.root_id]) if job.task_id else ()
    async with services.tasks.begin() as tx:
        await _record(tx, job, instance, open_tasks)


def _request(order: StartOrder) -> StartRequest:
    job = order.job
    workflow_key = job.payload["workflow_key"]
    if job.task_id is not None:
        return child_start(job.task_id, workflow_key, fresh=job.is_first_try)
    if order.event_key is None or order.event_payload is None:
        raise Permanent(f"The event {job.event_id} is no longer stored: nothing can be started.")
    payload = json.loads(order.event_payload)
    event = (order.event_key, payload, order.event_source)
    return StartRequest(
        workflow_key=workflow_key,
        start_id=str(job.id),
        business_key=(
            None if order.business_key is None else str(evaluate(order.business_key, *event))
        ),
        variables=evaluate_variables(order.variables, *event),
        fresh=job.is_first_try,
    )


async def _record(
    tx: Transaction, job: Job, instance: Instance, open_tasks: Sequence[EngineUserTask]
) -> None:
    await tx.jobs.finish(job.id, instance_id=instance.id)
    if job.task_id is not None:
        await tx.tasks.set_external_ids({job.task_id: instance.id})
        await adopt_user_tasks(tx, [(job.task_id, task) for task in open_tasks])
