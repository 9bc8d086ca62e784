"""/deployment, written: models become versions of Workflows, as by POST and PATCH /workflows."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer, done
from taskloom.api.engine_rest.entry import enter
from taskloom.api.engine_rest.faults import Fault, not_offered
from taskloom.api.engine_rest.multipart import Part, read_form
from taskloom.api.engine_rest.parameters import as_flag
from taskloom.domain.permissions import Permission
from taskloom.domain.workflows import Workflow
from taskloom.errors import Unprocessable
from taskloom.flow.workflows import (
    Draft,
    Termination,
    create_workflow,
    delete_version,
    delete_workflow,
    update_workflow,
)
from taskloom.ports.engine import InstanceState, ModelSummary
from taskloom.ports.hosted_engine import DefinitionRow, Query

_MODELS = (".bpmn", ".bpmn20.xml")
_FIELDS = frozenset(
    {
        "deployment-name",
        "deployment-source",
        "deployment-activation-time",
        "deploy-changed-only",
        "enable-duplicate-filtering",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model that was sent, and what it says of itself."""

    text: str
    summary: ModelSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deployed:
    """What a model has become; `fresh` if it is another version than before."""

    row: DefinitionRow
    workflow: Workflow
    fresh: bool


async def create(call: Call) -> Response:
    """Deploy each model of a form; all are checked before the first is deployed.

    A model whose bytes are the newest version's makes no other one.
    """
    parts = read_form(call.headers.get("content-type", ""), call.content)
    fields = {part.name: part.text for part in parts if part.filename is None}
    files = [part for part in parts if part.filename is not None]
    _check(fields, files)
    models = [await _inspect(call, part) for part in files]
    deployed = [await _deploy(call, model) for model in models]
    return answer(_shape(call, fields.get("deployment-name"), deployed))


async def delete(call: Call) -> Response:
    """Remove a deployment: its version of a workflow, or the workflow whose only one it is.

    With ``cascade`` its running instances are terminated with it; what has ended stays history.
    """
    row = await _find(call)
    active = Query(where={"definition_id": [row.id], "state": [InstanceState.ACTIVE]})
    running = await call.host.instance_rows(active)
    ending = Termination()
    if as_flag("cascade", call.query.get("cascade")):
        await enter(call.services, call.headers, Permission.CONTROL_INSTANCES)
        ending = Termination(
            instance_ids=[each.place.instance_id for each in running],
            reason=f"Its deployment was deleted by {call.principal.subject} over /engine-rest.",
        )
    elif running:
        raise _in_use(row, len(running))
    await _remove(call, row, ending)
    return done()


async def _remove(call: Call, row: DefinitionRow, ending: Termination) -> None:
    async with call.flow.workflows.begin() as tx:
        workflow = await tx.workflows.by_key(row.workflow_key)
        versions = [] if workflow is None else await tx.workflows.versions([workflow.id])
    if workflow is None:  # it was left behind by one that was removed
        await call.flow.engine.delete_instances(ending.instance_ids, ending.reason)
        await call.flow.engine.undeploy([row.id])
    elif [version.definition_id for version in versions] == [row.id]:
        await delete_workflow(call.flow, workflow.id, ending=ending)
    else:
        await delete_version(call.flow, workflow.id, row.version, ending=ending)


async def _find(call: Call) -> DefinitionRow:
    found = await call.host.definitions(Query(where={"id": [call.id]}))
    if not found:
        message = f"Deployment with id '{call.id}' do not exist"
        raise Fault(404, "InvalidRequestException", message)
    return found[0]


def _check(fields: dict[str, str], files: Sequence[Part]) -> None:
    for name in fields:
        if name not in _FIELDS:
            raise not_offered(f"the field {name} of a deployment.")
    if fields.get("deployment-activation-time"):
        raise not_offered("the activation time of a deployment.")
    if not files:
        raise Fault(
            400,
            "InvalidRequestException",
            "No deployment resources contained in the form upload.",
        )
    for part in files:
        if not (part.filename or "").endswith(_MODELS):
            raise not_offered(f"the resource {part.filename}: BPMN files end with .bpmn.")


async def _inspect(call: Call, part: Part) -> _Model:
    try:
        text = part.content.decode()
        summary = await call.flow.engine.inspect(part.content)
    except UnicodeDecodeError as exc:
        raise _unreadable(f"{part.filename} is not UTF-8 at byte {exc.start}") from exc
    except Unprocessable as exc:
        raise _unreadable(f"{exc.message} | resource {part.filename}") from exc
    return _Model(text=text, summary=summary)


async def _deploy(call: Call, model: _Model) -> _Deployed:
    """Make a workflow, or a version of the one there is (which needs the right to change it)."""
    key, by = model.summary.process_id, call.principal.subject
    async with call.flow.workflows.begin() as tx:
        before = await tx.workflows.by_key(key)
    if before is None:
        draft = Draft(name=model.summary.name or key, bpmn=model.text)
        workflow = await create_workflow(call.flow, draft, by=by)
    else:
        await enter(call.services, call.headers, Permission.UPDATE_WORKFLOWS)
        workflow = await update_workflow(call.flow, before.id, Draft(bpmn=model.text), by=by)
    row = (await call.host.definitions(Query(where={"workflow_key": [key], "latest": [True]})))[0]
    fresh = before is None or before.version != workflow.version
    return _Deployed(row=row, workflow=workflow, fresh=fresh)


def _shape(call: Call, name: str | None, deployed: Sequence[_Deployed]) -> shapes.Json:
    first = deployed[0]
    fresh = [each for each in deployed if each.fresh]
    definitions = {each.row.id: shapes.definition(each.row, each.workflow) for each in fresh}
    return shapes.deployment(first.row, first.workflow) | {
        "links": [call.link("deployment", first.row.id)],
        "name": name or first.workflow.name,
        "deployedProcessDefinitions": definitions or None,
        "deployedCaseDefinitions": None,
        "deployedDecisionDefinitions": None,
        "deployedDecisionRequirementsDefinitions": None,
    }


def _in_use(row: DefinitionRow, running: int) -> Fault:
    message = (
        "ENGINE-03076 Deletion of process definition without cascading failed. "
        f"Process definition with id: {row.id} can't be deleted, "
        f"because there are {running} dependent process instances."
    )
    return Fault(500, "ProcessEngineException", message, 0)


def _unreadable(message: str) -> Fault:
    return Fault(400, "ParseException", f"ENGINE-09005 Could not parse BPMN process. {message}", 0)
