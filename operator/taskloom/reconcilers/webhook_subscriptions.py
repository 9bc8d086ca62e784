"""WebhookSubscription objects into webhook_subscriptions rows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.domain.retry import (
    Schedule,
    backoff_schedule,
    custom_schedule,
    default_schedule_for,
    limit_schedule,
)
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import DeliveryOptions, Subscription, Target
from taskloom.flow.subscribe import host_of
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import (
    ca_bundle,
    check_expression,
    referenced_secret,
    resolved_headers,
    secret_text,
)
from taskloom.reconcilers.settle import Plan, Unresolved, settle, want
from taskloom.reconcilers.verdict import Verdict, disabled, programmed
from taskloom.resources.client_app import ClientApp
from taskloom.resources.fields import parse_duration
from taskloom.resources.webhook_subscription import Delivery, DisableAfter, WebhookSubscription


def plan_subscriptions(
    world: World, rows: Sequence[Subscription], client_ids: frozenset[UUID]
) -> Plan[Subscription]:
    """Decide; `client_ids` are those of the clients that the database has."""
    present = {row.id: row for row in rows}

    def make(desired: Desired, wanted: WebhookSubscription) -> tuple[Subscription, Verdict]:
        row = _row(world, desired, wanted, client_ids)
        before = present.get(desired.id)
        if before is not None and before.disabled_at is not None and before.target == row.target:
            # A receiver that was given up stays so until it is told where else to send.
            row = replace(
                row, disabled_at=before.disabled_at, disabled_reason=before.disabled_reason
            )
        return row, _verdict(desired, wanted, row)

    return settle(
        world,
        [want(d, partial(make, d, s)) for d, s in world.of(WebhookSubscription)],
        rows,
        claim_of=lambda _row: None,
    )


def _row(
    world: World, desired: Desired, wanted: WebhookSubscription, client_ids: frozenset[UUID]
) -> Subscription:
    spec = wanted.spec
    check_expression(spec.filter, "spec.filter")
    client = world.find(ClientApp, desired.namespace, spec.client_app_ref.name)
    if client is None or client[0].id not in client_ids:
        named = f"ClientApp {desired.namespace}/{spec.client_app_ref.name}"
        message = f"there is no {named}" if client is None else f"the {named} is not ready"
        raise Unresolved(Reason.CLIENT_APP_NOT_FOUND, message)
    if spec.url_from is not None:
        url = referenced_secret(world, desired.namespace, spec.url_from.secret_key_ref)
    else:
        url = Secret(spec.url or "")
    host = host_of(url.reveal())
    target = Target(
        url=url,
        headers=resolved_headers(world, desired.namespace, spec.headers),
        ca_bundle=_bundle(world, desired, wanted),
        client_certificate=_certificate(world, desired, wanted),
    )
    return Subscription(
        id=desired.id,
        client_id=client[0].id,
        event_keys=spec.event_keys,
        filter=spec.filter,
        target=target,
        host=host,
        scheme=spec.signature.scheme,
        delivery=_options(spec.delivery, host),
        suspended=spec.suspend,
        disabled_at=None,
        disabled_reason=None,
        managed_by=desired.manager,
        created_on=desired.created_on,
    )


def _options(delivery: Delivery, host: str) -> DeliveryOptions:
    schedule: Schedule | None = None
    max_age = None if delivery.max_age is None else parse_duration(delivery.max_age)
    if delivery.schedule is not None:
        schedule = custom_schedule([parse_duration(delay) for delay in delivery.schedule])
        schedule = limit_schedule(schedule, max_age=max_age)
    elif delivery.backoff is not None:
        schedule = backoff_schedule(
            initial=parse_duration(delivery.backoff.initial),
            longest=parse_duration(delivery.backoff.max),
            max_attempts=delivery.max_attempts,
            max_age=max_age,
        )
    elif delivery.max_attempts is not None or max_age is not None:
        schedule = limit_schedule(
            default_schedule_for(host), max_attempts=delivery.max_attempts, max_age=max_age
        )
    return DeliveryOptions(
        timeout_seconds=parse_duration(delivery.timeout).total_seconds(),
        schedule=(
            None if schedule is None else tuple(delay.total_seconds() for delay in schedule.delays)
        ),
        max_in_flight=delivery.max_in_flight,
    )


def _bundle(world: World, desired: Desired, wanted: WebhookSubscription) -> str | None:
    tls = wanted.spec.tls
    if tls is None or tls.ca_bundle_ref is None:
        return None
    return ca_bundle(world, desired.namespace, tls.ca_bundle_ref)


def _certificate(world: World, desired: Desired, wanted: WebhookSubscription) -> Secret | None:
    tls = wanted.spec.tls
    if tls is None or tls.client_certificate_ref is None:
        return None
    name = tls.client_certificate_ref.name
    parts = [secret_text(world, desired.namespace, name, key) for key in ("tls.crt", "tls.key")]
    return Secret("\n".join(part.reveal() for part in parts) + "\n")


def _verdict(desired: Desired, wanted: WebhookSubscription, row: Subscription) -> Verdict:
    fields = {"subscriptionId": str(row.id), "host": row.host}
    if row.disabled_at is not None:
        return disabled(desired, row.disabled_reason or "the receiver was given up", fields)
    missing = []
    if wanted.spec.delivery.ordering != "None":
        missing.append("delivery.ordering")
    if wanted.spec.delivery.rate_per_second is not None:
        missing.append("delivery.ratePerSecond")
    if _patience(wanted.spec.disable_after) != _USUAL_PATIENCE:
        missing.append("disableAfter")
    return programmed(desired, fields, suspended=wanted.spec.suspend, missing=missing)


def _patience(disable_after: DisableAfter) -> timedelta:
    return parse_duration(disable_after.failing_for)


_USUAL_PATIENCE = _patience(DisableAfter())
