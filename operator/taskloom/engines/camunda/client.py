"""Calls the engine's REST API: one session, a few connections, tries again what may be repeated."""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from taskloom.engines.camunda.auth import make_auth, make_tls
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.refusals import Answer, is_collision, refusal
from taskloom.errors import Invalid, Unavailable

_CONNECTIONS = 20
_CONNECT_SECONDS = 5.0
_PATIENCE = 30.0
_TRIES = 6
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_AWAY = frozenset({429, 502, 503, 504})
PAGE = 1_000
"""How many entries are asked for at once."""

_MOST = 32 * 1024 * 1024


class _NotSent(Exception):
    """The engine was not reached at all, so that nothing can have happened."""


class Client:
    """The REST API of one engine; use it within ``async with``.

    `calls` counts what was sent.  A call whose answer is lost is sent again if `again` says that
    this does no harm: 6 tries in some 3 seconds.  A call that never left, and one that the engine
    rolled back as another came between, are always sent again.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        tries: int = _TRIES,
    ) -> None:
        self.tenant = connection.tenant
        self.calls = 0
        self._base = connection.url.rstrip("/")
        self._connection = connection
        self._auth = make_auth(connection)
        self._pause = pause
        self._tries = tries
        self._session: aiohttp.ClientSession | None = None
        self._engine_time: datetime | None = None

    async def __aenter__(self) -> Self:
        """Open the session; nothing is sent yet."""
        tls = await asyncio.to_thread(make_tls, self._connection)
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS, keepalive_timeout=15, ssl=True if tls is None else tls
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept": "application/json"},
        )
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def of_tenant(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Narrow a posted query down to our tenant, if there is one."""
        return {**query, **({} if self.tenant is None else {"tenantIdIn": [self.tenant]})}

    async def get(self, path: str, **query: object) -> Any:
        """Read something; `NotFound` if it is not there."""
        return await self.demand("GET", path, query=query)

    async def ask(self, path: str, body: Mapping[str, Any], **query: object) -> Any:
        """Read something by a query that is posted, as the long ones are."""
        return await self.demand("POST", path, json_body=body, query=query)

    async def every(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read all that a posted query finds, page by page, as an engine may limit what it gives.

        The query has to say in which order.
        """
        entries: list[dict[str, Any]] = []
        while True:
            page = await self.ask(path, query, firstResult=len(entries), maxResults=PAGE)
            entries += page
            if len(page) < PAGE:
                return entries

    async def demand(self, method: str, path: str, **options: Any) -> Any:
        """Call, and give the body of the answer; raises what a refusal means."""
        answer = await self.call(method, path, **options)
        if not answer.ok:
            raise refusal(answer)
        return answer.body

    async def call(
        self,
        method: str,
        path: str,
        *,
        json_body: Mapping[str, Any] | None = None,
        form: Callable[[], aiohttp.FormData] | None = None,
        query: Mapping[str, object] | None = None,
        again: bool = True,
        patience: float = _PATIENCE,
        tries: int | None = None,
    ) -> Answer:
        """Call, and give the answer, a refusal too; `Unavailable` if there is none worth having."""
        data = None if json_body is None else _dump(json_body)
        url = URL(self._base + path + _query(query or {}), encoded=True)
        most = tries or self._tries
        for tried in range(1, most + 1):
            last = tried == most
            try:
                answer = await self._once(method, url, data, form, patience)
            except (_NotSent, aiohttp.ClientError, TimeoutError, OSError) as exc:
                if last or not (again or isinstance(exc, _NotSent)):
                    raise self._silent(exc.__cause__ or exc) from exc
            else:
                if not self._may_pass(answer, again=again):
                    return answer
                if last:
                    raise Unavailable(f"The engine at {self._base} says: {answer.message}")
            await self._pause(_pause_after(tried))
        raise AssertionError("the last try returns or raises")

    def _may_pass(self, answer: Answer, *, again: bool) -> bool:
        """Tell whether another try may be answered otherwise; raises where only we can mend it."""
        if answer.status == 401 and self._auth.renew():
            return True
        if answer.status in {401, 403}:
            raise _refused(answer)
        if answer.status in _AWAY and not again:
            raise Unavailable(f"The engine at {self._base} says: {answer.message}")
        return answer.status in _AWAY or is_collision(answer)

    def now(self) -> datetime | None:
        """Tell the engine's time as its answers tell it, to the second; None before the first."""
        return self._engine_time

    async def _once(
        self,
        method: str,
        url: URL,
        data: bytes | None,
        form: Callable[[], aiohttp.FormData] | None,
        patience: float,
    ) -> Answer:
        assert self._session is not None, "used within `async with`"
        headers = dict(await self._auth.headers(self._session))
        if data is not None:
            headers["content-type"] = "application/json"
        self.calls += 1
        async with self._sending(
            method,
            url,
            data=form() if form is not None else data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=patience, sock_connect=_CONNECT_SECONDS),
            allow_redirects=False,
        ) as response:
            self._note_time(response.headers.get("date"))
            text = await _read(response)
            return Answer(status=response.status, body=_load(text, response))

    @contextlib.asynccontextmanager
    async def _sending(
        self, method: str, url: URL, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        try:
            request = await self._session.request(method, url, **options)
        except aiohttp.ClientConnectorError as exc:
            raise _NotSent from exc
        async with request as response:
            yield response

    def _note_time(self, date: str | None) -> None:
        if date is not None:
            with contextlib.suppress(ValueError):
                self._engine_time = parsedate_to_datetime(date).astimezone(UTC)

    def _silent(self, cause: BaseException | None) -> Unavailable:
        return Unavailable(
            f"The engine at {self._base} does not answer ({_why(cause)}): "
            "check TASKLOOM_ENGINE_URL, and that it runs."
        )


def segment(text: str) -> str:
    """Write a text so that it is one segment of a path."""
    return quote(text, safe=":")


def _why(cause: BaseException | None) -> str:
    if isinstance(cause, TimeoutError):
        return "it took too long"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return str(cause) or type(cause).__name__


def _query(query: Mapping[str, object]) -> str:
    pairs = [
        f"{quote(name, safe='')}={quote(_text(value), safe='')}"
        for name, value in query.items()
        if value is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dump(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as exc:
        raise Invalid(f"This cannot be given to the engine: {exc}.") from exc


async def _read(response: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > _MOST:
            raise aiohttp.ClientPayloadError(f"its answer has more than {_MOST:,} bytes")
    return bytes(text)


def _load(text: bytes, response: aiohttp.ClientResponse) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        if response.status < 300 and response.content_type == "application/json":
            raise aiohttp.ClientPayloadError("its answer is no JSON") from None
        return {"message": text[:300].decode(errors="replace")}


def _refused(answer: Answer) -> Unavailable:
    if answer.status == 401:
        return Unavailable(
            "The engine does not know us (401): check TASKLOOM_ENGINE_USER and "
            "TASKLOOM_ENGINE_PASSWORD, TASKLOOM_ENGINE_TOKEN, or TASKLOOM_ENGINE_OAUTH_CLIENT_ID "
            "and TASKLOOM_ENGINE_OAUTH_CLIENT_SECRET."
        )
    return Unavailable(
        f"The engine does not let us do this (403): {answer.message} Give the user of "
        "TASKLOOM_ENGINE_USER (or of the token) that right, or another tenant by "
        "TASKLOOM_ENGINE_TENANT."
    )


def _pause_after(tried: int) -> float:
    """Give the seconds after a try: 0.1, 0.2, 0.4 …, at most 5, and up to half of it less."""
    whole: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tried - 1))
    return whole * random.uniform(0.5, 1)  # noqa: S311 - spreads load, keeps no secret
