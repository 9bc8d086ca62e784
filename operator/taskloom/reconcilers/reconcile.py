"""Everything declared into the database: gather, plan, apply, kind by kind; then the statuses."""

from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from taskloom.domain.sources import SourceState
from taskloom.errors import Temporary
from taskloom.flow.services import Services
from taskloom.reconcilers.apply_client_apps import apply_client_apps, drop_credentials
from taskloom.reconcilers.apply_workflows import apply_workflows
from taskloom.reconcilers.commands import plan_commands
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.desired import manager_of
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.event_mappings import plan_event_mappings
from taskloom.reconcilers.event_sinks import plan_event_sinks
from taskloom.reconcilers.event_sources import plan_event_sources
from taskloom.reconcilers.figures import Live, Look
from taskloom.reconcilers.run import Run
from taskloom.reconcilers.runners import HTTP_ONLY, Runners
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.reconcilers.statuses import Outlook, key_of, look_out, remember
from taskloom.reconcilers.task_mappings import plan_task_mappings
from taskloom.reconcilers.verdict import Verdict, drifted, refused
from taskloom.reconcilers.webhook_subscriptions import plan_subscriptions
from taskloom.resources.event_mapping import EventMapping
from taskloom.resources.event_sink import EventSink
from taskloom.resources.task_mapping import TaskMapping
from taskloom.resources.webhook_subscription import WebhookSubscription
from taskloom.resources.workflow import Workflow
from taskloom.store.resources import StoredResource

log = structlog.get_logger()

_WITH_ENGINE = (Workflow, EventMapping, TaskMapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a reconciliation came to.

    `retry` asks for another one soon, as a part did not answer; `due` is when the next one is
    needed although nothing changes.
    It is `unsure` if of something remembered it could not be told whether it is gone.
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
    unsure: bool = False
    due: datetime | None = None
    released: frozenset[Key] = frozenset()
    look: Look | None = None
    engine_error: str = ""
    repaired: Mapping[Key, str] = field(default_factory=dict)
    remade: Mapping[Key, str] = field(default_factory=dict)


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
    run = Run(
        services=services,
        world=outlook.world,
        credentials=credentials,
        topics=topics,
        runners=runners,
        applied=applied,
        leaving={item.manager: item for item in outlook.leaving.values()},
        asked_to_go=snapshot.leaving,
    )
    await apply_client_apps(run)
    await _commands(run)
    engine_error = await _with_engine(run)
    await _subscriptions(run)
    await _sources(run)
    await _sinks(run)
    await drop_credentials(run, outlook)
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
        unsure=outlook.unsure,
        due=min((at for at in run.moments if at > now), default=None),
        released=run.released,
        look=partial(live.look, services),
        engine_error=engine_error,
        repaired=repaired,
        remade=run.remade,
    )


async def _commands(run: Run) -> None:
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


async def _with_engine(run: Run) -> str:
    """See to what needs the engine's database; give why that could not be done, if so."""
    services = run.services
    try:
        await apply_workflows(run)
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


async def _mappings(run: Run) -> None:
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


async def _subscriptions(run: Run) -> None:
    if not run.services.webhooks:
        run.leave_out(WebhookSubscription)
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


async def _sources(run: Run) -> None:
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


async def _sinks(run: Run) -> None:
    if not run.services.webhooks:
        run.leave_out(EventSink)
        return
    async with run.services.tasks.begin() as tx:
        rows, states = await tx.sinks.all(), await tx.sink_states.all()
        plan = run.take(plan_event_sinks(run.world, rows, run.runners, states))
        for sink in plan.remove:
            await tx.sink_deliveries.give_up(sink.id)
            await tx.sinks.remove(sink.id)
        for sink in plan.put:
            await tx.sinks.put(sink)
        if plan.put or plan.remove:
            tx.notify("sinks")
    run.applied.note("EventSink", plan.settled)


def _tell_refusals(run: Run, outlook: Outlook) -> None:
    for key, message in outlook.refused.items():
        desired = run.world.desired.get(key)
        generation = 0 if desired is None else desired.generation
        run.verdicts[key] = refused(run.verdicts.get(key), generation, message)


def _tell_drift(run: Run, repaired: Mapping[Key, str]) -> None:
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
        if condition.get("type") == "Ready":
            status, reason, message = map(condition.get, ("status", "reason", "message"))
            return (str(status), str(reason), str(message))
    return ("Unknown", "", "")
