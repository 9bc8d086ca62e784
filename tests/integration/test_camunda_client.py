"""Calls to an engine elsewhere: tried again, authenticated, refused with what to do."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from taskloom.domain.secret import Secret
from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.connection import ClientCredentials, Connection
from taskloom.errors import Invalid, NotFound, Permanent, Temporary, Unavailable
from tests.real.kubernetes.pki import make_pki

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Engine:
    """An engine that answers by script; without one, with an empty object."""

    url: str = ""
    replies: list[web.Response | Reply] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    tokens: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note the request and give the next reply."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.path_qs, headers, body))
        reply = self.replies.pop(0) if self.replies else web.json_response({})
        return reply if isinstance(reply, web.Response) else await reply(request)

    async def hand_out(self, request: web.Request) -> web.Response:
        """Hand a token out, as an OAuth2 server does."""
        form = await request.post()
        self.requests.append(("TOKEN", str(form["grant_type"]), dict(request.headers), b""))
        if request.headers["authorization"] != f"Basic {base64.b64encode(b'me:s3cret').decode()}":
            return web.Response(status=401)
        self.tokens += 1
        return web.json_response({"access_token": f"token-{self.tokens}", "expires_in": 300})


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """Serve a scripted engine."""
    scripted = Engine()
    app = web.Application()
    app.router.add_post("/token", scripted.hand_out)
    app.router.add_route("*", "/engine-rest/{path:.*}", scripted.answer)
    async with TestServer(app) as server:
        scripted.url = str(server.make_url("/engine-rest/"))
        yield scripted


class Opened:
    """Opens clients whose pauses are noted, not made."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.pauses: list[float] = []

    async def __call__(self, connection: Connection) -> Client:
        """Open one."""
        return await self._stack.enter_async_context(Client(connection, pause=self._note))

    async def _note(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Open clients for one test."""
    async with AsyncExitStack() as stack:
        yield Opened(stack)


def problem(status: int, message: str, **more: Any) -> web.Response:
    """Answer as an engine that refuses."""
    return web.json_response({"type": "RestException", "message": message, **more}, status=status)


async def lose(request: web.Request) -> web.StreamResponse:
    """Take the request and cut the connection: it may have been carried out."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def test_silent_engine_is_asked_again_and_then_told_of(opened: Opened) -> None:
    """Six tries, with pauses that double; the message names the setting."""
    client = await opened(Connection(url="http://127.0.0.1:9/engine-rest"))
    with pytest.raises(
        Unavailable, match=r"does not answer \(Connection refused\): check TASKLOOM_ENGINE_URL"
    ):
        await client.get("/version")

    assert 5 == len(opened.pauses)
    for tried, pause in enumerate(opened.pauses):
        assert 0.05 * 2**tried <= pause <= 0.1 * 2**tried


async def test_engine_that_is_away_for_a_moment_costs_a_pause(
    engine: Engine, opened: Opened
) -> None:
    """A proxy that finds no engine behind it is asked again."""
    engine.replies = [web.Response(status=503, text="no server"), web.json_response([1])]
    client = await opened(Connection(url=engine.url))

    assert [1] == await client.get("/task")
    assert 1 == len(opened.pauses)
    assert "/engine-rest/task" == engine.requests[0][1]


@pytest.mark.parametrize(("again", "sent"), [(True, 2), (False, 1)])
async def test_lost_answer_is_asked_for_again_only_where_that_does_no_harm(
    engine: Engine, opened: Opened, *, again: bool, sent: int
) -> None:
    """Nobody knows whether a call whose answer was lost was carried out."""
    engine.replies = [lose, web.json_response({"id": "1"})]
    client = await opened(Connection(url=engine.url))
    if again:
        answer = await client.call("POST", "/x", json_body={}, again=again)
        assert {"id": "1"} == answer.body
    else:
        with pytest.raises(Unavailable):
            await client.call("POST", "/x", json_body={}, again=again)

    assert sent == len(engine.requests)


@pytest.mark.parametrize(
    "collision",
    [
        problem(500, "updated by another", type="OptimisticLockingException", code=1),
        problem(500, "deadlock", code=10_000),
    ],
)
async def test_what_the_engine_rolled_back_is_sent_again_in_any_case(
    engine: Engine, opened: Opened, collision: web.Response
) -> None:
    """Another call came between, so that nothing of ours was done."""
    engine.replies = [collision, web.json_response({"id": "1"})]
    client = await opened(Connection(url=engine.url))
    answer = await client.call("POST", "/x", json_body={}, again=False)

    assert {"id": "1"} == answer.body


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (problem(404, "no matching task"), NotFound),
        (problem(400, "bad request"), Invalid),
        (problem(500, "Unknown property used in expression: ${n}"), Invalid),
        (problem(500, "something with the disk"), Temporary),
    ],
)
async def test_refusals_say_what_happens_next(
    engine: Engine, opened: Opened, reply: web.Response, error: type[Exception]
) -> None:
    """What comes again each time is no temporary matter."""
    engine.replies = [reply]
    client = await opened(Connection(url=engine.url))
    with pytest.raises(error, match="The engine says: "):
        await client.get("/x")


