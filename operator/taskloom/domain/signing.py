"""Signatures of webhooks: the original's ``x-task-signature`` and Standard Webhooks.

Both are HMACs with SHA-256.
The first is made over the event as JavaScript prints it, the second over the body's own bytes.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from taskloom.domain.canonical import render
from taskloom.domain.secret import Secret
from taskloom.errors import Invalid

TOLERANCE: Final = timedelta(minutes=5)
_PREFIX: Final = "whsec_"
_GENERATED_BYTES: Final = 32
_FEWEST_BYTES: Final = 24  # the bounds that Standard Webhooks sets for a secret
_MOST_BYTES: Final = 64


def task_signature(secret: Secret, event_text: str, timestamp_ms: int | str) -> str:
    """Sign an event as the original does: hex, over the event's text, a colon and the time.

    `event_text` is what ``JSON.stringify(event)`` prints, `timestamp_ms` the milliseconds
    since the epoch.
    """
    return _digest(_text_key(secret), f"{event_text}:{timestamp_ms}".encode()).hex()


def standard_webhooks_signature(
    secrets: Sequence[Secret], message_id: str, timestamp_s: int, body: bytes
) -> str:
    """Sign a body with each of `secrets`, newest first: ``v1,<base64>``, parted by spaces.

    More than one secret is in force while a receiver changes from the old one to the new.
    """
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return " ".join(
        f"v1,{base64.b64encode(_digest(_standard_key(secret), signed)).decode()}"
        for secret in secrets
    )


def make_signing_secret(random_bytes: bytes) -> Secret:
    """Make a ``whsec_…`` secret out of 32 random bytes."""
    if len(random_bytes) != _GENERATED_BYTES:
        raise Invalid(f"A signing secret is made of {_GENERATED_BYTES} random bytes")
    return Secret(_PREFIX + base64.b64encode(random_bytes).decode())


def check_signing_secret(secret: Secret) -> None:
    """Raise `Invalid` unless `secret` is ``whsec_`` and the base64 of 24 to 64 bytes."""
    _standard_key(secret)


def verify_task_signature(
    secret: Secret, body: bytes, *, signature: str, timestamp_ms: str, now_ms: int
) -> bool:
    """Tell whether a received body carries a genuine ``x-task-signature`` of the last minutes.

    Raises `Invalid` if the body is not JSON.
    """
    if not _is_recent(timestamp_ms, now_ms, 1000 * int(TOLERANCE.total_seconds())):
        return False
    expected = task_signature(secret, render(body).printed, timestamp_ms)
    return _equal(expected, signature)


def verify_standard_webhooks_signature(
    secret: Secret,
    body: bytes,
    *,
    signature: str,
    message_id: str,
    timestamp_s: str,
    now_s: int,
) -> bool:
    """Tell whether a received body carries a genuine ``webhook-signature`` of the last minutes.

    One matching signature of those in the header is enough.
    """
    if not _is_recent(timestamp_s, now_s, int(TOLERANCE.total_seconds())):
        return False
    expected = standard_webhooks_signature([secret], message_id, int(timestamp_s), body)
    return any(_equal(expected, candidate) for candidate in signature.split(" "))


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)


def _text_key(secret: Secret) -> bytes:
    return secret.reveal().encode()


def _standard_key(secret: Secret) -> bytes:
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise Invalid(
            f"A signing secret is {_PREFIX} followed by the base64 of"
            f" {_FEWEST_BYTES} to {_MOST_BYTES} bytes: give one of that form"
        )
    return key


def _is_recent(timestamp: str, now: int, tolerance: int) -> bool:
    """Tell whether a header's decimal number is within `tolerance` of `now`, either way."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 16):
        return False
    return abs(int(timestamp) - now) <= tolerance


def _equal(expected: str, received: str) -> bool:
    return hmac.compare_digest(expected.encode(), received.encode("utf-8", "surrogatepass"))
