"""Sources whose senders sign: each scheme as its vendors send it, and what is sent again."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import standardwebhooks

from taskloom.delivery.request import Scheme, Signing, build_request
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.events import TellableEvent
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target
from tests.integration.api.declared import Declared, document, reason, source

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"id": "evt_1", "key": "paid", "payload": {"n": 1}}).encode()
Sign = Callable[[str, bytes, datetime], dict[str, str]]


def _hex(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def by_github(secret: str, body: bytes, _now: datetime) -> dict[str, str]:
    """Sign as GitHub does."""
    return {"x-hub-signature-256": f"sha256={_hex(secret, body)}", "x-github-delivery": "d-1"}


def by_stripe(secret: str, body: bytes, now: datetime) -> dict[str, str]:
    """Sign as Stripe does."""
    seconds = str(int(now.timestamp()))
    return {"stripe-signature": f"t={seconds},v1={_hex(secret, seconds.encode() + b'.' + body)}"}


def by_standard(secret: str, body: bytes, now: datetime) -> dict[str, str]:
    """Sign by the library of Standard Webhooks."""
    signature = standardwebhooks.Webhook(secret).sign("msg_1", now, body.decode())
    seconds = str(int(now.timestamp()))
    return {"webhook-id": "msg_1", "webhook-timestamp": seconds, "webhook-signature": signature}


SCHEMES: dict[str, tuple[Sign, str]] = {
    "GitHub": (by_github, "d-1"),
    "Stripe": (by_stripe, "evt_1"),
    "StandardWebhooks": (by_standard, "msg_1"),
}


def signed_source(scheme: str, **more: Any) -> list[dict[str, Any]]:
    """Declare a source whose senders sign by a scheme, and the secret."""
    form = {"scheme": scheme, "secretKeyRef": {"name": "hook", "key": "hmac"}}
    form |= more.pop("hmac", {})
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hook"},
            "stringData": {"hmac": WHSEC},
        },
        source("/in", {"hmac": form}, **more),
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_is_sent_again_is_one_event(declared: Declared, scheme: str) -> None:
    """Senders name what they send, so an attempt that is repeated makes no second event.

    A header of the call's own does not make it another one.
    """
    sign, expected = SCHEMES[scheme]
    await declared.apply(*signed_source(scheme))
    now = datetime.now(UTC)

    answers = [
        await declared.post("/sources/in", BODY, by=sign(WHSEC, BODY, now)),
        await declared.post("/sources/in", BODY, by=sign(WHSEC, BODY, now - timedelta(seconds=60))),
        await declared.post(
            "/sources/in", BODY, by=sign(WHSEC, BODY, now) | {"idempotency-key": "x"}
        ),
    ]

    assert [204] * 3 == [answer.status_code for answer in answers]
    assert 1 == len({answer.headers["taskloom-event-id"] for answer in answers})
    assert [expected] == [event.idempotency_key for event in await declared.events()]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_false_signature_is_401(declared: Declared, scheme: str) -> None:
    """It names the header, and shows neither the secret nor the right signature."""
    sign, _ = SCHEMES[scheme]
    await declared.apply(*signed_source(scheme))
    headers = sign(WHSEC, BODY, datetime.now(UTC))

    answers = [
        await declared.post("/sources/in", BODY.replace(b"1", b"2"), by=headers),
        await declared.post("/sources/in", BODY),
        await declared.post("/sources/in", b"{", by=headers),
    ]

    for answer in answers:
        assert (401, 'Signature realm="taskloom"') == (
            answer.status_code,
            answer.headers["www-authenticate"],
        )
        reason(answer)
        assert not any(value in answer.text for value in (WHSEC, _hex(WHSEC, BODY)))
    assert [] == await declared.events()


@pytest.mark.parametrize("scheme", ["Stripe", "StandardWebhooks"])
async def test_an_old_signature_is_told_so(declared: Declared, scheme: str) -> None:
    """401 that says how far the clocks are apart; the tolerance is the source's."""
    sign, _ = SCHEMES[scheme]
    await declared.apply(*signed_source(scheme, hmac={"toleranceSeconds": 10}))

    answer = await declared.post(
        "/sources/in", BODY, by=sign(WHSEC, BODY, datetime.now(UTC) - timedelta(seconds=100))
    )

    assert 401 == answer.status_code
    assert "seconds before now, and this source takes 10" in reason(answer)
    assert "clocks" in reason(answer)


