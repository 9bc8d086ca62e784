"""Tokens for OAUTHBEARER, by OAuth 2.0 client credentials (RFC 6749 section 4.4)."""

import asyncio
import base64
import time

import aiohttp
from aiokafka.abc import AbstractTokenProvider

from taskloom.domain.secret import Secret

_EARLY = 30.0
"""Seconds before its end from which a token is not used any more."""
_LIFETIME = 300.0
"""Seconds that a token is taken to be good if its giver does not say."""


class TokenRefused(Exception):
    """The token endpoint does not give us a token."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Asks a token endpoint when a token is needed, and keeps it while it is good."""

    def __init__(
        self, *, endpoint: str, client_id: Secret, client_secret: Secret, scope: str | None
    ) -> None:
        self._endpoint = endpoint
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._token: str | None = None
        self._good_until = 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Give a token that is good now.

        Raises `TokenRefused` if the endpoint refuses, `OSError` if it cannot be reached.
        """
        async with self._asking:
            if self._token is None or time.monotonic() >= self._good_until:
                self._token, lifetime = await self._ask()
                self._good_until = time.monotonic() + lifetime - min(_EARLY, lifetime / 2)
            return self._token

    async def _ask(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"}
        if self._scope is not None:
            form["scope"] = self._scope
        pair = f"{self._client_id.reveal()}:{self._client_secret.reveal()}"
        headers = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(self._endpoint, data=form, allow_redirects=False) as answer,
            ):
                if answer.status >= 500:
                    raise OSError(f"the token endpoint answers {answer.status}")
                if answer.status != 200:
                    raise TokenRefused(f"the token endpoint answers {answer.status}")
                said = await answer.json(content_type=None)
        except aiohttp.ClientError as error:
            raise OSError(
                f"the token endpoint cannot be reached: {type(error).__name__}"
            ) from error
        token = said.get("access_token") if isinstance(said, dict) else None
        if not isinstance(token, str) or not token:
            raise TokenRefused("the token endpoint's answer holds no access_token")
        lifetime = said.get("expires_in")
        return token, float(lifetime) if isinstance(lifetime, int | float) else _LIFETIME