async def test_user_and_token_are_sent(engine: Engine, opened: Opened) -> None:
    """By basic authentication, or as a bearer token."""
    await (await opened(Connection(url=engine.url, user="ann", password=Secret("p")))).get("/x")
    await (await opened(Connection(url=engine.url, token=Secret("abc")))).get("/x")

    sent = [headers.get("authorization") for _, _, headers, _ in engine.requests]
    assert [f"Basic {base64.b64encode(b'ann:p').decode()}", "Bearer abc"] == sent


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "check TASKLOOM_ENGINE_USER and TASKLOOM_ENGINE_PASSWORD"), (403, "that right")],
)
async def test_refused_user_is_told_with_the_settings(
    engine: Engine, opened: Opened, status: int, said: str
) -> None:
    """It is not asked again: only the settings, or the engine's, can mend it."""
    engine.replies = [problem(status, "no")]
    client = await opened(Connection(url=engine.url, user="ann", password=Secret("wrong")))
    with pytest.raises(Unavailable, match=said) as refused:
        await client.get("/x")

    assert "wrong" not in str(refused.value)
    assert 1 == len(engine.requests)


def oauth(engine: Engine, secret: str = "s3cret") -> Connection:
    """Connect by OAuth2."""
    return Connection(
        url=engine.url,
        oauth=ClientCredentials(
            token_url=engine.url.replace("/engine-rest/", "/token"),
            client_id="me",
            client_secret=Secret(secret),
        ),
    )


async def test_oauth_token_is_kept_and_renewed_when_refused(engine: Engine, opened: Opened) -> None:
    """One token serves many calls, side by side; a withdrawn one is fetched anew, once."""
    client = await opened(oauth(engine))
    await asyncio.gather(*(client.get("/x") for _ in range(5)))
    engine.replies = [problem(401, "expired")]
    await client.get("/x")

    sent = [
        headers.get("authorization") for verb, _, headers, _ in engine.requests if verb == "GET"
    ]
    assert ["Bearer token-1"] * 6 + ["Bearer token-2"] == sent
    assert 2 == engine.tokens


async def test_oauth_client_that_is_refused_is_told_with_the_settings(
    engine: Engine, opened: Opened
) -> None:
    """The token's server is named, the secret is not."""
    client = await opened(oauth(engine, secret="guessed"))
    with pytest.raises(Unavailable, match="TASKLOOM_ENGINE_OAUTH_CLIENT_SECRET") as refused:
        await client.get("/x")

    assert "guessed" not in str(refused.value)


async def test_engine_shows_and_asks_for_certificates(tmp_path: Path, opened: Opened) -> None:
    """With an authority of its own, and ours to be shown: both by files."""
    pki = make_pki(tmp_path, datetime.now(UTC), "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.authority)
    context.load_cert_chain(pki.server, pki.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    scripted = Engine()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    url = str(server.make_url("/"))
    shown = await opened(
        Connection(url=url, ca=pki.authority, certificate=pki.server, key=pki.server_key)
    )
    hidden = await opened(Connection(url=url, ca=pki.authority))
    strange = await opened(Connection(url=url))

    assert {} == await shown.get("/x")
    for client in (hidden, strange):
        with pytest.raises(Unavailable):
            await client.get("/x")
    await server.close()


async def test_file_that_is_no_certificate_is_told_with_its_setting(
    tmp_path: Path, opened: Opened
) -> None:
    """At the start, not at the first call."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(Permanent, match=r"TASKLOOM_ENGINE_CA: .*ca.pem cannot be used"):
        await opened(Connection(url="https://127.0.0.1:9", ca=tmp_path / "ca.pem"))


async def test_what_is_no_json_is_not_sent(engine: Engine, opened: Opened) -> None:
    """It is the caller's to mend."""
    client = await opened(Connection(url=engine.url))
    with pytest.raises(Invalid, match="cannot be given to the engine"):
        await client.ask("/x", {"n": float("nan")})

    assert [] == engine.requests


async def test_queries_are_written_as_the_engine_reads_them(engine: Engine, opened: Opened) -> None:
    """Truth in small letters, nothing for nothing, and no text that could be another parameter."""
    client = await opened(Connection(url=engine.url, tenant="t"))
    await client.get("/x", flag=True, none=None, text="a&b=c ü")
    await client.ask("/y", client.of_tenant({"n": 1}))

    assert "/engine-rest/x?flag=true&text=a%26b%3Dc%20%C3%BC" == engine.requests[0][1]
    assert {"n": 1, "tenantIdIn": ["t"]} == json.loads(engine.requests[1][3])


async def test_long_answer_is_read_to_its_end(engine: Engine, opened: Opened) -> None:
    """It comes in many pieces, with pauses between."""
    entries = [{"id": str(number), "text": "x" * 1000} for number in range(2000)]

    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        text = json.dumps(entries).encode()
        for start in range(0, len(text), 100_000):
            await response.write(text[start : start + 100_000])
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    engine.replies = [in_pieces]
    client = await opened(Connection(url=engine.url))

    assert entries == await client.get("/task")
