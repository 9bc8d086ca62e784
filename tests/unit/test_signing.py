"""Signatures, made and verified."""

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.secret import Secret
from taskloom.domain.signing import (
    check_signing_secret,
    make_signing_secret,
    standard_webhooks_signature,
    task_signature,
    verify_standard_webhooks_signature,
    verify_task_signature,
)
from taskloom.errors import Invalid

SIGNING_SECRET = make_signing_secret(bytes(range(32)))
NOW_S = 1_795_514_400
NOW_MS = NOW_S * 1000


def test_the_task_signature_is_the_originals() -> None:
    """HMAC-SHA256 in hex over the event's text, a colon and the milliseconds (by OpenSSL)."""
    expected = "ce28c2fb8ffce8e1b35d9cb1d6138022865bd341f8be98ecb9a9c8b98fa7540e"

    assert expected == task_signature(Secret("s3cret"), '{"key":"é"}', 1795514400000)


def test_the_standard_webhooks_signature_is_the_published_one() -> None:
    """The example in the Standard Webhooks specification comes out."""
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    assert expected == standard_webhooks_signature(
        [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=32, max_size=32))
def test_the_official_package_makes_the_same_signature(body: str, random_bytes: bytes) -> None:
    """For any body and key, ours is the signature of the `standardwebhooks` package."""
    secret = make_signing_secret(random_bytes)
    expected = standardwebhooks.Webhook(secret.reveal()).sign(
        "msg_1", datetime.fromtimestamp(NOW_S, tz=UTC), body
    )

    assert expected == standard_webhooks_signature([secret], "msg_1", NOW_S, body.encode())


def test_each_secret_in_force_signs() -> None:
    """During a rotation the header carries one signature a secret, in their order."""
    other = make_signing_secret(b"\x01" * 32)
    expected = " ".join(
        standard_webhooks_signature([secret], "msg_1", NOW_S, b"{}")
        for secret in (other, SIGNING_SECRET)
    )

    assert expected == standard_webhooks_signature([other, SIGNING_SECRET], "msg_1", NOW_S, b"{}")


def test_a_new_secret_is_whsec_and_its_bytes() -> None:
    """A generated secret is the prefix and the base64 of the random bytes it was given."""
    expected = "whsec_" + base64.b64encode(bytes(range(32))).decode()

    assert expected == make_signing_secret(bytes(range(32))).reveal()


def test_a_new_secret_takes_exactly_32_bytes() -> None:
    """Too little randomness is refused."""
    with pytest.raises(Invalid, match="32 random bytes"):
        make_signing_secret(b"\x00" * 31)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_*****",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        base64.b64encode(b"x" * 32).decode(),
        "whsec_é",
        "whsec_" + base64.b64encode(b"x" * 32).decode() + "\n",
    ],
)
def test_a_malformed_signing_secret_is_refused_and_not_shown(text: str) -> None:
    """Only ``whsec_`` and the base64 of 24 to 64 bytes is a signing secret."""
    with pytest.raises(Invalid, match="whsec_ followed by the base64") as caught:
        check_signing_secret(Secret(text))

    assert len(text) < 10 or text not in str(caught.value)


def test_good_signing_secrets_pass() -> None:
    """Generated secrets and imported ones of 24 to 64 bytes are accepted."""
    for size in (24, 32, 64):
        check_signing_secret(Secret("whsec_" + base64.b64encode(b"x" * size).decode()))


@pytest.mark.parametrize(
    ("offset_ms", "expected"), [(0, True), (300_000, True), (-300_000, True), (300_001, False)]
)
def test_a_task_signature_holds_for_five_minutes(offset_ms: int, expected: bool) -> None:
    """A genuine signature is accepted within five minutes either way."""
    signature = task_signature(Secret("s"), '{"a":1}', NOW_MS)

    assert expected == verify_task_signature(
        Secret("s"),
        b'{ "a": 1.0 }',
        signature=signature,
        timestamp_ms=str(NOW_MS),
        now_ms=NOW_MS + offset_ms,
    )


@pytest.mark.parametrize(
    ("secret", "body", "timestamp"),
    [
        ("other", b'{"a":1}', str(NOW_MS)),
        ("s", b'{"a":2}', str(NOW_MS)),
        ("s", b'{"a":1}', str(NOW_MS + 1)),
        ("s", b'{"a":1}', f"+{NOW_MS}"),
        ("s", b'{"a":1}', f" {NOW_MS}"),
        ("s", b'{"a":1}', "\u0661" * 13),
        ("s", b'{"a":1}', "9" * 5000),
        ("s", b'{"a":1}', ""),
    ],
)
def test_a_foreign_task_signature_is_refused(secret: str, body: bytes, timestamp: str) -> None:
    """Another secret, body or time, or a time that is no number, does not verify."""
    signature = task_signature(Secret("s"), '{"a":1}', NOW_MS)

    assert not verify_task_signature(
        Secret(secret), body, signature=signature, timestamp_ms=timestamp, now_ms=NOW_MS
    )


def test_a_signature_of_strange_characters_is_refused() -> None:
    """A header with anything in it is compared, not a cause of errors."""
    for signature in ("", "é", "\udc80", "\x00" * 64):
        assert not verify_task_signature(
            Secret("s"), b"{}", signature=signature, timestamp_ms=str(NOW_MS), now_ms=NOW_MS
        )


def test_a_body_that_is_no_json_cannot_be_verified() -> None:
    """The task signature is over JSON, so a body that is none is an error of its own."""
    with pytest.raises(Invalid, match="not valid JSON"):
        verify_task_signature(
            Secret("s"), b"{", signature="", timestamp_ms=str(NOW_MS), now_ms=NOW_MS
        )


@pytest.mark.parametrize(
    ("offset_s", "expected"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_standard_signature_holds_for_five_minutes(offset_s: int, expected: bool) -> None:
    """A genuine signature among others is accepted within five minutes either way."""
    old = make_signing_secret(b"\x02" * 32)
    signature = standard_webhooks_signature([old, SIGNING_SECRET], "msg_1", NOW_S, b"{}")

    assert expected == verify_standard_webhooks_signature(
        SIGNING_SECRET,
        b"{}",
        signature=signature,
        message_id="msg_1",
        timestamp_s=str(NOW_S),
        now_s=NOW_S + offset_s,
    )


@pytest.mark.parametrize(
    ("message_id", "timestamp", "body"),
    [
        ("msg_2", str(NOW_S), b"{}"),
        ("msg_1", str(NOW_S + 1), b"{}"),
        ("msg_1", "soon", b"{}"),
        ("msg_1", str(NOW_S), b"{ }"),
    ],
)
def test_a_foreign_standard_signature_is_refused(
    message_id: str, timestamp: str, body: bytes
) -> None:
    """Another message, time or body does not verify."""
    signature = standard_webhooks_signature([SIGNING_SECRET], "msg_1", NOW_S, b"{}")

    assert not verify_standard_webhooks_signature(
        SIGNING_SECRET,
        body,
        signature=signature,
        message_id=message_id,
        timestamp_s=timestamp,
        now_s=NOW_S,
    )
