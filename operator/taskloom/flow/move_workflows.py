"""Workflows that were deployed by REST follow when another engine takes over.

Those that are declared follow by their reconciliation, which tells on the object if one cannot.
"""

from collections.abc import Iterable
from uuid import UUID

import structlog

from taskloom.domain.workflows import Workflow, WorkflowVersion
from taskloom.errors import Invalid
from taskloom.flow.services import Services
from taskloom.flow.workflows import API, Draft, deploy, retry_starts
from taskloom.store.transaction import Transaction

log = structlog.get_logger()


async def move_workflows(services: Services) -> int:
    """Deploy what the engine in use does not have; return how many workflows were deployed.

    One that the engine refuses stays behind, so that its starts fail and say why; the log says so.
    `Temporary` if the engine does not answer: those moved until then are.
    """
    async with services.workflows.begin() as tx:
        rows = [row for row in await tx.workflows.all() if row.managed_by == API]
        current = [version for row in rows if (version := await _current(tx, row)) is not None]
    lost = await _lost(services, current)
    moved = 0
    for row in rows:
        if row.id in lost and await _move(services, row):
            await retry_starts(services, row.key)
            log.info("workflow.moved", workflow=row.key, engine=services.engine.name)
            moved += 1
    return moved


async def _move(services: Services, row: Workflow) -> bool:
    async with services.workflows.begin() as tx:
        workflow = await tx.workflows.get(row.id, lock=True)
        version = None if workflow is None else await _current(tx, workflow)
        if workflow is None or version is None or not await _lost(services, [version]):
            return False  # another process was quicker
        try:
            await deploy(services, tx, workflow, Draft(bpmn=version.bpmn))
        except Invalid as exc:
            log.warning("workflow.not-moved", workflow=workflow.key, error=exc.message)
            return False
    return True


async def _current(tx: Transaction, workflow: Workflow) -> WorkflowVersion | None:
    return await tx.workflows.version(workflow.id, workflow.version)


async def _lost(services: Services, versions: Iterable[WorkflowVersion]) -> set[UUID]:
    """Give the workflows of versions that the engine does not have."""
    of = {version.definition_id: version.workflow_id for version in versions}
    known = await services.engine.known_definitions(sorted(of))
    return {workflow_id for definition, workflow_id in of.items() if definition not in known}
