"""What bounds a caller's query, and keys fetched over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from taskloom.api.jwks import over_http
from taskloom.errors import Invalid
from taskloom.store import filters
from taskloom.store.database import Database
from taskloom.store.filters import query_bounds


async def test_a_query_that_takes_too_long_is_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL stops it, and the caller is told to narrow it."""
    monkeypatch.setattr(filters, "MAX_SECONDS", 1)

    with pytest.raises(Invalid, match="too long"):
        async with database.begin() as tx, query_bounds(tx.connection):
            await tx.connection.exec_driver_sql("SELECT pg_sleep(60)")


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Serve one answer at an address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/keys"


async def test_keys_are_fetched() -> None:
    """The body comes as it is."""
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as url:
        assert await over_http(url)() == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
        b"nonsense",
    ],
)
async def test_an_answer_that_is_no_success_is_an_error(answer: bytes) -> None:
    """Errors, redirects and broken answers give no keys."""
    async with answering(answer) as url:
        with pytest.raises(httpx.HTTPError):
            await over_http(url)()


async def test_a_key_document_is_bounded() -> None:
    """More than a mebibyte is not read."""
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b" " * 2_000_000
    async with answering(body) as url:
        with pytest.raises(Invalid, match="1 MiB"):
            await over_http(url)()
