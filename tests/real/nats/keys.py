"""Keys and JWTs of NATS, made for throw-away servers: an operator, its accounts, their users."""

import base64
import binascii
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = 18 << 3
_PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_NO_LIMIT = -1
_LIMITS = ("conn", "subs", "data", "payload", "imports", "exports", "leaf")
_JETSTREAM = ("mem_storage", "disk_storage", "streams", "consumer")


class Key:
    """The key of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._prefix = _PREFIXES[kind]
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        """What it is known by."""
        return _letters(bytes([self._prefix]) + self._key.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """What signs for it."""
        head = bytes([_SEED | self._prefix >> 5, (self._prefix & 31) << 3])
        return _letters(head + self._key.private_bytes_raw())

    def vouch(self, other: "Key", **claims: Any) -> str:
        """Sign a JWT for another key, or for this one itself."""
        body = {
            "jti": "test",
            "iat": int(time.time()),
            "iss": self.public,
            "name": other.kind,
            "sub": other.public,
            "nats": {"type": other.kind, "version": 2, **claims},
        }
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = f"{_url(json.dumps(head).encode())}.{_url(json.dumps(body).encode())}"
        return f"{text}.{_url(self._key.sign(text.encode()))}"


class Operator:
    """An operator with one account besides the system's: `settings` are those of its server."""

    def __init__(self) -> None:
        self._operator, self._account, self._system = (
            Key("operator"),
            Key("account"),
            Key("account"),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What a server is to know."""
        accounts = {
            key.public: self._operator.vouch(
                key, limits=dict.fromkeys(limits, _NO_LIMIT) | {"wildcards": True}
            )
            for key, limits in (
                (self._account, (*_LIMITS, *_JETSTREAM)),
                (self._system, _LIMITS),  # which may have no streams
            )
        }
        return {
            "operator": self._operator.vouch(self._operator),
            "system_account": self._system.public,
            "resolver": "MEMORY",
            "resolver_preload": accounts,
        }

    def credentials(self) -> str:
        """Write a credentials file of a new user."""
        user = Key("user")
        none = {"subs": _NO_LIMIT, "data": _NO_LIMIT, "payload": _NO_LIMIT, "pub": {}, "sub": {}}
        jwt = self._account.vouch(user, **none)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


def _letters(raw: bytes) -> str:
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
