"""Signatures that senders put on a body, by the schemes that are in use.

Every scheme is an HMAC; they differ in the header, in what is signed besides the body, in the
secret's form and in how the digest is written.  Each is compared in constant time, and one of the
secrets is enough: there are two while they are rotated.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from taskloom.domain.canonical import render
from taskloom.domain.secret import Secret
from taskloom.domain.signing import task_signature
from taskloom.errors import Invalid, Unauthenticated

Algorithm = Literal["sha256", "sha512"]

_WHSEC: Final = "whsec_"
_MOST_DIGITS: Final = 16
_MOST_SIGNATURES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A body with the headers it came with, whose names are in lower case."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def header(self, name: str, form: str) -> str:
        """Give a header; `Unauthenticated` that says what form it has if it is not there."""
        value = self.headers.get(name.lower(), "").strip()
        if not value:
            raise Unauthenticated(f"Send the header {name}: {form}.")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What counts as recent: a time that is signed may be so far from now, either way."""

    now: datetime
    tolerance: timedelta

    def check(self, header: str, timestamp: str, unit: timedelta) -> None:
        """Raise `Unauthenticated` unless a number of units since 1970 is recent."""
        moment = int(timestamp) * unit.total_seconds()
        away = moment - self.now.timestamp()
        if abs(away) > self.tolerance.total_seconds():
            raise Unauthenticated(
                f"The time in the header {header} is {abs(away):,.0f} seconds "
                f"{'before' if away < 0 else 'after'} now, and this source takes "
                f"{self.tolerance.total_seconds():,.0f}: one of the two clocks may be off, or the "
                "message was sent long ago; sign it again when it is sent again."
            )


def sign_body(secret: Secret, body: bytes, algorithm: Algorithm) -> str:
    """Give the HMAC over a body's bytes, in lower-case hex; the key is the secret's UTF-8."""
    return hmac.new(secret.reveal().encode(), body, getattr(hashlib, algorithm)).hexdigest()


def is_genuine(secret: Secret, body: bytes, *, signature: str, algorithm: Algorithm) -> bool:
    """Tell, in constant time, whether a header's value signs `body`.

    The hex may be in either case, and may follow the algorithm's name: ``sha256=…``.
    """
    given = signature.strip().lower().removeprefix(f"{algorithm}=")
    return _matches([sign_body(secret, body, algorithm)], [given])


def check_hex(
    signed: Signed, secrets: Sequence[Secret], *, header: str, algorithm: Algorithm
) -> None:
    """Check an HMAC in hex in a header of one's choice."""
    given = signed.header(header, f"the body's HMAC with {algorithm}, in hex")
    if not any(
        is_genuine(secret, signed.body, signature=given, algorithm=algorithm) for secret in secrets
    ):
        raise Unauthenticated(
            f"The header {header} does not sign this body: "
            f"it must be the HMAC with {algorithm} of the bytes that are sent, in hex."
        )


def check_github(signed: Signed, secrets: Sequence[Secret]) -> None:
    """Check ``X-Hub-Signature-256: sha256=<hex>``."""
    check_hex(signed, secrets, header="x-hub-signature-256", algorithm="sha256")


def check_stripe(signed: Signed, secrets: Sequence[Secret], recent: Recent) -> None:
    """Check ``Stripe-Signature: t=<seconds>,v1=<hex>``, over the time, a dot and the body."""
    form = "t=<seconds since 1970>,v1=<hex>"
    pairs = [
        part.strip().partition("=")[::2]
        for part in signed.header("stripe-signature", form).split(",")
    ]
    times = [value for name, value in pairs if name == "t"]
    given = [value for name, value in pairs if name == "v1"]
    if len(times) != 1 or not _is_time(times[0]) or not given:
        raise Unauthenticated(f"The header stripe-signature must have the form {form}.")
    whole = times[0].encode() + b"." + signed.body
    if not _matches([sign_body(secret, whole, "sha256") for secret in secrets], given):
        raise Unauthenticated(
            "The header stripe-signature does not sign this body: v1 must be the HMAC with sha256 "
            "of t, a dot and the bytes that are sent, in hex."
        )
    recent.check("stripe-signature", times[0], timedelta(seconds=1))


def check_standard_webhooks(signed: Signed, secrets: Sequence[Secret], recent: Recent) -> None:
    """Check ``webhook-signature: v1,<base64>``, over webhook-id, webhook-timestamp and the body."""
    message_id = signed.header("webhook-id", "the message's id")
    time = signed.header("webhook-timestamp", "seconds since 1970")
    given = signed.header("webhook-signature", "v1,<base64>, several parted by spaces")
    if not _is_time(time):
        raise Unauthenticated("The header webhook-timestamp must be seconds since 1970.")
    whole = b".".join((message_id.encode("utf-8", "surrogatepass"), time.encode(), signed.body))
    expected = [
        base64.b64encode(hmac.digest(key, whole, hashlib.sha256)).decode()
        for secret in secrets
        if (key := standard_key(secret)) is not None
    ]
    if not _matches(expected, (one[3:] for one in given.split() if one.startswith("v1,"))):
        raise Unauthenticated(
            "The header webhook-signature does not sign this body: it must hold v1, and the base64 "
            "of the HMAC with sha256 of webhook-id, webhook-timestamp and the bytes that are sent, "
            "with dots between them."
        )
    recent.check("webhook-timestamp", time, timedelta(seconds=1))


def check_task_signature(signed: Signed, secrets: Sequence[Secret], recent: Recent) -> None:
    """Check ``x-task-signature``, as Taskloom signs webhooks itself."""
    given = [signed.header("x-task-signature", "the signature in hex")]
    time = signed.header("x-task-timestamp", "milliseconds since 1970")
    if not _is_time(time):
        raise Unauthenticated("The header x-task-timestamp must be milliseconds since 1970.")
    # While the sender's secret is rotated it signs with both.
    given += [signed.headers.get("x-task-signature-alternate", "")]
    try:
        text = render(signed.body).printed
    except Invalid as error:
        raise Unauthenticated(
            f"The header x-task-signature signs JSON, and the body is none: {error.message}"
        ) from error
    if not _matches([task_signature(secret, text, time) for secret in secrets], given):
        raise Unauthenticated(
            "The header x-task-signature does not sign this body: it must be the HMAC with sha256 "
            "of the body as JSON.stringify prints it, a colon and x-task-timestamp, in hex."
        )
    recent.check("x-task-timestamp", time, timedelta(milliseconds=1))


def standard_key(secret: Secret) -> bytes | None:
    """Read a secret of Standard Webhooks: base64, perhaps after ``whsec_``; None if it is none."""
    text = secret.reveal().strip().removeprefix(_WHSEC)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _matches(expected: Sequence[str], given: Iterable[str]) -> bool:
    """Compare every pair, each in constant time; nobody sends more than a few."""
    few = list(given)[:_MOST_SIGNATURES]
    pairs = [(one, other) for one in expected for other in few]
    found = [
        hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogatepass"))
        for one, other in pairs
    ]
    return any(found)
