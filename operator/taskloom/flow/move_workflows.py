"""Workflows that were deployed by REST follow when another engine takes over.

Those that are declared follow by their reconciliation, which tells on the object if one cannot.
"""

import structlog

from taskloom.errors import Invalid
from taskloom.flow.services import Services
from taskloom.flow.workflows import API, Draft, deploy, retry_starts

log = structlog.get_logger()


async def move_workflows(services: Services) -> int:
    """Deploy in the engine in use what another one has; return how many workflows were moved.

    One that the engine refuses stays behind, so that its starts fail and say why; the log says so.
    `Temporary` if the engine does not answer: those moved until then are.
    """
    engine = services.engine.name
    async with services.workflows.begin() as tx:
        behind = await tx.workflows.of_other_engines(engine, managed_by=API)
    moved = 0
    for workflow_id in behind:
        async with services.workflows.begin() as tx:
            workflow = await tx.workflows.get(workflow_id, lock=True)
            if workflow is None:
                continue
            version = await tx.workflows.version(workflow_id, workflow.version)
            if version is None or version.engine == engine:
                continue  # another process was quicker
            try:
                await deploy(services, tx, workflow, Draft(bpmn=version.bpmn))
            except Invalid as exc:
                log.warning("workflow.not-moved", workflow=workflow.key, error=exc.message)
                continue
        await retry_starts(services, workflow.key)
        log.info("workflow.moved", workflow=workflow.key, engine=engine)
        moved += 1
    return moved
