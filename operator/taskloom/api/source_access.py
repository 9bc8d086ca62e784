"""Who may post to an http source: a ClientApp, whoever signs the body, or anybody."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from taskloom.api.door import idempotency_key
from taskloom.domain.body_signature import (
    Recent,
    Signed,
    check_github,
    check_hex,
    check_standard_webhooks,
    check_stripe,
    check_task_signature,
)
from taskloom.domain.json_text import read_json
from taskloom.domain.secret import Secret
from taskloom.domain.sources import EventSource, object_of
from taskloom.domain.webhooks import ClientApp
from taskloom.errors import Forbidden, Invalid, Unauthenticated
from taskloom.flow.services import Services
from taskloom.flow.subscribe import authenticate_client
from taskloom.resources.source_types import Hmac, HttpAuth, HttpSource

SCOPE = "events.trigger"

_DELIVERY_HEADERS = {
    "GitHub": "X-GitHub-Delivery",
    "StandardWebhooks": "webhook-id",
    "TaskSignature": "webhook-id",
}


async def calling_client(services: Services, headers: Mapping[str, str]) -> ClientApp:
    """Give the ClientApp whose credentials came; `Unauthenticated` without good ones."""
    key, secret = headers.get("x-api-key", ""), headers.get("x-api-secret", "")
    if not key or not secret:
        raise Unauthenticated("Send a ClientApp's credentials as x-api-key and x-api-secret.")
    if not services.webhooks:
        raise Unauthenticated("This installation has no ClientApps, which this source asks for.")
    return await authenticate_client(services, key, secret)


def check_client(source: EventSource, auth: HttpAuth, client: ClientApp) -> None:
    """Raise `Forbidden` unless a client may post to a source.

    Those that the source names may; where it names none, those of its namespace with the scope.
    """
    resolved = source.spec["resolved"]
    if auth.client_app_refs is not None:
        if str(client.id) not in resolved["clientIds"]:
            raise Forbidden("This client app is not one of those that may post to this source.")
        return
    home = object_of(client.managed_by)
    if home is None or home[0] != resolved["namespace"]:
        raise Forbidden("This client app is not of this source's namespace.")
    if SCOPE not in client.scopes:
        raise Forbidden(f"This client app may not send events: it lacks the scope {SCOPE}.")


def check_signature(form: Hmac, secrets: Sequence[Secret], signed: Signed, now: datetime) -> None:
    """Raise `Unauthenticated` unless a body is signed by a source's scheme with one of `secrets`.

    Where the scheme signs the time, that has to be near `now`.
    """
    recent = Recent(now=now, tolerance=timedelta(seconds=form.tolerance_seconds))
    match form.scheme:
        case "Hex":
            check_hex(signed, secrets, header=form.header, algorithm=form.algorithm)
        case "GitHub":
            check_github(signed, secrets)
        case "Stripe":
            check_stripe(signed, secrets, recent)
        case "StandardWebhooks":
            check_standard_webhooks(signed, secrets, recent)
        case "TaskSignature":
            check_task_signature(signed, secrets, recent)


def delivery_key(form: Hmac, signed: Signed) -> str | None:
    """Give what a scheme's senders name an event by when they send it again; None if nothing.

    `Invalid` if it is too long or odd for an idempotency key.
    """
    name = _DELIVERY_HEADERS.get(form.scheme)
    if name is not None:
        return idempotency_key(signed.headers.get(name.lower()), name)
    return _stripe_id(signed.body) if form.scheme == "Stripe" else None


def challenge(http: HttpSource) -> tuple[str, str]:
    """Give the header that says how to prove who one is."""
    by_signature = http.auth is not None and http.auth.hmac is not None
    return ("www-authenticate", f'{"Signature" if by_signature else "ApiKey"} realm="taskloom"')


def _stripe_id(body: bytes) -> str | None:
    """Give a Stripe event's own id, which stands in its body."""
    try:
        value = read_json(body)
    except Invalid:
        return None  # what it is instead is for the format to say
    named = value.get("id") if isinstance(value, dict) else None
    return idempotency_key(named, "id") if isinstance(named, str) else None
