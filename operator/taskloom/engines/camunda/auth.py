"""How the engine knows us: not at all, by a password, by a token, by OAuth2; by TLS besides."""

import asyncio
import base64
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp

from taskloom.engines.camunda.connection import ClientCredentials, Connection
from taskloom.errors import Permanent, Unavailable

_EARLY = 30.0  # a token is fetched anew so many seconds before it ends
_SHORTEST = 5.0
_PATIENCE = aiohttp.ClientTimeout(total=10)


class Auth(Protocol):
    """Makes the headers that say who calls."""

    async def headers(self, session: aiohttp.ClientSession) -> Mapping[str, str]:
        """Give the headers for one call."""
        ...

    def renew(self) -> bool:
        """Drop what the engine has refused; tell whether another try can go otherwise."""
        ...


class Fixed:
    """The same header each time, or none."""

    def __init__(self, header: str | None = None) -> None:
        self._headers = {} if header is None else {"authorization": header}

    async def headers(self, session: aiohttp.ClientSession) -> Mapping[str, str]:
        """Give the header."""
        return self._headers

    def renew(self) -> bool:
        """Have nothing else to offer."""
        return False


class OAuth:
    """A token of the OAuth2 grant "client credentials", kept until shortly before it ends."""

    def __init__(
        self, credentials: ClientCredentials, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._token: str | None = None
        self._ends = 0.0
        self._fetching = asyncio.Lock()

    async def headers(self, session: aiohttp.ClientSession) -> Mapping[str, str]:
        """Give the token, fetching one if there is none."""
        async with self._fetching:  # one of those who wait fetches it for all
            if self._token is None or self._clock() >= self._ends:
                self._token, lasts = await self._fetch(session)
                self._ends = self._clock() + max(_SHORTEST, lasts - _EARLY)
            return {"authorization": f"Bearer {self._token}"}

    def renew(self) -> bool:
        """Forget the token: it was withdrawn."""
        had = self._token is not None
        self._token = None
        return had

    async def _fetch(self, session: aiohttp.ClientSession) -> tuple[str, float]:
        given = self._credentials
        form = {"grant_type": "client_credentials"}
        if given.scope:
            form["scope"] = given.scope
        try:
            async with session.post(
                given.token_url,
                data=form,
                headers={"authorization": basic(given.client_id, given.client_secret.reveal())},
                timeout=_PATIENCE,
                allow_redirects=False,
            ) as response:
                if response.status in {400, 401, 403}:
                    raise Unavailable(
                        f"{given.token_url} gives the engine's client no token "
                        f"({response.status}): check TASKLOOM_ENGINE_OAUTH_CLIENT_ID, "
                        "TASKLOOM_ENGINE_OAUTH_CLIENT_SECRET and TASKLOOM_ENGINE_OAUTH_SCOPE."
                    )
                response.raise_for_status()
                answer = await response.json(content_type=None)
                return str(answer["access_token"]), float(answer.get("expires_in", 60))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError) as exc:
            raise Unavailable(
                f"{given.token_url} gave no token for the engine ({type(exc).__name__}): "
                "check TASKLOOM_ENGINE_OAUTH_TOKEN_URL."
            ) from exc


def make_auth(connection: Connection) -> Auth:
    """Choose by what is given."""
    if connection.oauth is not None:
        return OAuth(connection.oauth)
    if connection.token is not None:
        return Fixed(f"Bearer {connection.token.reveal()}")
    if connection.user is not None:
        password = "" if connection.password is None else connection.password.reveal()
        return Fixed(basic(connection.user, password))
    return Fixed()


def basic(user: str, password: str) -> str:
    """Make the header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def make_tls(connection: Connection) -> ssl.SSLContext | None:
    """Make the context for authorities or a certificate of our own; None for the usual one.

    Raises `Permanent` naming the setting whose file cannot be used.
    """
    if connection.ca is None and connection.certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=connection.ca)
    except OSError as exc:  # ssl.SSLError is one
        raise Permanent(f"TASKLOOM_ENGINE_CA: {connection.ca} cannot be used: {exc}.") from exc
    if connection.certificate is not None:
        try:
            context.load_cert_chain(connection.certificate, connection.key)
        except OSError as exc:
            raise Permanent(
                f"TASKLOOM_ENGINE_CERTIFICATE: {connection.certificate} cannot be used, with the "
                f"key of TASKLOOM_ENGINE_KEY: {exc}."
            ) from exc
    return context
