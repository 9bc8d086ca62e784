"""EventSource objects into event_sources rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import PREFIX
from taskloom.domain.sources import EventSource as Row
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression, referenced_secret
from taskloom.reconcilers.settle import Plan, Unresolved, Want, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed, unsupported
from taskloom.resources.client_app import ClientApp
from taskloom.resources.event_source import EventSource, EventSourceSpec, Placement

RESOLVED = "resolved"
"""Field of a row's spec that holds what its references stood for: ``clientIds``."""


def plan_event_sources(
    world: World,
    rows: Sequence[Row],
    client_ids: frozenset[UUID],
    connectors: frozenset[str],
) -> Plan[Row]:
    """Decide; `connectors` are the kinds of source that this installation can run."""

    def make(desired: Desired, source: EventSource) -> tuple[Row, Verdict]:
        spec = source.spec
        check_expression(spec.filter, "spec.filter")
        check_expression(spec.format.idempotency_key, "spec.format.idempotencyKey", "message")
        if spec.format.key is not None:
            check_expression(spec.format.key.expression, "spec.format.key.expression", "message")
        resolved, secrets = _resolve(world, desired, source, client_ids)
        body = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        path = None if spec.http is None else spec.http.path
        row = Row(
            id=desired.id,
            kind=spec.type,
            path=path,
            spec=body | {RESOLVED: resolved},
            secrets=secrets,
            suspended=spec.suspend,
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        fields = {"sourceId": str(row.id), "type": spec.type}
        if path is not None:
            fields["endpoint"] = PREFIX + path
        return row, programmed(desired, fields, suspended=spec.suspend, missing=_not_done(spec))

    present = frozenset(row.id for row in rows)
    wants: list[Want[Row]] = []
    for desired, source in world.of(EventSource):
        kind = source.spec.type
        if kind not in connectors:
            message = f"this installation has no connector for {kind}"
        elif source.spec.format.type == "CloudEvents":
            message = "this version does not read CloudEvents yet"
            if desired.id in present:
                message += "; the last valid form stays in force"
        else:
            wants.append(want(desired, partial(make, desired, source)))
            continue
        verdict = unsupported(desired, message, {"type": kind})
        wants.append(Want(desired=desired, row=None, verdict=verdict, row_id=desired.id))
    return settle(world, wants, rows, claim_of=lambda row: row.path)


def _not_done(spec: EventSourceSpec) -> list[str]:
    """List what is asked for and not done: http sources run wherever the HTTP door does."""
    missing = []
    if spec.max_in_flight != EventSourceSpec.model_fields["max_in_flight"].default:
        missing.append("maxInFlight")
    if spec.placement != Placement():
        missing.append("placement")
    return missing


def _resolve(
    world: World, desired: Desired, source: EventSource, client_ids: frozenset[UUID]
) -> tuple[dict[str, Any], dict[str, Secret]]:
    http = source.spec.http
    if http is None or http.auth is None:
        return {"namespace": desired.namespace}, {}
    secrets: dict[str, Secret] = {}
    resolved: dict[str, Any] = {"namespace": desired.namespace}
    if http.auth.hmac is not None:
        secrets["hmac"] = referenced_secret(world, desired.namespace, http.auth.hmac.secret_key_ref)
    if http.auth.client_app_refs is not None:
        found = []
        for ref in http.auth.client_app_refs:
            client = world.find(ClientApp, desired.namespace, ref.name)
            if client is None or client[0].id not in client_ids:
                message = f"there is no ClientApp {desired.namespace}/{ref.name} in force"
                raise Unresolved(Reason.CLIENT_APP_NOT_FOUND, message)
            found.append(str(client[0].id))
        resolved["clientIds"] = found
    return resolved, secrets
