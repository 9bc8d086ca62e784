"""Signatures over a body, as senders make them."""

import hashlib
import hmac

import pytest

from taskloom.domain.body_signature import Algorithm, is_genuine, sign_body
from taskloom.domain.secret import Secret

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
