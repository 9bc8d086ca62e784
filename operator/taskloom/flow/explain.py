"""What an event would do, found out without doing it."""

import json
from collections.abc import Mapping
from typing import Any

from taskloom.domain.events import NewEvent, Route
from taskloom.domain.workflows import EventMapping, Workflow
from taskloom.errors import Invalid
from taskloom.flow.check_input import check_input
from taskloom.flow.filters import evaluate, evaluate_variables
from taskloom.flow.ingest import route
from taskloom.flow.services import Services


async def explain_event(services: Services, event: NewEvent) -> dict[str, Any]:
    """Give, for each mapping of the event's key, what it would start and with what, or why not."""
    async with services.tasks.begin() as tx:
        mappings = await tx.mappings.event_mappings_for({event.key})
    async with services.workflows.begin() as tx:
        keys = {mapping.workflow_key for mapping in mappings}
        workflows = {key: await tx.workflows.by_key(key) for key in sorted(keys)}
    by_id = {mapping.id: mapping for mapping in mappings}
    return {
        "key": event.key,
        "routes": [
            _explain(event, found, by_id[found.mapping_id], workflows[found.workflow_key])
            for found in route(event, mappings)
        ],
    }


def _explain(
    event: NewEvent, found: Route, mapping: EventMapping, workflow: Workflow | None
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "mappingId": str(mapping.id),
        "managedBy": mapping.managed_by,
        "workflowKey": mapping.workflow_key,
        "filter": mapping.filter,
        "starts": found.started,
        "reason": found.reason,
    }
    if not found.started:
        return told
    reason = _reason_against(workflow)
    if reason is None:
        try:
            told.update(_start(event, mapping, workflow))
        except Invalid as exc:
            reason = exc.message
    return {**told, "starts": reason is None, "reason": reason}


def _reason_against(workflow: Workflow | None) -> str | None:
    if workflow is None:
        return "there is no such workflow yet: the event would wait for it"
    return "the workflow is suspended" if workflow.suspended else None


def _start(event: NewEvent, mapping: EventMapping, workflow: Workflow | None) -> Mapping[str, Any]:
    payload = json.loads(event.payload)
    variables = evaluate_variables(mapping.variables, event.key, payload, event.source)
    if workflow is not None and workflow.input_schema is not None:
        check_input(json.loads(workflow.input_schema), variables)
    business_key = (
        None
        if mapping.business_key is None
        else str(evaluate(mapping.business_key, event.key, payload, event.source))
    )
    return {
        "version": None if workflow is None else workflow.version,
        "variables": variables,
        "businessKey": business_key,
    }
