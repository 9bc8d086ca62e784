"""Sends requests with aiohttp, and outlives whatever the other side makes of them."""

import asyncio
import io
import time
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from taskloom.delivery.egress import RefusedAddress, ThreadResolver, guarded_connector
from taskloom.delivery.failure import explain_failure
from taskloom.delivery.tls import TlsContexts
from taskloom.domain.egress import EgressPolicy, decide_host
from taskloom.ports.sender import (
    MOST_BODY_KEPT,
    MOST_BODY_READ,
    Answer,
    Failure,
    OutgoingRequest,
    SendResult,
)

_LARGE_BODY: Final = 1024 * 1024  # beyond this aiohttp wants a stream
_LONGEST_HEADER: Final = 1024  # characters kept of an answer's header


class AiohttpSender:
    """A `Sender` on keep-alive connections; use it as an async context manager or `close` it.

    Connections are pooled by policy, so none that one policy let through serves another.
    """

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadResolver()
        self._sessions: dict[EgressPolicy, aiohttp.ClientSession] = {}
        self._tls = TlsContexts()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; what is under way fails."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()
        await self._resolver.close()

    async def send(self, request: OutgoingRequest) -> SendResult:
        """POST `request` once; raises nothing for whatever the remote side does."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(request.timeout_total):
                status, headers, body = await self._post(request)
        except Exception as error:  # noqa: BLE001 - whatever a stranger provokes is a result
            failing, message = explain_failure(error, request)
            return Failure(error=failing, message=message, elapsed_ms=_since(started))
        return Answer(status=status, headers=headers, body=body, elapsed_ms=_since(started))

    async def _post(self, request: OutgoingRequest) -> tuple[int, dict[str, str], bytes]:
        context = await self._tls.get(request.tls)
        is_large = len(request.body) > _LARGE_BODY
        async with self._session(request.policy).post(
            _checked_url(request.url),
            data=io.BytesIO(request.body) if is_large else request.body,
            headers=request.headers,
            allow_redirects=False,
            ssl=context,
            timeout=aiohttp.ClientTimeout(total=None, connect=request.timeout_connect),
        ) as response:
            body = await _read_start(response)
            return response.status, _read_headers(response), body

    def _session(self, policy: EgressPolicy) -> aiohttp.ClientSession:
        session = self._sessions.get(policy)
        if session is None:
            session = aiohttp.ClientSession(
                connector=guarded_connector(policy, self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"accept": "*/*", "accept-encoding": "identity"},
            )
            self._sessions[policy] = session
        return session


def _checked_url(text: str) -> URL:
    url = URL(text)
    decision = decide_host(url.host or "")
    if not decision.allowed:
        raise RefusedAddress(decision.reason)
    return url


async def _read_start(response: aiohttp.ClientResponse) -> bytes:
    """Read to the end or to the limit, keep the start; an endless body is cut off."""
    kept = bytearray()
    read = 0
    async for chunk in response.content.iter_any():
        kept += chunk[: MOST_BODY_KEPT - len(kept)]
        read += len(chunk)
        if read >= MOST_BODY_READ:
            response.close()
            break
    return bytes(kept)


def _read_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.raw_headers:
        name = raw_name.decode("ascii", "replace").lower()
        value = raw_value.decode("utf-8", "replace").replace("\x00", "\ufffd")
        joined = f"{headers[name]}, {value}" if name in headers else value
        headers[name] = joined[:_LONGEST_HEADER]
    return headers


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
