"""Signatures over a body, as senders make them."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks

from taskloom.domain.body_signature import (
    Algorithm,
    Recent,
    Signed,
    check_github,
    check_hex,
    check_standard_webhooks,
    check_stripe,
    check_task_signature,
    is_genuine,
    sign_body,
    standard_key,
)
from taskloom.domain.canonical import render
from taskloom.domain.secret import Secret
from taskloom.domain.signing import task_signature
from taskloom.errors import Unauthenticated

SECRET = Secret("It's a Secret to Everybody")
BODY = b"Hello, World!"
# what GitHub's documentation gives for these two
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(
    "signature",
    [SIGNATURE, f"sha256={SIGNATURE}", SIGNATURE.upper(), f" sha256={SIGNATURE.upper()} "],
)
def test_a_signature_is_known_in_its_forms(signature: str) -> None:
    """Plain hex, hex after the algorithm's name, in either case."""
    assert is_genuine(SECRET, BODY, signature=signature, algorithm="sha256")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        SIGNATURE[:-1],
        SIGNATURE + "0",
        f"sha512={SIGNATURE}",
        f"sha256=sha256={SIGNATURE}",
        "ä" * 64,
        "\ud800",
    ],
)
def test_anything_else_is_no_signature(signature: str) -> None:
    """Cut, longer, under another name, or not hex at all."""
    assert not is_genuine(SECRET, BODY, signature=signature, algorithm="sha256")


def test_another_body_secret_or_hash_signs_otherwise() -> None:
    """Each of the three is part of the signature."""
    assert not is_genuine(SECRET, BODY + b"\n", signature=SIGNATURE, algorithm="sha256")
    assert not is_genuine(Secret("other"), BODY, signature=SIGNATURE, algorithm="sha256")
    assert not is_genuine(SECRET, BODY, signature=SIGNATURE, algorithm="sha512")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_secrets_text_is_the_key(algorithm: Algorithm) -> None:
    """Its UTF-8 bytes are."""
    expected = hmac.digest("Schlüssel".encode(), BODY, getattr(hashlib, algorithm)).hex()

    assert expected == sign_body(Secret("Schlüssel"), BODY, algorithm)


# --- schemes ---

EVENT = b'{"id": "evt_1", "n": 1.0, "10": 1}'
NOW = datetime(2021, 2, 25, 15, 2, 10, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
MILLISECONDS = SECONDS + "000"
RECENT = Recent(now=NOW, tolerance=timedelta(seconds=300))
# what the authors of Standard Webhooks publish for their libraries
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLISHED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

Check = Callable[[Signed, list[Secret]], None]
Sign = Callable[[str, bytes, str], dict[str, str]]


def _hex(secret: str, message: bytes) -> str:
    return hmac.digest(secret.encode(), message, "sha256").hex()


def _stripe(secret: str, body: bytes, seconds: str) -> dict[str, str]:
    v1 = _hex(secret, seconds.encode() + b"." + body)
    return {"stripe-signature": f"t={seconds},v1={v1},v0=6ffbb59b2300aae63f272406069a9788"}


def _standard(secret: str, body: bytes, seconds: str) -> dict[str, str]:
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": seconds,
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_1", moment, body.decode()),
    }


def _task(secret: str, body: bytes, seconds: str) -> dict[str, str]:
    signature = task_signature(Secret(secret), render(body).printed, seconds + "000")
    return {"x-task-signature": signature, "x-task-timestamp": seconds + "000"}


def _github(secret: str, body: bytes, _seconds: str) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={_hex(secret, body)}"}


def _plain(secret: str, body: bytes, _seconds: str) -> dict[str, str]:
    return {"x-mine": _hex(secret, body)}


TIMED: dict[str, tuple[Check, Sign]] = {
    "stripe": (lambda signed, secrets: check_stripe(signed, secrets, RECENT), _stripe),
    "standard": (
        lambda signed, secrets: check_standard_webhooks(signed, secrets, RECENT),
        _standard,
    ),
    "task": (lambda signed, secrets: check_task_signature(signed, secrets, RECENT), _task),
}
SCHEMES: dict[str, tuple[Check, Sign]] = TIMED | {
    "github": (check_github, _github),
    "hex": (
        lambda signed, secrets: check_hex(signed, secrets, header="X-Mine", algorithm="sha256"),
        _plain,
    ),
}
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()


def signed(body: bytes, headers: Mapping[str, str]) -> Signed:
    """Put a body and its headers together."""
    return Signed(body=body, headers=headers)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("secrets", [[WHSEC], [OTHER, WHSEC], [WHSEC, OTHER]])
