"""A credentials file of NATS: a user's JWT, and the seed of the key that signs for it."""

import base64
import binascii
import re
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskloom.errors import Invalid

_PART = re.compile(r"-+BEGIN ([A-Z ]+)-+\s+(\S+)\s+-+END [A-Z ]+-+")
_SEED_BYTES = 36  # two of its kind, 32 of the key, two of the checksum


@dataclass(frozen=True, slots=True)
class Credentials:
    """What logs a user in; it stays in memory."""

    jwt: str = field(repr=False)
    key: Ed25519PrivateKey = field(repr=False)

    def sign(self, nonce: str) -> bytes:
        """Sign what the server asks, in the letters it expects."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def read_credentials(text: str) -> Credentials:
    """Read the text of a credentials file; `Invalid` if it is none."""
    parts = dict(_PART.findall(text))
    try:
        jwt, seed = parts["NATS USER JWT"], parts["USER NKEY SEED"]
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (KeyError, binascii.Error) as error:
        raise Invalid(_NONE) from error
    checksum = binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little")
    if len(raw) != _SEED_BYTES or raw[-2:] != checksum:
        raise Invalid(_NONE)
    return Credentials(jwt, Ed25519PrivateKey.from_private_bytes(raw[2:-2]))


_NONE = (
    "spec.nats.auth.credentialsRef does not hold a credentials file: "
    "a JWT and the seed of a user's key, each between its BEGIN and END."
)
