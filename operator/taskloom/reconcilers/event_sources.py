"""EventSource objects into event_sources rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from taskloom.domain.body_signature import standard_key
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import FORMER_HMAC, FORMER_UNTIL, PREFIX, SourceState
from taskloom.domain.sources import EventSource as Row
from taskloom.errors import Invalid
from taskloom.reconcilers.broker_secrets import broker_secrets
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import check_expression, referenced_secret
from taskloom.reconcilers.runners import HTTP_ONLY, Runners, pool_of
from taskloom.reconcilers.settle import Plan, Unresolved, Want, settle, want
from taskloom.reconcilers.source_verdicts import told_of_source
from taskloom.reconcilers.verdict import Verdict, programmed, unsupported
from taskloom.resources.client_app import ClientApp
from taskloom.resources.cron import read_schedule
from taskloom.resources.event_source import EventSource, EventSourceSpec, Placement
from taskloom.resources.source_types import Hmac, HttpSource

RESOLVED = "resolved"
"""Field of a row's spec that holds what its references stood for: ``clientIds``."""
FormerValues = Mapping[tuple[str, str, str], tuple[Secret, datetime]]
"""Values that are good still beside those that have taken their place, and until when.

By namespace, Secret and key.
"""


def plan_event_sources(
    world: World,
    rows: Sequence[Row],
    client_ids: frozenset[UUID],
    runners: Runners = HTTP_ONLY,
    states: Mapping[UUID, Sequence[SourceState]] | None = None,
    *,
    former: FormerValues = MappingProxyType({}),
) -> Plan[Row]:
    """Decide; `runners` is what this installation runs sources with, `states` what those tell.

    Without states each is told to be as it will be once it is run.
    """

    def make(desired: Desired, source: EventSource) -> tuple[Row, Verdict]:
        spec = source.spec
        check_expression(spec.filter, "spec.filter")
        check_expression(spec.format.idempotency_key, "spec.format.idempotencyKey", "message")
        if spec.format.key is not None:
            check_expression(spec.format.key.expression, "spec.format.key.expression", "message")
        _check_cron(spec)
        resolved, secrets = _resolve(world, desired, source, client_ids)
        _add_former(resolved, secrets, desired, source, former)
        body = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        row = Row(
            id=desired.id,
            kind=spec.type,
            path=None if spec.http is None else spec.http.path,
            spec=body | {RESOLVED: resolved},
            secrets=secrets,
            suspended=spec.suspend,
            pool=pool_of(spec, runners),
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        if spec.http is not None:
            return row, _told_of_path(desired, spec, spec.http)
        told = None if states is None else states.get(row.id, ())
        return row, told_of_source(desired, spec, row, told, runners)

    present = frozenset(row.id for row in rows)
    wants: list[Want[Row]] = []
    for desired, source in world.of(EventSource):
        message = _not_run(source.spec, runners)
        if message is None:
            wants.append(want(desired, partial(make, desired, source)))
            continue
        if desired.id in present:
            message += "; the last valid form stays in force"
        verdict = unsupported(desired, message, {"type": source.spec.type})
        wants.append(Want(desired=desired, row=None, verdict=verdict, row_id=desired.id))
    return settle(world, wants, rows, claim_of=lambda row: row.path)


def _not_run(spec: EventSourceSpec, runners: Runners) -> str | None:
    """Say what this installation lacks to run a source; None if it can."""
    adapter = spec.format.adapter
    if spec.suspend:
        return None  # what is not run need not be known how to run
    if spec.type not in runners.kinds:
        return f"this installation has no connector for {spec.type}"
    if adapter is not None and adapter not in runners.adapters:
        return f"no package that is installed here offers the format adapter `{adapter}`"
    return None


def _told_of_path(desired: Desired, spec: EventSourceSpec, http: HttpSource) -> Verdict:
    fields = {"sourceId": str(desired.id), "type": spec.type, "endpoint": PREFIX + http.path}
    return programmed(desired, fields, suspended=spec.suspend, missing=_not_done(spec))


def _check_cron(spec: EventSourceSpec) -> None:
    if spec.cron is None:
        return
    if spec.format.type == "CloudEvents":
        raise Invalid("a clock gives no CloudEvents", field="spec.format.type")
    try:
        read_schedule(spec.cron.schedule, spec.cron.time_zone)
    except Invalid as error:
        raise Invalid(error.message, field=f"spec.cron.{error.field}") from error


def _not_done(spec: EventSourceSpec) -> list[str]:
    """List what is asked for and not done: http sources run wherever the HTTP door does."""
    missing = []
    if spec.max_in_flight != EventSourceSpec.model_fields["max_in_flight"].default:
        missing.append("maxInFlight")
    if spec.placement != Placement():
        missing.append("placement")
    return missing


def _add_former(
    resolved: dict[str, Any],
    secrets: dict[str, Secret],
    desired: Desired,
    source: EventSource,
    former: FormerValues,
) -> None:
    """Add what a client signs with that has not changed to its new secret yet."""
    http = source.spec.http
    form = None if http is None or http.auth is None else http.auth.hmac
    if form is None:
        return
    ref = form.secret_key_ref
    found = former.get((desired.namespace, ref.name, ref.key))
    if found is not None:
        secrets[FORMER_HMAC], until = found
        resolved[FORMER_UNTIL] = until.isoformat()


def _resolve(
    world: World, desired: Desired, source: EventSource, client_ids: frozenset[UUID]
) -> tuple[dict[str, Any], dict[str, Secret]]:
    resolved: dict[str, Any] = {"namespace": desired.namespace}
    http = source.spec.http
    secrets = broker_secrets(world, desired.namespace, source.spec)
    if http is None or http.auth is None:
        return resolved, secrets
    if http.auth.hmac is not None:
        secrets["hmac"] = _signing_secret(world, desired.namespace, http.auth.hmac)
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


def _signing_secret(world: World, namespace: str, form: Hmac) -> Secret:
    """Read the secret of a source's senders, of the form that their scheme asks for."""
    ref = form.secret_key_ref
    secret = referenced_secret(world, namespace, ref)
    if form.scheme == "StandardWebhooks" and standard_key(secret) is None:
        message = (
            f"`{ref.key}` of the Secret {namespace}/{ref.name} is no secret of Standard Webhooks: "
            "base64, with or without whsec_ before it"
        )
        raise Unresolved(Reason.SECRET_NOT_FOUND, message)
    return secret
