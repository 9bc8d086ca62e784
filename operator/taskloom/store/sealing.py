"""Secrets at rest: encrypted with the newest key, read with any of them.

Fernet (AES-128-CBC and HMAC-SHA256) as the package cryptography has it.  To rotate, put a new key
in front of the old ones; what is written from then on is sealed with it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from taskloom.errors import Permanent


class Sealer:
    """Seals and opens JSON values."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise Permanent("No encryption key is given: set TASKLOOM_ENCRYPTION_KEYS.")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as exc:
            raise Permanent(
                "An encryption key is not valid: each is 32 random bytes in URL-safe base64."
            ) from exc

    def seal(self, value: Any) -> str:
        """Encrypt a JSON value."""
        return self._fernet.encrypt(json.dumps(value).encode()).decode()

    def open(self, sealed: str) -> Any:
        """Decrypt what `seal` made; `Permanent` if none of the keys fits."""
        try:
            return json.loads(self._fernet.decrypt(sealed))
        except InvalidToken as exc:
            raise Permanent(
                "A stored secret was sealed with a key that is not among the encryption keys: "
                "add the old key behind the new one."
            ) from exc


def keys_in(path: Path) -> list[str]:
    """Read the keys of a file, newest first; a file that is not there is made with a new key."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().split()
    with os.fdopen(descriptor, "w") as file:
        file.write(Fernet.generate_key().decode() + "\n")
    return path.read_text().split()