def test_a_genuine_signature_passes(scheme: str, secrets: list[str]) -> None:
    """By any of the secrets that are good."""
    check, sign = SCHEMES[scheme]

    check(signed(EVENT, sign(WHSEC, EVENT, SECONDS)), [Secret(one) for one in secrets])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_false_signature_is_refused(scheme: str) -> None:
    """Of another body, by another secret, or without any secret to compare with."""
    check, sign = SCHEMES[scheme]
    headers = sign(WHSEC, EVENT, SECONDS)

    for body, secrets in (
        (EVENT.replace(b"evt_1", b"evt_2"), [Secret(WHSEC)]),
        (EVENT, [Secret(OTHER)]),
        (EVENT, []),
    ):
        with pytest.raises(Unauthenticated, match="does not sign this body"):
            check(signed(body, headers), secrets)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_header_of_a_scheme_is_needed(scheme: str) -> None:
    """The one that is missing is named; odd values of it are refused, and break nothing."""
    check, sign = SCHEMES[scheme]
    headers = sign(WHSEC, EVENT, SECONDS)

    for name in headers:
        for odd in ("", " ", "ä", "\ud800", "\x00", ",", "=", "t=,v1=", "v1,", "9" * 5_000, "-1"):
            with pytest.raises(Unauthenticated, match=rf"(?i){name}"):
                check(signed(EVENT, {**headers, name: odd}), [Secret(WHSEC)])
        rest = {other: value for other, value in headers.items() if other != name}
        with pytest.raises(Unauthenticated, match=rf"(?i)Send the header {name}"):
            check(signed(EVENT, rest), [Secret(WHSEC)])


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("off", [-300, 300, -301, 301, -(10**9)])
def test_a_time_that_is_signed_must_be_near(scheme: str, off: int) -> None:
    """Either way; who is told so has signed well, and reads that a clock may be off."""
    check, sign = TIMED[scheme]
    headers = sign(WHSEC, EVENT, str(int(SECONDS) + off))
    genuine = signed(EVENT, headers)

    if abs(off) <= 300:
        check(genuine, [Secret(WHSEC)])
        return
    direction = "before" if off < 0 else "after"
    with pytest.raises(Unauthenticated, match=f"{abs(off):,} seconds {direction} now.*clocks"):
        check(genuine, [Secret(WHSEC)])
    with pytest.raises(Unauthenticated, match="does not sign"):
        check(genuine, [Secret(OTHER)])


@pytest.mark.parametrize("scheme", TIMED)
def test_the_time_is_signed_too(scheme: str) -> None:
    """An old message does not become new by another header."""
    check, sign = TIMED[scheme]
    old = sign(WHSEC, EVENT, "1514764800")
    new = {
        name: value.replace("1514764800", SECONDS) if "signature" not in name else value
        for name, value in old.items()
    }
    new |= {
        name: value.replace("t=1514764800", f"t={SECONDS}")
        for name, value in old.items()
        if name == "stripe-signature"
    }

    with pytest.raises(Unauthenticated, match="does not sign"):
        check(signed(EVENT, new), [Secret(WHSEC)])


@pytest.mark.parametrize("secret", [WHSEC, WHSEC.removeprefix("whsec_"), f" {WHSEC}\n"])
def test_the_published_vector_of_standard_webhooks_passes(secret: str) -> None:
    """With and without whsec_ before the secret; their own library signs the same."""
    body = b'{"test": 2432232314}'
    theirs = standardwebhooks.Webhook(WHSEC).sign(PUBLISHED["webhook-id"], NOW, body.decode())

    assert PUBLISHED["webhook-signature"] == theirs
    check_standard_webhooks(signed(body, PUBLISHED), [Secret(secret)], RECENT)


@pytest.mark.parametrize(
    "others",
    [
        "v1,AAAA {}",
        "{} v1,AAAA",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw {}",
    ],
)
def test_one_of_several_signatures_is_enough(others: str) -> None:
    """While the sender's secret is rotated, or where it signs in another way, too."""
    headers = {**PUBLISHED, "webhook-signature": others.format(PUBLISHED["webhook-signature"])}

    check_standard_webhooks(signed(b'{"test": 2432232314}', headers), [Secret(WHSEC)], RECENT)


def test_stripe_signs_with_several_while_it_rotates() -> None:
    """Any v1 may be the one; v0 is none, and two times are ambiguous."""
    v1 = _hex(WHSEC, f"{SECONDS}.".encode() + EVENT)
    secrets = [Secret(WHSEC)]

    def check(header: str) -> None:
        check_stripe(signed(EVENT, {"stripe-signature": header}), secrets, RECENT)

    check(f"t={SECONDS}, v1={'0' * 64}, v1={v1}")
    for header in (
        f"t={SECONDS},v0={v1}",
        f"t={SECONDS},t={SECONDS},v1={v1}",
        f"v1={v1}",
        f"t={SECONDS}",
    ):
        with pytest.raises(Unauthenticated, match="must have the form t="):
            check(header)


def test_both_signatures_of_a_rotating_taskloom_are_looked_at() -> None:
    """It puts what the other secret signs into a header of its own."""
    headers = _task(OTHER, EVENT, SECONDS)
    alternate = _task(WHSEC, EVENT, SECONDS)["x-task-signature"]

    check_task_signature(
        signed(EVENT, {**headers, "x-task-signature-alternate": alternate}), [Secret(WHSEC)], RECENT
    )


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_task_signature_signs_json(body: bytes) -> None:
    """What is none is refused as not signed."""
    headers = {"x-task-signature": "00", "x-task-timestamp": MILLISECONDS}

    with pytest.raises(Unauthenticated, match="signs JSON"):
        check_task_signature(signed(body, headers), [Secret(WHSEC)], RECENT)


@pytest.mark.parametrize("text", ["no base64!", "whsec_", "ä", "whsec_*"])
def test_what_is_no_secret_of_standard_webhooks(text: str) -> None:
    """It signs nothing."""
    assert standard_key(Secret(text)) is None
    with pytest.raises(Unauthenticated, match="does not sign"):
        check_standard_webhooks(signed(EVENT, PUBLISHED), [Secret(text)], RECENT)


def test_a_body_and_its_signatures_are_not_shown() -> None:
    """They may end up in a traceback."""
    kept: Any = signed(b"hidden", {"stripe-signature": "hidden"})

    assert "hidden" not in repr(kept)
