"""What an operator meets: a database that goes away, a server that is told to stop."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port

Serve = Callable[[Path], Awaitable[tuple[ServedTaskloom, httpx.AsyncClient]]]
EVENTS = 60
OUTAGE_SECONDS = float(os.environ.get("TASKLOOM_OUTAGE_SECONDS", "3"))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run a PostgreSQL that Taskloom is given the URL of."""
    server = EmbeddedPostgres(tmp_path / "database", {"shared_buffers": "16MB"})
    await server.start()
    yield server
    await server.stop()


async def post_until_taken(client: httpx.AsyncClient, number: int) -> list[httpx.Response]:
    """Post an event until it is taken; give every answer."""
    event = {"key": "crash.test", "payload": {"number": number}, "source": "test"}
    answers: list[httpx.Response] = []
    while True:
        answer = await client.post(
            "/events/trigger", json=event, headers={"idempotency-key": f"event-{number}"}
        )
        answers.append(answer)
        if answer.status_code == 204:
            return answers
        await asyncio.sleep(0.2)


async def serve_on(
    database: EmbeddedPostgres, files: Path, folder: Path
) -> tuple[ServedTaskloom, httpx.AsyncClient]:
    """Serve on a given database."""
    server = ServedTaskloom(
        files=files,
        data_dir=folder / "data",
        port=free_port(),
        settings={"TASKLOOM_DATABASE_URL": database.url.replace("+psycopg", "")},
    )
    await server.start()
    client = httpx.AsyncClient(base_url=server.url, headers=server.authorization, timeout=30)
    await server.wait_until_ready(client)
    return server, client


@pytest.mark.slow
async def test_an_outage_of_the_database_under_load(
    tmp_path: Path, files: Path, receiver: Receiver, database: EmbeddedPostgres
) -> None:
    """Meanwhile callers are told to come again; afterwards all goes on by itself, in seconds."""
    server, client = await serve_on(database, files, tmp_path)

    async def post_one_after_another(first: int) -> list[httpx.Response]:
        answers = []
        for number in range(first, EVENTS, 4):
            answers += await post_until_taken(client, number)
            await asyncio.sleep(0.02)
        return answers

    posting = [asyncio.create_task(post_one_after_another(first)) for first in range(4)]
    await asyncio.sleep(0.3)
    await database.stop()
    await asyncio.sleep(OUTAGE_SECONDS)
    await database.start()
    answers = [answer for each in await asyncio.gather(*posting) for answer in each]
    await receiver.wait_for(EVENTS, seconds=15)

    refused = [answer for answer in answers if answer.status_code != 204]
    assert refused
    assert {503} == {answer.status_code for answer in refused}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {"application/problem+json"} == {answer.headers["content-type"] for answer in refused}
    assert 2 * EVENTS == (await client.get("/tasks/count")).json()["count"]
    await client.aclose()
    assert 0 == await server.stop()
    log = server.log_path.read_text()
    assert "Traceback" not in log
    assert log.count("\n") < 60 * (OUTAGE_SECONDS + 1)


@pytest.mark.slow
async def test_a_killed_database_of_our_own_comes_back(
    tmp_path: Path, files: Path, receiver: Receiver, serve: Serve
) -> None:
    """The embedded PostgreSQL is started again meanwhile, and nothing accepted is lost."""
    server, client = await serve(files)
    for number in range(5):
        await post_until_taken(client, number)
    pid_file = tmp_path / "data" / "postgres" / "data" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    async with asyncio.timeout(15):
        for number in range(5, 10):
            await post_until_taken(client, number)
    await receiver.wait_for(10, seconds=45)  # a claim whose answer was lost waits for its lease

    assert 20 == (await client.get("/tasks/count")).json()["count"]
    assert 0 == await server.stop()
    assert "postgres.started-again" in server.log_path.read_text()


@pytest.mark.slow
async def test_a_stop_with_work_in_flight_loses_nothing(
    files: Path, receiver: Receiver, serve: Serve
) -> None:
    """SIGTERM drains and ends with status 0; what was accepted is done by the next life."""
    server, client = await serve(files)
    await asyncio.gather(*(post_until_taken(client, number) for number in range(EVENTS)))

    assert 0 == await server.stop()

    _, client = await serve(files)
    await receiver.wait_for(EVENTS, seconds=20)
    assert 2 * EVENTS == (await client.get("/tasks/count")).json()["count"]
    assert {1} == set(receiver.times.values())


@pytest.mark.slow
async def test_an_idle_connection_is_left_to_the_client_to_close(files: Path, serve: Serve) -> None:
    """A connection still answers after the five seconds that clients often keep it idle."""
    server, _ = await serve(files)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":")[-1]))
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    writer.write(request)
    first = await reader.readuntil(b"\r\n\r\n")
    with pytest.raises(TimeoutError):  # nothing more comes, not even an end
        await asyncio.wait_for(reader.readuntil(b"HTTP/1.1"), 6)
    writer.write(request)
    second = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert first.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 200" in second


@pytest.mark.slow
async def test_what_is_no_http_is_answered_like_any_error(files: Path, serve: Serve) -> None:
    """Garbage and a URL without end get a problem too; requests sent at once their answers."""
    server, client = await serve(files)
    port = int(server.url.rsplit(":")[-1])

    async def exchange(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return answer

    garbage = await exchange(b"\x16\x03\x01 hello\r\n\r\n")
    endless = await exchange(
        b"GET /tasks?filter=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    pipelined = await exchange(
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    head = await client.head("/healthz")

    for answer in (garbage, endless):
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in answer
    assert 1 == pipelined.count(b"HTTP/1.1 200 ")
    assert 1 == pipelined.count(b"HTTP/1.1 404 ")
    assert (200, b"") == (head.status_code, head.content)
