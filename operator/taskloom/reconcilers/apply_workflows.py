"""Workflows into the engine and the database: deployed, removed, told of, pruned."""

from asyncio import to_thread
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog

from taskloom.domain.conditions import Reason
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.domain.workflows import WorkflowVersion
from taskloom.errors import Conflict, Invalid, Temporary
from taskloom.flow.workflows import deploy, retry_starts
from taskloom.reconcilers.desired import Desired, manager_of
from taskloom.reconcilers.run import Run
from taskloom.reconcilers.verdict import invalid, unavailable, waiting
from taskloom.reconcilers.workflows import (
    Deployment,
    plan_workflows,
    told_of_workflow,
    versions_to_prune,
)
from taskloom.resources.workflow import Workflow

log = structlog.get_logger()

WAIT_FOR_INSTANCES = timedelta(seconds=5)
"""How soon a deleted workflow whose instances run is looked at again."""


async def apply_workflows(run: Run) -> None:
    """Deploy what is declared, remove what is to go, and tell of what there is."""
    async with run.services.workflows.begin() as tx:
        rows = list(await tx.workflows.all())
        versions = await tx.workflows.versions([row.id for row in rows])
    latest = {version.workflow_id: version for version in versions}
    lost = await _lost(run, latest.values())
    plan = await to_thread(partial(plan_workflows, run.world, rows, latest, lost=lost))
    run.verdicts |= plan.verdicts
    run.changes += len(plan.deploy) + len(plan.retain)
    for row in plan.remove:
        await _remove_workflow(run, row)
    if plan.retain:
        async with run.services.workflows.begin() as tx:
            for row in plan.retain:
                await tx.workflows.put(row)
    for deployment in plan.deploy:
        await _deploy(run, deployment)
    stored = {key: forms for key, forms in plan.settled.items() if run.verdicts[key].ready}
    run.applied.note("Workflow", stored)
    run.released = frozenset(
        key for key in run.asked_to_go if manager_of(run.world.provider, key) not in run.lingering
    )
    await _tell_workflows(run)


async def _lost(run: Run, versions: Iterable[WorkflowVersion]) -> frozenset[str]:
    """Look which definitions the engine does not have: it is another one, or has lost its tables.

    Of an engine that does not answer nothing is taken for lost.
    """
    wanted = frozenset(version.definition_id for version in versions)
    try:
        return wanted - await run.services.engine.known_definitions(sorted(wanted))
    except Temporary as error:
        log.warning("workflow.definitions-not-seen", error=error.message)
        return frozenset()


async def _deploy(run: Run, deployment: Deployment) -> None:
    desired = run.world.desired[deployment.key]
    try:
        async with run.services.workflows.begin() as tx:
            await deploy(run.services, tx, deployment.row, deployment.draft)
        await retry_starts(run.services, deployment.row.key)
    except Invalid as error:
        run.verdicts[deployment.key] = invalid(desired, error.message)
    except Temporary as error:
        run.verdicts[deployment.key] = unavailable(
            desired, Reason.ENGINE_UNAVAILABLE, error.message
        )
        run.retry = True


async def _remove_workflow(run: Run, row: WorkflowRow) -> None:
    """Remove a workflow whose object is gone; while instances run it stays and is tried again."""
    engine = run.services.engine
    try:
        async with run.services.workflows.begin() as tx:
            versions = await tx.workflows.versions([row.id])
            shared = tx if engine.joins(tx) else None
            await engine.undeploy([version.definition_id for version in versions], tx=shared)
            await tx.workflows.remove(row.id)
    except (Conflict, Temporary) as error:
        log.warning("workflow.not-removed", workflow=row.key, error=error.message)
        run.lingering.add(row.managed_by)
        leaving = run.leaving.get(row.managed_by)
        if leaving is None or isinstance(error, Temporary):
            run.retry = True
        else:
            run.moments.append(run.services.now() + WAIT_FOR_INSTANCES)
        if leaving is not None:
            await _tell_waiting(run, leaving, row, error)
    else:
        run.changes += 1


async def _tell_waiting(
    run: Run, leaving: Desired, row: WorkflowRow, error: Conflict | Temporary
) -> None:
    """Tell why a deleted workflow is still there."""
    if isinstance(error, Temporary):
        verdict = unavailable(leaving, Reason.ENGINE_UNAVAILABLE, error.message)
    else:
        count = await run.services.engine.running_instances(row.key)
        verdict = waiting(leaving, count)
    run.verdicts[leaving.key] = replace(
        verdict, fields={"workflowId": str(row.id), "externalIdentifier": row.key}
    )


async def _tell_workflows(run: Run) -> None:
    """Tell what is deployed, and drop versions beyond each workflow's limit."""
    async with run.services.workflows.begin() as tx:
        rows = {row.managed_by: row for row in await tx.workflows.all()}
        versions = await tx.workflows.versions([row.id for row in rows.values()])
        fetched = await tx.fetched_topics.served(run.services.now())
    # what foreign workers fetch is served only as long as they do: then it is to be told anew
    run.moments += [until for topic, until in fetched.items() if topic not in run.topics]
    served = run.topics | fetched.keys()
    for desired, workflow in run.world.of(Workflow):
        row = rows.get(desired.manager)
        if row is None:
            continue
        own = [version for version in versions if version.workflow_id == row.id]
        current = next((version for version in own if version.version == row.version), None)
        told = told_of_workflow(
            desired, row, current, engine=run.services.engine.name, served=served
        )
        before = run.verdicts[desired.key]
        run.verdicts[desired.key] = told if before.ready else replace(before, fields=told.fields)
        limit = workflow.spec.version_history_limit
        for version in versions_to_prune(own, row.version, limit):
            await _prune(run, version)


async def _prune(run: Run, version: WorkflowVersion) -> None:
    engine = run.services.engine
    try:
        async with run.services.workflows.begin() as tx:
            shared = tx if engine.joins(tx) else None
            await engine.undeploy([version.definition_id], tx=shared)
            await tx.workflows.remove_version(version.id)
    except (Conflict, Temporary):
        return  # instances of it run: the next reconciliation looks again
    run.changes += 1
