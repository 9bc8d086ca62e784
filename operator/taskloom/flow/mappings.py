"""Events and tasks are mapped to workflows from outside."""

from uuid import UUID

from taskloom.domain.workflows import EventMapping, TaskMapping
from taskloom.errors import Conflict, Unprocessable
from taskloom.flow.services import Services
from taskloom.flow.workflows import API
from taskloom.ids import derived_id


async def map_event(services: Services, event_key: str, workflow_key: str) -> EventMapping:
    """Start `workflow_key` for events of `event_key` from now on; again changes nothing."""
    await _must_exist(services, workflow_key)
    mapping = EventMapping(
        id=derived_id("event-mapping", event_key, workflow_key),
        event_key=event_key,
        workflow_key=workflow_key,
        filter=None,
        variables=None,
        business_key=None,
        suspended=False,
        managed_by=API,
        created_on=services.now(),
    )
    async with services.tasks.begin() as tx:
        for found in await tx.mappings.event_mappings_for({event_key}):
            if (found.event_key, found.workflow_key) == (event_key, workflow_key):
                return found  # a second one, perhaps beside a declared one, would start it twice
        await tx.mappings.put_event_mapping(mapping)
    return mapping


async def map_task(services: Services, task_key: str, workflow_key: str) -> TaskMapping:
    """Start `workflow_key` for tasks of `task_key` from now on, in place of any other."""
    await _must_exist(services, workflow_key)
    async with services.tasks.begin() as tx:
        found = [m for m in await tx.mappings.task_mappings() if m.task_key == task_key]
        if found and found[0].managed_by != API:
            raise Conflict(
                f"The task key {task_key} is mapped by {found[0].managed_by}: change it there."
            )
        mapping = TaskMapping(
            id=found[0].id if found else derived_id("task-mapping", task_key),
            task_key=task_key,
            workflow_key=workflow_key,
            suspended=False,
            managed_by=API,
            created_on=services.now(),
        )
        await tx.mappings.put_task_mapping(mapping)
    return mapping


async def _must_exist(services: Services, workflow_key: str) -> UUID:
    async with services.workflows.begin() as tx:
        workflow = await tx.workflows.by_key(workflow_key)
    if workflow is None:
        raise Unprocessable(
            f"There is no workflow {workflow_key}: deploy it first (POST /workflows).",
            field="workflowKey",
        )
    return workflow.id
