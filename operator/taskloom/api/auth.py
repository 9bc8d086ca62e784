"""Who is calling: bearer tokens by shared secret or public keys, or a custom authenticator."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from ipaddress import ip_address
from typing import Any, Protocol

import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from taskloom.api.claims import judge_claims
from taskloom.api.jwks import KeySet, over_http
from taskloom.domain.permissions import EVERYTHING, Principal
from taskloom.errors import Permanent, Unauthenticated

ENTRY_POINTS = "taskloom.auth"
MIN_SECRET_BYTES = 32
_MAX_TOKEN = 16_384
_CACHED_TOKENS = 1_024
_CACHED_SECONDS = 60.0

_Keys = Callable[[str | None, str], Awaitable[Sequence[PyJWK | str]]]


class Authenticator(Protocol):
    """Tells from a request's headers (names in lower case) who calls."""

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Return the caller; raises `Unauthenticated` if the credential is missing or wrong."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """How callers are told apart.

    `mode` is `jwt-secret`, `jwks`, `disabled`, or the name of an entry point in the group
    `taskloom.auth`: a callable that takes these options and returns an `Authenticator`.
    """

    mode: str = "jwt-secret"
    secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    audience: str | None = None
    issuer: str | None = None


def make_authenticator(options: AuthOptions, *, host: str) -> Authenticator:
    """Make what `options` ask for; `host` is the address that the door listens on.

    Raises `Permanent` saying which setting to mend.
    """
    match options.mode:
        case "jwt-secret":
            return TokenAuthenticator(
                _shared_secret(options.secret),
                algorithms=("HS256",),
                audience=options.audience,
                issuer=options.issuer,
            )
        case "jwks":
            if not options.jwks_url or not options.jwks_url.startswith(("https://", "http://")):
                raise Permanent(
                    "TASKLOOM_AUTH_MODE is jwks: set TASKLOOM_JWKS_URL to the http(s) address of "
                    "the keys."
                )
            return TokenAuthenticator(
                KeySet(over_http(options.jwks_url)).candidates,
                algorithms=("RS256", "ES256"),
                audience=options.audience,
                issuer=options.issuer,
            )
        case "disabled":
            if not _is_loopback(host):
                raise Permanent(
                    f"TASKLOOM_AUTH_MODE is disabled while listening on {host}: anyone there could "
                    "do anything. Listen on 127.0.0.1, or set it to jwt-secret or jwks."
                )
            return Everyone()
        case name:
            return _custom(name, options)


@dataclass(frozen=True, slots=True)
class Everyone:
    """Lets anyone do anything; only for a machine of one's own."""

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Return a caller with every permission."""
        return Principal(subject="local", permissions=frozenset({EVERYTHING}))


class TokenAuthenticator:
    """Verifies `Authorization: Bearer <JWT>`.

    `keys` gives the keys for a token's key id and algorithm.  Which algorithms are allowed is
    fixed here and never taken from the token, and secrets and public keys are never mixed.
    Verified tokens are remembered for up to a minute.
    """

    def __init__(
        self,
        keys: _Keys,
        *,
        algorithms: Sequence[str],
        audience: str | None = None,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._algorithms = tuple(algorithms)
        self._audience = audience
        self._issuer = issuer
        self._clock = clock
        self._verified: dict[str, tuple[Principal, float]] = {}

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Return whom the token speaks for."""
        token = bearer_token(headers.get("authorization"))
        now = self._clock()
        known = self._verified.get(token)
        if known is not None and now < known[1]:
            return known[0]
        claims = await self._verify(token)
        principal, until = judge_claims(
            claims, now=now, audience=self._audience, issuer=self._issuer
        )
        if len(self._verified) >= _CACHED_TOKENS:
            self._verified.clear()
        self._verified[token] = (principal, min(until, now + _CACHED_SECONDS))
        return principal

    async def _verify(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError) as exc:
            raise Unauthenticated("The bearer token is no JWT.") from exc
        algorithm = header.get("alg")
        if algorithm not in self._algorithms:
            raise Unauthenticated(f"The token must be signed with {' or '.join(self._algorithms)}.")
        key_id = header.get("kid")
        keys = await self._keys(key_id if isinstance(key_id, str) else None, algorithm)
        for key in keys:
            try:
                return jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
            except jwt.InvalidSignatureError:
                continue
            except (PyJWTError, ValueError, RecursionError) as exc:
                raise Unauthenticated("The token cannot be verified.") from exc
        raise Unauthenticated("The token's signature is not by a key that is known here.")


# times, audience and issuer are judged by judge_claims, which can be given a clock
_SIGNATURE_ONLY: Any = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def bearer_token(authorization: str | None) -> str:
    """Take the token out of an Authorization header; raises `Unauthenticated` if there is none."""
    if not authorization:
        raise Unauthenticated("Send a token: Authorization: Bearer <token>.")
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The Authorization header must read: Bearer <token>.")
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise Unauthenticated("The bearer token is no JWT.")
    return token


def _shared_secret(secret: str | None) -> _Keys:
    if secret is None or len(secret.encode()) < MIN_SECRET_BYTES:
        raise Permanent(
            "TASKLOOM_AUTH_MODE is jwt-secret: set TASKLOOM_JWT_SECRET to at least "
            f"{MIN_SECRET_BYTES} bytes, such as the output of: openssl rand -hex 32"
        )
    if secret.lstrip().startswith("-----BEGIN"):
        raise Permanent(
            "TASKLOOM_JWT_SECRET holds a PEM key: set TASKLOOM_AUTH_MODE to jwks for public keys."
        )

    async def keys(_key_id: str | None, _algorithm: str) -> Sequence[str]:
        return (secret,)

    return keys


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _custom(name: str, options: AuthOptions) -> Authenticator:
    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == name]
    if not found:
        known = sorted(
            {"jwt-secret", "jwks", "disabled"}
            | {entry.name for entry in entry_points(group=ENTRY_POINTS)}
        )
        raise Permanent(f"There is no TASKLOOM_AUTH_MODE {name!r}; there are: {', '.join(known)}.")
    make: Callable[[AuthOptions], Authenticator] = found[0].load()
    return make(options)
