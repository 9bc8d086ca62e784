"""The reconcilers' plans carried out on plain lists: what a snapshot makes of a state.

No database and no engine: every model deploys, unless it is the text ``bad``.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSink, EventSource, HttpCommand, SourceState
from taskloom.domain.webhooks import ClientApp, Subscription
from taskloom.domain.workflows import EventMapping, TaskMapping, Workflow, WorkflowVersion
from taskloom.ids import derived_id
from taskloom.reconcilers.client_apps import (
    Credentials,
    choose_credentials,
    choose_rotated,
    plan_client_apps,
)
from taskloom.reconcilers.commands import plan_commands
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.event_mappings import plan_event_mappings
from taskloom.reconcilers.event_sinks import plan_event_sinks
from taskloom.reconcilers.event_sources import plan_event_sources
from taskloom.reconcilers.rotation import is_due, rotation_of
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.settle import Plan, Row
from taskloom.reconcilers.snapshot import Key, Snapshot
from taskloom.reconcilers.statuses import key_of, look_out, remember
from taskloom.reconcilers.task_mappings import plan_task_mappings
from taskloom.reconcilers.verdict import Verdict, invalid, refused
from taskloom.reconcilers.webhook_subscriptions import plan_subscriptions
from taskloom.reconcilers.workflows import Deployment, plan_workflows, told_of_workflow
from taskloom.resources import client_app, workflow
from taskloom.store.resources import StoredResource

R = TypeVar("R", bound=Row)
BUILT_IN = frozenset({"create-tasks", "end-task"})
RUNNERS = Runners(kinds=frozenset({"http", "cron"}), adapters=frozenset({"orders"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The rows that reconcilers write."""

    clients: tuple[ClientApp, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    commands: tuple[HttpCommand, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    versions: tuple[WorkflowVersion, ...] = ()
    event_mappings: tuple[EventMapping, ...] = ()
    task_mappings: tuple[TaskMapping, ...] = ()
    sources: tuple[EventSource, ...] = ()
    sinks: tuple[EventSink, ...] = ()
    resources: tuple[StoredResource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one reconciliation came to."""

    state: State
    verdicts: Mapping[Key, Verdict]
    changes: tuple[str, ...] = field(default=())


def carry_out(
    state: State,
    snapshot: Snapshot,
    now: datetime,
    *,
    runners: Runners = RUNNERS,
    states: Mapping[UUID, Sequence[SourceState]] | None = None,
) -> Step:
    """Reconcile a state with a snapshot; `states` is what connectors tell of the sources."""
    memory = {key_of(stored): stored for stored in state.resources}
    outlook = look_out(snapshot, memory, now)
    world = outlook.world
    verdicts: dict[Key, Verdict] = {}
    changes: list[str] = []

    def put(rows: Sequence[R], plan: Plan[R], table: str) -> tuple[R, ...]:
        verdicts.update(plan.verdicts)
        return _apply(rows, plan, table, changes)

    clients = put(
        state.clients,
        plan_client_apps(world, state.clients, _generated(world, state.clients, now), now),
        "client",
    )
    client_ids = frozenset(client.id for client in clients)
    commands = put(state.commands, plan_commands(world, state.commands, BUILT_IN), "command")
    served = BUILT_IN | {command.topic for command in commands}
    workflows, versions = _workflows(state, world, served, verdicts, changes)
    by_key = {row.key: row for row in workflows}
    event_mappings = put(
        state.event_mappings,
        plan_event_mappings(world, state.event_mappings, by_key),
        "event-mapping",
    )
    task_mappings = put(
        state.task_mappings,
        plan_task_mappings(world, state.task_mappings, by_key),
        "task-mapping",
    )
    kept = [row for row in state.subscriptions if row.client_id in client_ids]
    subscriptions = put(kept, plan_subscriptions(world, kept, client_ids), "subscription")
    sources = put(
        state.sources,
        plan_event_sources(world, state.sources, client_ids, runners, states),
        "source",
    )
    sinks = put(state.sinks, plan_event_sinks(world, state.sinks), "sink")
    for key, message in outlook.refused.items():
        desired = world.desired.get(key)
        generation = 0 if desired is None else desired.generation
        verdicts[key] = refused(verdicts.get(key), generation, message)
    gone = {key_of(stored) for stored in outlook.forgotten}
    records = {key: stored for key, stored in memory.items() if key not in gone}
    records |= {key_of(record): record for record in remember(outlook, verdicts, memory, now)}
    return Step(
        state=State(
            clients=clients,
            subscriptions=subscriptions,
            commands=commands,
            workflows=workflows,
            versions=versions,
            event_mappings=event_mappings,
            task_mappings=task_mappings,
            sources=sources,
            sinks=sinks,
            resources=tuple(records[key] for key in sorted(records)),
        ),
        verdicts=verdicts,
        changes=tuple(changes),
    )


def _apply(rows: Sequence[R], plan: Plan[R], table: str, changes: list[str]) -> tuple[R, ...]:
    by_id = {row.id: row for row in rows}
    for row in plan.remove:
        del by_id[row.id]
        changes.append(f"remove {table} {row.managed_by}")
    for row in plan.put:
        by_id[row.id] = row
        changes.append(f"put {table} {row.managed_by}")
    return tuple(sorted(by_id.values(), key=lambda row: str(row.id)))


def _generated(
    world: World, rows: Sequence[ClientApp], now: datetime
) -> dict[Key, Mapping[str, Secret]]:
    present = {row.id: row for row in rows}
    made: dict[Key, Mapping[str, Secret]] = {}
    for desired, app in world.of(client_app.ClientApp):
        if app.spec.credentials.imported is not None:
            continue
        secret = world.secrets.get((desired.namespace, app.spec.secret_name(desired.name)))
        kept = {} if secret is None else secret.data
        fresh = Credentials(
            api_key=f"key-of-{desired.name}",
            api_secret=Secret(f"secret-of-{desired.name}"),
            signing_secret=Secret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"),
        )
        row = present.get(desired.id)
        values = choose_credentials(
            app, {key: Secret(value.decode()) for key, value in kept.items()}, row, fresh
        )
        if row is not None and secret is None and is_due(row, rotation_of(app), now):
            values |= choose_rotated(app, row, values, _made_at(desired.name, now))[1]
        made[desired.key] = values
    return made


def _made_at(name: str, now: datetime) -> Credentials:
    digest = hashlib.sha256(f"{name} {now}".encode()).digest()
    return Credentials(
        api_key="",
        api_secret=Secret(digest.hex()),
        signing_secret=Secret("whsec_" + base64.b64encode(digest).decode()),
    )


def _workflows(
    state: State,
    world: World,
    served: frozenset[str],
    verdicts: dict[Key, Verdict],
    changes: list[str],
) -> tuple[tuple[Workflow, ...], tuple[WorkflowVersion, ...]]:
    latest = {
        version.workflow_id: version
        for version in sorted(state.versions, key=lambda version: version.version)
    }
    plan = plan_workflows(world, state.workflows, latest)
    verdicts |= plan.verdicts
    rows = {row.id: row for row in state.workflows}
    versions = {(v.workflow_id, v.version): v for v in state.versions}
    for row in plan.remove:
        del rows[row.id]
        versions = {at: v for at, v in versions.items() if v.workflow_id != row.id}
        changes.append(f"remove workflow {row.managed_by}")
    for row in plan.retain:
        rows[row.id] = row
        changes.append(f"put workflow {row.managed_by}")
    for deployment in plan.deploy:
        if deployment.draft.bpmn == "bad":
            desired = world.desired[deployment.key]
            verdicts[deployment.key] = invalid(desired, "Element `x` is not supported.")
            continue
        row, version = _deployed(deployment)
        rows[row.id] = row
        if version is not None:
            versions[row.id, version.version] = version
        changes.append(f"deploy workflow {row.managed_by} version {row.version}")
    managed = {row.managed_by: row for row in rows.values()}
    for desired, _ in world.of(workflow.Workflow):
        current = managed.get(desired.manager)
        if current is not None:
            version = versions.get((current.id, current.version))
            told = told_of_workflow(desired, current, version, engine="test", served=served)
            before = verdicts[desired.key]
            verdicts[desired.key] = told if before.ready else replace(before, fields=told.fields)
    return tuple(rows.values()), tuple(versions.values())


def _deployed(deployment: Deployment) -> tuple[Workflow, WorkflowVersion | None]:
    row, bpmn = deployment.row, deployment.draft.bpmn
    if bpmn is None:
        return row, None
    row = replace(row, version=row.version + 1)
    version = WorkflowVersion(
        id=derived_id("version", row.id, row.version),
        workflow_id=row.id,
        version=row.version,
        definition_id=f"{row.key}:{row.version}",
        digest=hashlib.sha256(bpmn.encode()).hexdigest(),
        bpmn=bpmn,
        input_schema=row.input_schema,
        topics=("create-tasks", bpmn) if bpmn.startswith("topic-") else (),
        created_on=row.created_on,
    )
    return row, version
