"""Everything declared into the database: gather, plan, apply, kind by kind; then the statuses."""

from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from taskloom.domain.conditions import Reason, timestamp
from taskloom.domain.sources import SourceState
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.domain.workflows import WorkflowVersion
from taskloom.errors import Conflict, Invalid, Temporary
from taskloom.flow.services import Services
from taskloom.flow.workflows import deploy, retry_starts
from taskloom.reconcilers.client_apps import client_moments, plan_client_apps
from taskloom.reconcilers.commands import plan_commands
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.desired import Desired, World, manager_of
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.event_mappings import plan_event_mappings
from taskloom.reconcilers.event_sinks import plan_event_sinks
from taskloom.reconcilers.event_sources import FormerValues, plan_event_sources
from taskloom.reconcilers.figures import Live, Look
from taskloom.reconcilers.issue import former_values, issue_credentials, with_issued
from taskloom.reconcilers.rotation import is_due, rotation_of
from taskloom.reconcilers.runners import HTTP_ONLY, Runners
from taskloom.reconcilers.settle import Plan, Row
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.reconcilers.statuses import Outlook, key_of, look_out, remember
from taskloom.reconcilers.task_mappings import plan_task_mappings
from taskloom.reconcilers.verdict import (
    Verdict,
    drifted,
    invalid,
    refused,
    unavailable,
    unsupported,
    waiting,
)
from taskloom.reconcilers.webhook_subscriptions import plan_subscriptions
from taskloom.reconcilers.workflows import (
    Deployment,
    plan_workflows,
    told_of_workflow,
    versions_to_prune,
)
from taskloom.resources.client_app import ClientApp
from taskloom.resources.event_mapping import EventMapping
from taskloom.resources.event_sink import EventSink
from taskloom.resources.task_mapping import TaskMapping
from taskloom.resources.webhook_subscription import WebhookSubscription
from taskloom.resources.workflow import Workflow
from taskloom.store.resources import StoredResource

log = structlog.get_logger()