async def test_a_format_names_events_before_the_scheme(declared: Declared) -> None:
    """And a name that no key can be is refused only where it is asked for."""
    odd = {"x-hub-signature-256": f"sha256={_hex(WHSEC, BODY)}", "x-github-delivery": "d" * 256}
    await declared.apply(*signed_source("GitHub"))

    refused = await declared.post("/sources/in", BODY, by=odd)
    await declared.apply(*signed_source("GitHub", format={"idempotencyKey": "message.body.key"}))
    taken = await declared.post("/sources/in", BODY, by=odd)

    assert [400, 204] == [refused.status_code, taken.status_code]
    assert "X-GitHub-Delivery" in reason(refused)
    assert ["paid"] == [event.idempotency_key for event in await declared.events()]


@pytest.mark.parametrize("named", [b"7", b'["a"]', b"null"])
async def test_a_stripe_event_without_an_id_is_taken(declared: Declared, named: bytes) -> None:
    """It has no name then."""
    await declared.apply(*signed_source("Stripe"))
    body = b'{"key": "paid", "id": ' + named + b"}"

    answer = await declared.post("/sources/in", body, by=by_stripe(WHSEC, body, datetime.now(UTC)))

    assert 204 == answer.status_code
    assert [None] == [event.idempotency_key for event in await declared.events()]


@pytest.mark.parametrize("scheme", ["TaskSignature", "StandardWebhooks"])
async def test_a_webhook_of_ours_is_an_event_of_another(declared: Declared, scheme: str) -> None:
    """However often it is tried, it is taken once, while the first one's secret is rotated, too."""
    event = TellableEvent(
        id=UUID(int=7),
        key="task-created",
        payload='{"n": 1.0, "big": 12345678901234567890}',
        source="workflow",
        created_on=datetime.now(UTC),
    )
    old = "whsec_" + "b2xk" * 8
    await declared.apply(*signed_source(scheme))

    answers = []
    for attempt in (1, 2):
        request = build_request(
            event,
            Target(url=Secret("http://127.0.0.1/")),
            Signing(
                scheme=Scheme.BOTH,
                api_secrets=(Secret(old), Secret(WHSEC)),
                signing_secrets=(Secret(old), Secret(WHSEC)),
            ),
            attempt=attempt,
            now=datetime.now(UTC),
            version="1",
            policy=EgressPolicy(),
        )
        answers.append(await declared.post("/sources/in", request.body, by=request.headers))

    assert [204, 204] == [answer.status_code for answer in answers], answers[0].text
    [stored] = await declared.events()
    assert ("task-created", '{"n":1,"big":12345678901234567890}', str(event.id)) == (
        stored.key,
        stored.payload,
        stored.idempotency_key,
    )


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_two_secrets_are_good_while_they_are_rotated(declared: Declared, scheme: str) -> None:
    """A sender that signs with a client's secret may change to the new one within the overlap."""
    form = {"scheme": scheme, "secretKeyRef": {"name": "till-credentials", "key": "signingSecret"}}
    path = source("/in", {"hmac": form})
    await declared.apply(document("ClientApp", "till", {}), path)
    old = declared.credential("till", "signingSecret")
    rotation = {"generated": {"rotation": {"revision": 1}}}
    await declared.apply(document("ClientApp", "till", {"credentials": rotation}), path)
    new = declared.credential("till", "signingSecret")
    sign = SCHEMES[scheme][0]

    statuses = []
    for secret in (new, old, WHSEC):
        headers = sign(secret, BODY, datetime.now(UTC))
        statuses.append((await declared.post("/sources/in", BODY, by=headers)).status_code)

    assert old != new
    assert [204, 204, 401] == statuses
