"""ClientApps into the database: their credentials first, their rows, and what becomes of both."""

from asyncio import to_thread
from datetime import datetime
from uuid import UUID

import structlog

from taskloom.domain.conditions import timestamp
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.reconcilers.client_apps import client_moments, plan_client_apps
from taskloom.reconcilers.issue import former_values, issue_credentials, with_issued
from taskloom.reconcilers.rotation import is_due, rotation_of
from taskloom.reconcilers.run import Run
from taskloom.reconcilers.settle import Plan
from taskloom.reconcilers.statuses import Outlook, standing
from taskloom.resources.client_app import ClientApp

log = structlog.get_logger()


async def apply_client_apps(run: Run) -> None:
    """Issue what is to be issued, and make the rows what is declared."""
    if not run.services.webhooks:
        run.leave_out(ClientApp)
        return
    async with run.services.tasks.begin() as tx:
        rows = await tx.webhooks.client_apps()
    now = run.services.now()
    tampered = _tampered(run, rows, now)
    issued = await issue_credentials(run.world, run.credentials, rows, now, tampered=tampered)
    run.retry |= bool(issued.failed or issued.unrotated or tampered)
    plan = run.take(
        await to_thread(
            plan_client_apps,
            run.world,
            rows,
            issued.values,
            now,
            unrotated=issued.unrotated,
            tampered=tampered,
        )
    )
    run.verdicts |= issued.failed
    run.remade = issued.remade
    async with run.services.tasks.begin() as tx:
        for client in plan.remove:
            await tx.webhooks.remove_client(client.id)
        await tx.webhooks.put_clients(plan.put)
    await to_thread(run.applied.note, "ClientApp", plan.settled)
    _tell_rotations(run, rows, plan)
    clients = {row.id: row for row in (*rows, *plan.put)}
    run.moments += client_moments(run.world, clients)
    run.former = former_values(run.world, clients, now)
    run.world = await to_thread(with_issued, run.world, issued.values)


def _tampered(run: Run, rows: list[Client], now: datetime) -> frozenset[UUID]:
    """Name those whose rotation is due, and whose rows another has changed or nobody can read."""
    present = {row.id: row for row in rows}
    return frozenset(
        desired.id
        for desired, app in run.world.of(ClientApp)
        if (row := present.get(desired.id)) is not None
        and is_due(row, rotation_of(app), now)
        and (not row.api_secret or run.applied.left_otherwise("ClientApp", desired.key, row))
    )


def _tell_rotations(run: Run, rows: list[Client], plan: Plan[Client]) -> None:
    """Log whose secrets are new."""
    before = {row.id: row for row in rows}
    for client in plan.put:
        was = before.get(client.id)
        if was is None or (was.api_secret, was.signing_secret) == (
            client.api_secret,
            client.signing_secret,
        ):
            continue
        former = client.former_at(run.services.now())
        log.info(
            "credentials.rotated",
            client=client.managed_by,
            revision=client.revision,
            former_valid_until=None if former is None else timestamp(former.valid_until),
        )


async def drop_credentials(run: Run, outlook: Outlook) -> None:
    """Remove the Secrets that went with their ClientApp."""
    for stored in outlook.forgotten:
        gone = standing(stored)
        if not isinstance(gone, ClientApp) or gone.spec.deletion_policy == "Retain":
            continue
        generated = gone.spec.credentials.generated
        if generated is None or generated.creation_policy == "Orphan":
            continue
        name = gone.spec.secret_name(stored.name)
        if any(
            app.spec.secret_name(desired.name) == name and desired.namespace == stored.namespace
            for desired, app in run.world.of(ClientApp)
        ):
            continue
        await run.credentials.remove(stored.namespace, name)