R = TypeVar("R", bound=Row)
WAIT_FOR_INSTANCES = timedelta(seconds=5)
"""How soon a deleted workflow whose instances run is looked at again."""
_WITH_ENGINE = (Workflow, EventMapping, TaskMapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a reconciliation came to.

    `retry` asks for another one soon, as a part did not answer; `due` is when the next one is
    needed although nothing changes.
    `look` tells later what has changed without anybody declaring it.
    `released` names the leaving objects that nothing keeps from going any more.
    `engine_error` says that it was the engine or its database that did not answer, so that nothing
    is told of what needs it.
    `repaired` tells of objects whose rows another had changed, `remade` names the Secrets that
    another had removed.
    """

    verdicts: Mapping[Key, Verdict]
    changes: int
    retry: bool = False
    due: datetime | None = None
    released: frozenset[Key] = frozenset()
    look: Look | None = None
    engine_error: str = ""
    repaired: Mapping[Key, str] = field(default_factory=dict)
    remade: Mapping[Key, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One reconciliation on its way."""

    services: Services
    world: World
    credentials: CredentialStore
    topics: frozenset[str]
    runners: Runners
    applied: Applied
    verdicts: dict[Key, Verdict] = field(default_factory=dict)
    changes: int = 0
    retry: bool = False
    moments: list[datetime] = field(default_factory=list)  # when something changes by time alone
    lingering: set[str] = field(default_factory=set)  # managers whose rows could not go yet
    leaving: Mapping[str, Desired] = field(default_factory=dict)  # by their managers
    asked_to_go: frozenset[Key] = frozenset()
    released: frozenset[Key] = frozenset()
    former: FormerValues = field(default_factory=dict)
    remade: Mapping[Key, str] = field(default_factory=dict)

    def take(self, plan: Plan[R]) -> Plan[R]:
        self.verdicts |= plan.verdicts
        self.changes += len(plan.put) + len(plan.remove)
        return plan


async def reconcile(
    services: Services,
    snapshot: Snapshot,
    *,
    credentials: CredentialStore,
    topics: frozenset[str],
    runners: Runners = HTTP_ONLY,
    applied: Applied | None = None,
    live: Live | None = None,
) -> Report:
    """Make the database what the snapshot declares, and store what became of each object.

    `topics` are those that commands installed in the workers run, `runners` what runs sources.
    `live` remembers figures from one reconciliation to the next; without it they are read anew.
    The same snapshot again changes nothing.
    `applied` remembers from one time to the next how the rows were left, so that drift is found.
    """
    applied = applied or Applied()
    now = services.now()
    async with services.tasks.begin() as tx:
        memory = {key_of(stored): stored for stored in await tx.resources.all()}
    # What is pure may take long where much is declared: others have their turn meanwhile.
    outlook = await to_thread(look_out, snapshot, memory, now)
    run = _Run(
        services=services,
        world=outlook.world,
        credentials=credentials,
        topics=topics,
        runners=runners,
        applied=applied,
        leaving={item.manager: item for item in outlook.leaving.values()},
        asked_to_go=snapshot.leaving,
    )
    await _client_apps(run)
    await _commands(run)
    engine_error = await _with_engine(run)
    await _subscriptions(run)
    await _sources(run)
    await _sinks(run)
    await _drop_credentials(run, outlook)
    _tell_refusals(run, outlook)
    repaired = applied.finish(look=snapshot.look)
    _tell_drift(run, repaired)
    live = live or Live()
    waiting = frozenset(
        desired.key
        for desired, workflow in run.world.of(Workflow)
        if workflow.spec.deletion_policy == "Delete"
    )
    run.verdicts = await live.complete(services, run.verdicts, memory, waiting)
    records = await to_thread(remember, outlook, run.verdicts, memory, now)
    async with services.tasks.begin() as tx:
        for stored in outlook.forgotten:
            if manager_of(snapshot.provider, key_of(stored)) not in run.lingering:
                await tx.resources.remove(stored.kind, stored.namespace, stored.name)
        await tx.resources.put_all(records)
    _log_changes(records, memory)
    return Report(
        verdicts=run.verdicts,
        changes=run.changes,
        retry=run.retry,
        due=min((at for at in run.moments if at > now), default=None),
        released=run.released,
        look=partial(live.look, services),
        engine_error=engine_error,
        repaired=repaired,
        remade=run.remade,
    )


async def _client_apps(run: _Run) -> None:
    if not run.services.webhooks:
        _without_webhooks(run, ClientApp)
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


def _tampered(run: _Run, rows: list[Client], now: datetime) -> frozenset[UUID]:
    """Name the clients whose rotation is due and whose rows another has changed."""
    present = {row.id: row for row in rows}
    return frozenset(
        desired.id
        for desired, app in run.world.of(ClientApp)
        if (row := present.get(desired.id)) is not None
        and is_due(row, rotation_of(app), now)
        and run.applied.left_otherwise("ClientApp", desired.key, row)
    )


def _tell_rotations(run: _Run, rows: list[Client], plan: Plan[Client]) -> None:
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


async def _drop_credentials(run: _Run, outlook: Outlook) -> None:
    """Remove the Secrets that went with their ClientApp."""
    for stored in outlook.forgotten:
        if stored.kind != "ClientApp" or stored.spec.get("deletionPolicy") == "Retain":
            continue
        generated = (stored.spec.get("credentials") or {}).get("generated")
        if generated is None or generated.get("creationPolicy") == "Orphan":
            continue
        name = generated.get("secretName") or f"{stored.name}-credentials"
        if any(
            app.spec.secret_name(desired.name) == name and desired.namespace == stored.namespace
            for desired, app in run.world.of(ClientApp)
        ):
            continue
        await run.credentials.remove(stored.namespace, name)


async def _commands(run: _Run) -> None:
    async with run.services.tasks.begin() as tx:
        rows = await tx.commands.all()
        plan = run.take(await to_thread(plan_commands, run.world, rows, run.topics))
        for command in plan.remove:
            await tx.commands.remove(command.id)
        for command in plan.put:
            await tx.commands.put(command)
        if plan.put or plan.remove:
            tx.notify("commands")
        served = {command.topic for command in await tx.commands.all()}
    run.applied.note("Command", plan.settled)
    run.topics |= served


async def _with_engine(run: _Run) -> str:
    """See to what needs the engine's database; give why that could not be done, if so."""
    services = run.services
    try:
        await _workflows(run)
        await _mappings(run)
    except Temporary as error:
        if services.workflows.url == services.tasks.url:
            raise
        for kind in _WITH_ENGINE:
            for desired, _ in run.world.of(kind):
                run.verdicts.pop(desired.key, None)
        kinds = {kind.names.kind for kind in _WITH_ENGINE}
        # What is to go goes later: until then it must not be forgotten how.
        run.lingering |= {
            m for m in run.world.gone if m.partition(":")[2].partition("/")[0] in kinds
        }
        run.retry = True
        return error.message
    return ""


async def _workflows(run: _Run) -> None:
    async with run.services.workflows.begin() as tx:
        rows = list(await tx.workflows.all())
        versions = await tx.workflows.versions([row.id for row in rows])
    latest = {version.workflow_id: version for version in versions}
    plan = await to_thread(plan_workflows, run.world, rows, latest)
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


async def _deploy(run: _Run, deployment: Deployment) -> None:
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


async def _remove_workflow(run: _Run, row: WorkflowRow) -> None:
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
    run: _Run, leaving: Desired, row: WorkflowRow, error: Conflict | Temporary
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


async def _tell_workflows(run: _Run) -> None:
    """Tell what is deployed, and drop versions beyond each workflow's limit."""
    async with run.services.workflows.begin() as tx:
        rows = {row.managed_by: row for row in await tx.workflows.all()}
        versions = await tx.workflows.versions([row.id for row in rows.values()])
    for desired, workflow in run.world.of(Workflow):
        row = rows.get(desired.manager)
        if row is None:
            continue
        own = [version for version in versions if version.workflow_id == row.id]
        current = next((version for version in own if version.version == row.version), None)
        told = told_of_workflow(
            desired, row, current, engine=run.services.engine.name, served=run.topics
        )
        before = run.verdicts[desired.key]
        run.verdicts[desired.key] = told if before.ready else replace(before, fields=told.fields)
        limit = workflow.spec.version_history_limit
        for version in versions_to_prune(own, row.version, limit):
            await _prune(run, version)


async def _prune(run: _Run, version: WorkflowVersion) -> None:
    engine = run.services.engine
    try:
        async with run.services.workflows.begin() as tx:
            shared = tx if engine.joins(tx) else None
            await engine.undeploy([version.definition_id], tx=shared)
            await tx.workflows.remove_version(version.id)
    except (Conflict, Temporary):
        return  # instances of it run: the next reconciliation looks again
    run.changes += 1


async def _mappings(run: _Run) -> None:
    async with run.services.workflows.begin() as tx:
        workflows = {row.key: row for row in await tx.workflows.all()}
    async with run.services.tasks.begin() as tx:
        events = run.take(
            plan_event_mappings(run.world, await tx.mappings.event_mappings(), workflows)
        )
        for mapping in events.remove:
            await tx.mappings.remove_event_mapping(mapping.id)
        for mapping in events.put:
            await tx.mappings.put_event_mapping(mapping)
        tasks = run.take(
            plan_task_mappings(run.world, await tx.mappings.task_mappings(), workflows)
        )
        for task_mapping in tasks.remove:
            await tx.mappings.remove_task_mapping(task_mapping.id)
        for task_mapping in tasks.put:
            await tx.mappings.put_task_mapping(task_mapping)
    run.applied.note("EventMapping", events.settled)
    run.applied.note("TaskMapping", tasks.settled)


async def _subscriptions(run: _Run) -> None:
    if not run.services.webhooks:
        _without_webhooks(run, WebhookSubscription)
        return
    async with run.services.tasks.begin() as tx:
        clients = await tx.webhooks.client_ids()
        rows = await tx.webhooks.subscriptions()
        plan = run.take(await to_thread(plan_subscriptions, run.world, rows, clients))
        for subscription in plan.remove:
            await tx.webhooks.remove_subscription(subscription.id)
        await tx.webhooks.put_subscriptions(plan.put)
        if plan.put or plan.remove:
            tx.notify("subscriptions")
    await to_thread(run.applied.note, "WebhookSubscription", plan.settled)


async def _sources(run: _Run) -> None:
    async with run.services.tasks.begin() as tx:
        clients: frozenset[UUID] = frozenset()
        if run.services.webhooks:
            clients = await tx.webhooks.client_ids()
        rows = await tx.sources.all()
        states: dict[UUID, list[SourceState]] = {}
        for state in await tx.source_states.all():
            states.setdefault(state.source_id, []).append(state)
        plan = run.take(
            plan_event_sources(run.world, rows, clients, run.runners, states, former=run.former)
        )
        for source in plan.remove:
            await tx.sources.remove(source.id)
        for source in plan.put:
            await tx.sources.put(source)
        if plan.put or plan.remove:
            tx.notify("sources")
    run.applied.note("EventSource", plan.settled)


async def _sinks(run: _Run) -> None:
    if not run.services.webhooks:
        _without_webhooks(run, EventSink)
        return
    async with run.services.tasks.begin() as tx:
        plan = run.take(plan_event_sinks(run.world, await tx.sinks.all()))
        for sink in plan.remove:
            await tx.sinks.remove(sink.id)
        for sink in plan.put:
            await tx.sinks.put(sink)
        if plan.put or plan.remove:
            tx.notify("sinks")
    run.applied.note("EventSink", plan.settled)


def _without_webhooks(run: _Run, kind: type[ClientApp | WebhookSubscription | EventSink]) -> None:
    for desired, _ in run.world.of(kind):
        run.verdicts[desired.key] = unsupported(
            desired, "webhooks are left out of this installation"
        )


def _tell_refusals(run: _Run, outlook: Outlook) -> None:
    for key, message in outlook.refused.items():
        desired = run.world.desired.get(key)
        generation = 0 if desired is None else desired.generation
        run.verdicts[key] = refused(run.verdicts.get(key), generation, message)


def _tell_drift(run: _Run, repaired: Mapping[Key, str]) -> None:
    """Tell of each object whose row was not as it had been left, and log it once."""
    for key, message in repaired.items():
        kind, namespace, name = key
        log.warning("resource.drifted", kind=kind, namespace=namespace, name=name, repaired=message)
    for key, message in run.applied.drifted.items():
        desired, verdict = run.world.desired.get(key), run.verdicts.get(key)
        if desired is not None and verdict is not None:
            run.verdicts[key] = drifted(verdict, desired.generation, message)


def _log_changes(records: list[StoredResource], memory: Mapping[Key, StoredResource]) -> None:
    """Log what became ready and what did not, once for each change."""
    for record in records:
        ready = _ready(record)
        before = memory.get(key_of(record))
        if before is not None and _ready(before) == ready:
            continue
        write = log.info if ready[0] == "True" else log.warning
        write(
            "resource.ready" if ready[0] == "True" else "resource.not-ready",
            kind=record.kind,
            namespace=record.namespace,
            name=record.name,
            place=record.place,
            reason=ready[1],
            message=ready[2],
        )


def _ready(record: StoredResource) -> tuple[str, str, str]:
    for condition in record.status.get("conditions", ()):
        if condition["type"] == "Ready":
            return (condition["status"], condition["reason"], condition["message"])
    return ("Unknown", "", "")
