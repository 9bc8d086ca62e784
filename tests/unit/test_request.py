"""From an outgoing event to the request that tells of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from taskloom.delivery.request import RESERVED_HEADERS, Scheme, Signing, build_request
from taskloom.domain.egress import STANDALONE
from taskloom.domain.events import OutgoingEvent
from taskloom.domain.secret import Secret
from taskloom.domain.signing import (
    make_signing_secret,
    verify_standard_webhooks_signature,
    verify_task_signature,
)
from taskloom.domain.webhooks import Target
from taskloom.errors import Invalid
from taskloom.ports.sender import OutgoingRequest, TlsOptions

EVENT_ID = UUID("0190b7c1-1111-7222-8333-444455556666")
CREATED = datetime(2026, 11, 24, 10, 0, 0, 123_999, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 10, 0, 7, 500_000, tzinfo=UTC)
NOW_MS = 1795514407500
OLD_SECRET = make_signing_secret(b"o" * 32)
NEW_SECRET = make_signing_secret(b"n" * 32)


def event(payload: str = '{"createdTasks":[]}', **changes: Any) -> OutgoingEvent:
    """Make a task-created event."""
    fields: dict[str, Any] = {
        "id": EVENT_ID,
        "key": "task-created",
        "payload": payload,
        "source": "task-service",
        "event_id": None,
        "task_id": None,
        "root_instance_id": None,
        "created_on": CREATED,
    }
    return OutgoingEvent(**{**fields, **changes})


def build(
    told: OutgoingEvent | None = None,
    *,
    url: str = "https://example.com/hook?token=t0ken",
    headers: Mapping[str, str] | None = None,
    scheme: Scheme = Scheme.BOTH,
    traceparent: str | None = None,
) -> OutgoingRequest:
    """Build a request of the third attempt."""
    return build_request(
        told or event(),
        Target(
            url=Secret(url),
            headers={name: Secret(value) for name, value in (headers or {}).items()},
            ca_bundle="CA",
            client_certificate=Secret("CERT"),
        ),
        Signing(
            scheme=scheme, api_secrets=[Secret("api")], signing_secrets=[NEW_SECRET, OLD_SECRET]
        ),
        attempt=3,
        now=NOW,
        version="1.2.3",
        policy=STANDALONE,
        timeout_seconds=3.0,
        traceparent=traceparent,
    )


def test_the_body_is_the_originals_envelope() -> None:
    """Key, payload, milliseconds and source come in the original's order, without spaces."""
    expected = (
        b'{"key":"task-created","payload":{"createdTasks":[{"2":1,"a":1}]},'
        b'"timestamp":1795514400123,"source":"task-service"}'
    )

    assert expected == build(event('{ "createdTasks": [ { "a": 1.0, "2": 1 } ] }')).body


def test_key_and_source_are_escaped() -> None:
    """A quote in a key stays within its string."""
    expected = {"key": 'a"b\\', "payload": None, "timestamp": 1795514400123, "source": "é\n"}

    assert expected == json.loads(build(event("null", key='a"b\\', source="é\n")).body)


def test_the_headers_say_what_it_is() -> None:
    """Id, times, attempt, content type and user agent are there, besides the signatures."""
    expected = {
        "content-type": "application/json",
        "user-agent": "taskloom/1.2.3",
        "webhook-id": str(EVENT_ID),
        "webhook-timestamp": "1795514407",
        "webhook-attempt": "3",
        "x-task-timestamp": str(NOW_MS),
    }
    headers = dict(build().headers)

    assert headers.pop("x-task-signature")
    assert headers.pop("webhook-signature")
    assert expected == headers


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":1}',
        '{"b":1.50,"1":"\\ud800 é \\u2028"}',
        '{"big":9007199254740993,"bigger":1e400,"fine":0.12345678901234567890}',
        "[" * 3000 + "]" * 3000,
    ],
)
def test_both_signatures_verify_on_the_bytes_sent(payload: str) -> None:
    """The one over JavaScript's text and those over the bytes hold for one and the same body."""
    request = build(event(payload))
    headers = request.headers

    assert verify_task_signature(
        Secret("api"),
        request.body,
        signature=headers["x-task-signature"],
        timestamp_ms=headers["x-task-timestamp"],
        now_ms=NOW_MS,
    )
    for secret in (OLD_SECRET, NEW_SECRET):
        assert verify_standard_webhooks_signature(
            secret,
            request.body,
            signature=headers["webhook-signature"],
            message_id=headers["webhook-id"],
            timestamp_s=headers["webhook-timestamp"],
            now_s=NOW_MS // 1000,
        )


def test_no_digit_is_lost_on_the_way() -> None:
    """A number that JavaScript would round is sent as it was written."""
    payload = '{"id":12345678901234567891,"ratio":0.1234567890123456789}'

    assert f'"payload":{payload},' in build(event(payload)).body.decode()


