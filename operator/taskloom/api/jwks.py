"""The public keys of a token issuer, fetched when needed and kept for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from taskloom.domain.json_text import read_json
from taskloom.errors import Invalid, TaskloomError, Unavailable

log = structlog.get_logger()

Fetch = Callable[[], Awaitable[bytes]]

LIFETIME = 600.0
"""Seconds after which keys are fetched again, so that a withdrawn one goes."""
PAUSE = 30.0
"""Seconds between fetches that tokens with unknown key ids can cause."""
RETRY = 1.0
"""Seconds between fetches while there is no key at all."""
_MAX_BYTES = 1 << 20
_MAX_KEYS = 100
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}


class KeySet:
    """The keys that `fetch` yields as a JWKS document; `clock` counts seconds."""

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[PyJWK, ...] = ()
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def candidates(self, key_id: str | None, algorithm: str) -> tuple[PyJWK, ...]:
        """List the keys that may have signed a token with this header.

        An unknown key id causes a fetch, at most every `PAUSE` seconds.
        Raises `Unavailable` while no keys could be had at all.
        """
        if not self._keys or self._age() > LIFETIME:
            await self._refresh(LIFETIME if self._keys else RETRY)
        if not self._keys:
            raise Unavailable(
                "The keys that tokens are checked with cannot be fetched: try again shortly.",
                delay=RETRY,
            )
        found = self._matching(key_id, algorithm)
        if not found:
            await self._refresh(PAUSE)
            found = self._matching(key_id, algorithm)
        return found

    def _age(self) -> float:
        return float("inf") if self._tried_at is None else self._clock() - self._tried_at

    def _matching(self, key_id: str | None, algorithm: str) -> tuple[PyJWK, ...]:
        return tuple(
            key
            for key in self._keys
            if key.algorithm_name == algorithm and (key_id is None or key.key_id == key_id)
        )

    async def _refresh(self, least_age: float) -> None:
        async with self._lock:
            if self._age() <= least_age:
                return
            self._tried_at = self._clock()
            try:
                keys = usable_keys(await self._fetch())
            except (TaskloomError, httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
                log.warning("auth.keys_not_fetched", error=str(exc) or type(exc).__name__)
                return
            if not keys:
                log.warning("auth.no_usable_keys")
                return
            self._keys = keys


def usable_keys(document: bytes) -> tuple[PyJWK, ...]:
    """Read a JWKS document and keep the RSA and P-256 signing keys in it.

    Keys of other kinds are passed over: a symmetric one above all, as anyone could have signed
    with what is public.  Raises `Invalid` if the document is no JWKS.
    """
    value = read_json(document)
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise Invalid("The document has no list of keys: it is no JWKS.")
    keys = (_usable(entry) for entry in entries[:_MAX_KEYS])
    return tuple(key for key in keys if key is not None)


def _usable(entry: Any) -> PyJWK | None:
    if not isinstance(entry, Mapping):
        return None
    algorithm = _ALGORITHMS.get(str(entry.get("kty")))
    fits = entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm
    if algorithm is None or not fits or (algorithm == "ES256" and entry.get("crv") != "P-256"):
        return None
    public = {name: value for name, value in entry.items() if name not in _PRIVATE}
    try:
        key = PyJWK(public, algorithm=algorithm)
    except (PyJWTError, ValueError, TypeError):
        log.warning("auth.key_not_readable", kid=str(entry.get("kid"))[:100])
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < 2048:
        log.warning("auth.key_too_short", kid=str(entry.get("kid"))[:100])
        return None
    return key


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def over_http(url: str) -> Fetch:
    """Fetch from `url` in at most five seconds, without following redirects."""

    async def fetch() -> bytes:
        async with (
            httpx.AsyncClient(timeout=5.0, follow_redirects=False) as client,
            asyncio.timeout(5.0),
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise Invalid("The key document is larger than 1 MiB.")
            return body

    return fetch
