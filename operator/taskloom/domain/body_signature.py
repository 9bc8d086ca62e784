"""Signatures that senders put on a body: an HMAC in hex, as GitHub and many others send it."""

import hashlib
import hmac
from typing import Literal

from taskloom.domain.secret import Secret

Algorithm = Literal["sha256", "sha512"]


def sign_body(secret: Secret, body: bytes, algorithm: Algorithm) -> str:
    """Give the HMAC over a body's bytes, in lower-case hex; the key is the secret's UTF-8."""
    return hmac.new(secret.reveal().encode(), body, getattr(hashlib, algorithm)).hexdigest()


def is_genuine(secret: Secret, body: bytes, *, signature: str, algorithm: Algorithm) -> bool:
    """Tell, in constant time, whether a header's value signs `body`.

    The hex may be in either case, and may follow the algorithm's name: ``sha256=…``.
    """
    given = signature.strip().lower().removeprefix(f"{algorithm}=")
    expected = sign_body(secret, body, algorithm)
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))
