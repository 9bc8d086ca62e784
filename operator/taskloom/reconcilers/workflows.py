"""Workflow objects into deployed workflows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from taskloom.domain.workflows import Workflow as Row
from taskloom.domain.workflows import WorkflowVersion
from taskloom.flow.workflows import Draft
from taskloom.reconcilers.desired import API, Desired, World
from taskloom.reconcilers.references import config_map_text
from taskloom.reconcilers.settle import Plan, settle, want
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, programmed, topics_served
from taskloom.resources.workflow import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A row to be brought to what `draft` says."""

    key: Key
    row: Row
    draft: Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is declared of a workflow: its row's part, and whether the newest version has the model.

    `version` tells that the row names that version, `digest` that it is told of by its own.
    """

    key: str
    name: str
    description: str | None
    input_schema: str | None
    managed_by: str
    bpmn: str | None
    version: bool
    digest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPlan:
    """What is to be done, removals first, and what is told of each object if it goes well."""

    remove: tuple[Row, ...] = ()
    retain: tuple[Row, ...] = ()
    deploy: tuple[Deployment, ...] = ()
    verdicts: dict[Key, Verdict] = field(default_factory=dict)
    settled: dict[Key, tuple[Form | None, Form]] = field(default_factory=dict)


def plan_workflows(
    world: World,
    rows: Sequence[Row],
    latest: Mapping[UUID, WorkflowVersion],
    *,
    lost: frozenset[str] = frozenset(),
) -> WorkflowPlan:
    """Decide; `latest` holds the newest version of each workflow row.

    `lost` are the definitions among them that the engine does not have.
    """
    own = {
        desired.key: found
        for desired, workflow in world.of(Workflow)
        if (found := own_row(world, desired, key_in_use(desired, workflow), rows)) is not None
    }
    models: dict[Key, str] = {}

    def make(desired: Desired, workflow: Workflow) -> tuple[Row, Verdict]:
        spec = workflow.spec
        models[desired.key] = _model(world, desired, workflow)
        schema = None if spec.input_schema is None else json.dumps(spec.input_schema)
        row = replace(
            own.get(desired.key) or _blank(desired),
            key=key_in_use(desired, workflow),
            name=spec.name or desired.name,
            description=spec.description,
            input_schema=schema,
            suspended=False,
            managed_by=desired.manager,
        )
        return row, programmed(desired, {})

    plan: Plan[Row] = settle(
        world,
        [
            want(d, partial(make, d, w), row_id=own[d.key].id if d.key in own else None)
            for d, w in world.of(Workflow)
        ],
        rows,
        claim_of=lambda row: row.key,
        policy="Retain",
        cascades=True,
    )
    changed = {row.id: row for row in plan.put}
    deployments = []
    settled = {}
    for desired, workflow in world.of(Workflow):
        model = models.get(desired.key)
        if model is None or not plan.verdicts[desired.key].ready:
            continue
        present = own.get(desired.key)
        row_id = desired.id if present is None else present.id
        row = changed.pop(row_id, None) or present
        before = latest.get(row_id)
        behind = present is not None and before is not None and present.version != before.version
        stale = (
            before is None
            or before.bpmn != model
            or before.definition_id in lost
            or not _is_digested(before)
            or behind
        )
        if row is not None:
            former = None if present is None else _form(present, before)
            settled[desired.key] = (
                former,
                replace(_form(row, before), bpmn=model, version=True, digest=True),
            )
        if row is None or (row == present and not stale):
            continue
        deployments.append(
            Deployment(
                key=desired.key,
                row=row,
                draft=Draft(bpmn=model if stale else None, input_schema=workflow.spec.input_schema),
            )
        )
    return WorkflowPlan(
        remove=plan.remove,
        retain=tuple(changed.values()),
        deploy=tuple(deployments),
        verdicts=plan.verdicts,
        settled=settled,
    )


def _form(row: Row, newest: WorkflowVersion | None) -> Form:
    return Form(
        key=row.key,
        name=row.name,
        description=row.description,
        input_schema=row.input_schema,
        managed_by=row.managed_by,
        bpmn=None if newest is None else newest.bpmn,
        version=newest is None or newest.version == row.version,
        digest=newest is None or _is_digested(newest),
    )


def _is_digested(version: WorkflowVersion) -> bool:
    return version.digest == hashlib.sha256(version.bpmn.encode()).hexdigest()


def key_in_use(desired: Desired, workflow: Workflow) -> str:
    """Give the key that mappings and REST call a workflow by."""
    return workflow.spec.external_identifier or desired.name


def own_row(world: World, desired: Desired, key: str, rows: Sequence[Row]) -> Row | None:
    """Find an object's row: the one it manages, else one that a deleted object left with its key.

    So an object can be renamed, or deleted and made anew, without losing its workflow.
    """
    left = None
    for row in rows:
        if row.managed_by == desired.manager:
            return row
        if row.key == key and _was_declared(row) and _is_left(world, row):
            left = row
    return left


def told_of_workflow(
    desired: Desired,
    row: Row,
    version: WorkflowVersion | None,
    *,
    engine: str,
    served: frozenset[str],
) -> Verdict:
    """Tell how a deployed workflow stands."""
    topics = () if version is None else version.topics
    fields = {
        "workflowId": str(row.id),
        "externalIdentifier": row.key,
        "currentVersion": row.version,
        "engine": engine,
        "topics": list(topics),
    }
    if version is not None:
        fields["digest"] = version.digest
    unserved = [topic for topic in topics if topic not in served]
    return programmed(desired, fields, more=[topics_served(desired, unserved)])


def versions_to_prune(
    versions: Sequence[WorkflowVersion], current: int, limit: int
) -> list[WorkflowVersion]:
    """Choose the oldest versions beyond `limit`, never the current one."""
    ordered = sorted(versions, key=lambda version: version.version)
    surplus = ordered[: max(0, len(ordered) - limit)]
    return [version for version in surplus if version.version != current]


def _was_declared(row: Row) -> bool:
    return (row.created_by or "").startswith(("file:", "kubernetes:"))


def _is_left(world: World, row: Row) -> bool:
    return (
        row.managed_by == API or world.leaving(row.managed_by, "Retain", row.created_on) == "Retain"
    )


def _model(world: World, desired: Desired, workflow: Workflow) -> str:
    bpmn = workflow.spec.bpmn
    if bpmn.config_map_key_ref is not None:
        ref = bpmn.config_map_key_ref
        return config_map_text(world, desired.namespace, ref.name, ref.key)
    return bpmn.inline or ""


def _blank(desired: Desired) -> Row:
    return Row(
        id=desired.id,
        key=desired.name,
        name=desired.name,
        description=None,
        provider="bpmn",
        version=0,
        input_schema=None,
        suspended=False,
        managed_by=desired.manager,
        created_on=desired.created_on,
        modified_on=desired.created_on,
        created_by=desired.manager,
        modified_by=desired.manager,
        deleted=False,
        deleted_on=None,
        deleted_by=None,
    )