@pytest.mark.parametrize(("attempt", "turn"), [(1, "new"), (2, "old"), (3, "new"), (4, "old")])
def test_two_api_secrets_take_turns(attempt: int, turn: str) -> None:
    """In a rotation x-task-signature is by the new and the old secret in turn, the other beside."""
    request = build_request(
        event(),
        Target(url=Secret("https://example.com/hook")),
        Signing(
            scheme=Scheme.TASK_SIGNATURE,
            api_secrets=[Secret("new"), Secret("old")],
            signing_secrets=[NEW_SECRET, OLD_SECRET],
        ),
        attempt=attempt,
        now=NOW,
        version="1.2.3",
        policy=STANDALONE,
    )

    def is_by(secret: str, header: str) -> bool:
        return verify_task_signature(
            Secret(secret),
            request.body,
            signature=request.headers[header],
            timestamp_ms=request.headers["x-task-timestamp"],
            now_ms=NOW_MS,
        )

    other = {"new": "old", "old": "new"}[turn]
    assert is_by(turn, "x-task-signature")
    assert is_by(other, "x-task-signature-alternate")
    assert not is_by(other, "x-task-signature")


def test_one_api_secret_signs_alone() -> None:
    """Outside of a rotation there is no second signature."""
    assert "x-task-signature-alternate" not in build().headers


@pytest.mark.parametrize(
    ("scheme", "missing"),
    [
        (Scheme.TASK_SIGNATURE, {"webhook-signature"}),
        (Scheme.STANDARD_WEBHOOKS, {"x-task-signature", "x-task-timestamp"}),
        (Scheme.BOTH, set()),
    ],
)
def test_the_scheme_chooses_the_signatures(scheme: Scheme, missing: set[str]) -> None:
    """Only what the subscription asked for is signed; id, time and attempt are always told."""
    expected = set(build(scheme=Scheme.BOTH).headers) - missing

    assert expected == set(build(scheme=scheme).headers)


def test_a_users_headers_are_sent_too() -> None:
    """They are added under lower-case names, without space around the value."""
    headers = build(headers={"Authorization": " Bearer x ", "X-Team": "blå\t1"}).headers

    assert headers["authorization"] == "Bearer x"
    assert headers["x-team"] == "blå\t1"


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS))
def test_a_user_cannot_override_ours_or_the_connections(name: str) -> None:
    """Reserved headers given by a user are left out, however they are spelt."""
    assert dict(build().headers) == build(headers={name.title(): "evil"}).headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "s3cret\r\nx-task-signature: c"),
        ("x-a", "s3cret\nc"),
        ("x-a", "s3cret\rc"),
        ("x-a", "s3cret\x00c"),
        ("x-a", "s3cret\x7f"),
        ("x-a", "s3cret\ud800"),
        ("x-a\r\nhost", "s3cret"),
        ("x a", "s3cret"),
        ("x:a", "s3cret"),
        ("", "s3cret"),
        ("é", "s3cret"),
        ("host\n", "s3cret"),
    ],
)
def test_header_injection_is_refused(name: str, value: str) -> None:
    """A name or value that could become another header is an error that hides the value."""
    with pytest.raises(Invalid) as caught:
        build(headers={name: value})

    assert caught.value.field == "headers"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///hook",
        "https://",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://exa mple.com/",
        "http://example.com/\r\nhost: evil",
        "http://[::1/",
        "javascript:alert(1)",
    ],
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    """Only http and https URLs with a host are called."""
    with pytest.raises(Invalid) as caught:
        build(url=url)

    assert caught.value.field == "url"


def test_a_payload_that_is_not_json_is_refused() -> None:
    """Nothing is sent that a receiver could not read."""
    with pytest.raises(Invalid, match="not valid JSON"):
        build(event("{"))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx: y", False),
        ("nonsense", False),
    ],
)
def test_a_trace_is_carried_on(given: str, sent: bool) -> None:
    """A well-formed traceparent goes along; another is left out, as it comes from a stranger."""
    assert sent == (build(traceparent=given).headers.get("traceparent") == given)


def test_the_request_carries_the_targets_terms() -> None:
    """URL, TLS, timeouts and policy come from the subscription."""
    request = build()

    assert request.url == "https://example.com/hook?token=t0ken"
    assert request.tls == TlsOptions(ca_bundle="CA", client_certificate=Secret("CERT"))
    assert (request.timeout_connect, request.timeout_total) == (3.0, 3.0)
    assert request.policy is STANDALONE


def test_a_request_shows_no_secret() -> None:
    """Neither the URL's token nor a header nor the payload is in the repr."""
    shown = repr(build(headers={"authorization": "Bearer x"}))

    assert not any(text in shown for text in ("t0ken", "Bearer", "createdTasks", "CERT"))
