"""What a folder's resources would come to, found out without a database.

The reconcilers' own plans are made, against rows that are not there yet.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from taskloom.commands.create_tasks import CreateTasks
from taskloom.commands.end_task import EndTask
from taskloom.connectors.registry import Connectors
from taskloom.domain.conditions import ConditionStatus, ConditionType
from taskloom.domain.secret import Secret
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.errors import Invalid
from taskloom.flow.adapt import installed_adapters
from taskloom.flow.check_input import check_schema
from taskloom.reconcilers.client_apps import Credentials, choose_credentials, plan_client_apps
from taskloom.reconcilers.commands import plan_commands
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.event_mappings import plan_event_mappings
from taskloom.reconcilers.event_sinks import plan_event_sinks
from taskloom.reconcilers.event_sources import plan_event_sources
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.task_mappings import plan_task_mappings
from taskloom.reconcilers.verdict import Verdict, invalid
from taskloom.reconcilers.webhook_subscriptions import plan_subscriptions
from taskloom.reconcilers.workflows import Deployment, plan_workflows
from taskloom.resources.client_app import ClientApp

_BUILT_IN = frozenset({CreateTasks.topic, EndTask.topic})
_RUNNERS = Runners(
    kinds=Runners().kinds | Connectors().kinds, adapters=frozenset(installed_adapters())
)
# never shown or kept: it stands for the credentials that would be made
_STAND_IN = Credentials(
    api_key="stand-in",
    api_secret=Secret("stand-in"),
    signing_secret=Secret("whsec_" + base64.b64encode(bytes(32)).decode()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Why objects would not be in force, and the models that workflows would run, by object."""

    problems: Mapping[Key, str] = field(default_factory=dict)
    models: Mapping[Key, str] = field(default_factory=dict)


def rehearse(world: World, *, known: Iterable[WorkflowRow] = ()) -> Rehearsal:
    """Plan everything; `known` are workflows that are deployed already, by whomever."""
    generated = {
        desired.key: choose_credentials(app, {}, None, _STAND_IN)
        | {app.spec.keys().api_key: Secret(f"stand-in-{desired.namespace}-{desired.name}")}
        for desired, app in world.of(ClientApp)
    }
    clients = plan_client_apps(world, [], generated, datetime.now(UTC))
    client_ids: frozenset[UUID] = frozenset(client.id for client in clients.put)
    workflows = plan_workflows(world, [], {})
    verdicts = {
        **clients.verdicts,
        **plan_commands(world, [], _BUILT_IN).verdicts,
        **workflows.verdicts,
    }
    deployed = {row.key: row for row in known}
    for deployment in workflows.deploy:
        reason = _reason_against(deployment)
        if reason is None:
            deployed[deployment.row.key] = deployment.row
        else:
            verdicts[deployment.key] = invalid(world.desired[deployment.key], reason)
    verdicts |= plan_event_mappings(world, [], deployed).verdicts
    verdicts |= plan_task_mappings(world, [], deployed).verdicts
    verdicts |= plan_subscriptions(world, [], client_ids).verdicts
    verdicts |= plan_event_sources(world, [], client_ids, _RUNNERS).verdicts
    verdicts |= plan_event_sinks(world, []).verdicts
    return Rehearsal(
        problems={key: _message(verdict) for key, verdict in verdicts.items() if not verdict.ready},
        models={each.key: each.draft.bpmn for each in workflows.deploy if each.draft.bpmn},
    )


def _reason_against(deployment: Deployment) -> str | None:
    try:
        if deployment.draft.input_schema is not None:
            check_schema(deployment.draft.input_schema)
        parse_bpmn((deployment.draft.bpmn or "").encode())
    except Invalid as exc:
        return exc.message
    return None


def _message(verdict: Verdict) -> str:
    for condition in verdict.conditions:
        if condition.type is ConditionType.READY and condition.status is ConditionStatus.FALSE:
            return f"{condition.reason}: {condition.message}"
    return "it would not be ready"
