"""What every `Sender` keeps to, the real one with real servers and the fake one with scripts."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import cast

import pytest
from aiohttp import web

from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import STANDALONE, EgressPolicy
from taskloom.ports.sender import (
    MOST_BODY_KEPT,
    Answer,
    ErrorClass,
    Failure,
    OutgoingRequest,
    Sender,
)
from taskloom.testing.sender import FakeSender


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What reached an endpoint."""

    headers: Mapping[str, str]
    body: bytes


class Stage(ABC):
    """A sender and the endpoints it can call."""

    sender: Sender

    @abstractmethod
    async def endpoint(
        self, status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> str:
        """Set up an endpoint that always answers so; give its URL."""

    @abstractmethod
    async def received(self) -> list[Received]:
        """Tell what reached the endpoints."""


class FakeStage(Stage):
    """The fake sender."""

    def __init__(self) -> None:
        self.sender = FakeSender()

    async def endpoint(
        self, status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> str:
        """Script the answer."""
        url = f"http://127.0.0.1/{status}"
        fake = cast("FakeSender", self.sender)
        fake.script(url, Answer(status=status, headers=headers or {}, body=body, elapsed_ms=3))
        return url

    async def received(self) -> list[Received]:
        """Take what the fake remembers."""
        fake = cast("FakeSender", self.sender)
        return [Received(headers=sent.headers, body=sent.body) for sent in fake.requests]


class RealStage(Stage):
    """The sender on aiohttp and servers on this machine."""

    def __init__(self, sender: AiohttpSender, resources: AsyncExitStack) -> None:
        self.sender = sender
        self._resources = resources
        self._received: list[Received] = []

    async def endpoint(
        self, status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> str:
        """Start a server."""

        async def answer(request: web.Request) -> web.Response:
            self._received.append(Received(headers=request.headers, body=await request.read()))
            return web.Response(status=status, headers=headers, body=body)

        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.router.add_post("/hook", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        self._resources.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/hook"

    async def received(self) -> list[Received]:
        """Take what the servers saw."""
        return self._received


@pytest.fixture(params=["fake", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Give each implementation in turn."""
    if request.param == "fake":
        yield FakeStage()
        return
    async with AsyncExitStack() as resources:
        sender = await resources.enter_async_context(AiohttpSender())
        yield RealStage(sender, resources)


def post(
    url: str,
    body: bytes = b"{}",
    *,
    headers: Mapping[str, str] | None = None,
    policy: EgressPolicy = STANDALONE,
) -> OutgoingRequest:
    """Make a request."""
    return OutgoingRequest(url=url, headers=headers or {}, body=body, policy=policy)


async def test_the_request_arrives_as_it_is(stage: Stage) -> None:
    """Body and headers reach the endpoint byte for byte."""
    url = await stage.endpoint(204)
    body = '{"é":"\u2028"}'.encode() + b" " * 2_000_000
    await stage.sender.send(post(url, body, headers={"x-task-timestamp": "1", "x-team": "blå"}))
    [received] = await stage.received()

    assert body == received.body
    assert received.headers["x-task-timestamp"] == "1"
    assert received.headers["x-team"] == "blå"


@pytest.mark.parametrize("status", [200, 204, 301, 404, 410, 429, 500])
async def test_every_status_is_an_answer(stage: Stage, status: int) -> None:
    """The sender reports statuses; what they mean is not its business."""
    result = await stage.sender.send(post(await stage.endpoint(status)))

    assert isinstance(result, Answer)
    assert status == result.status
    assert result.elapsed_ms >= 0


async def test_header_names_of_answers_are_lower_case(stage: Stage) -> None:
    """Whoever reads an answer need not care how a name was spelt."""
    url = await stage.endpoint(503, headers={"Retry-After": "7", "Webhook-Delivery": "disable"})
    result = await stage.sender.send(post(url))

    assert isinstance(result, Answer)
    assert result.headers["retry-after"] == "7"
    assert result.headers["webhook-delivery"] == "disable"


async def test_the_start_of_the_body_is_kept(stage: Stage) -> None:
    """A short body is kept whole, of a long one the first 16 KiB."""
    short = await stage.sender.send(post(await stage.endpoint(200, body=b"ok \xff")))
    long = await stage.sender.send(post(await stage.endpoint(500, body=b"x" * 60_000)))

    assert isinstance(short, Answer)
    assert isinstance(long, Answer)
    assert short.body == b"ok \xff"
    assert long.body == b"x" * MOST_BODY_KEPT


async def test_redirects_are_not_followed(stage: Stage) -> None:
    """A redirect is the answer; nothing is sent where it points."""
    elsewhere = await stage.endpoint(200)
    url = await stage.endpoint(307, headers={"Location": elsewhere})
    result = await stage.sender.send(post(url))

    assert isinstance(result, Answer)
    assert result.status == 307
    assert len(await stage.received()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://2852039166/",
        "http://0xa9.254.43518/",
        "http://metadata.google.internal/",
    ],
)
async def test_refused_addresses_are_not_called(stage: Stage, url: str) -> None:
    """What no policy allows is a failure of its own class, however it is written."""
    result = await stage.sender.send(post(url))

    assert isinstance(result, Failure)
    assert result.error is ErrorClass.REFUSED_BY_POLICY
    assert await stage.received() == []


async def test_each_request_has_its_own_policy(stage: Stage) -> None:
    """A connection that one policy let through does not serve a stricter one."""
    url = await stage.endpoint(204)
    allowed = await stage.sender.send(post(url))
    refused = await stage.sender.send(post(url, policy=EgressPolicy()))

    assert isinstance(allowed, Answer)
    assert isinstance(refused, Failure)
    assert refused.error is ErrorClass.REFUSED_BY_POLICY
    assert "127.0.0.1 is loopback" in refused.message
    assert len(await stage.received()) == 1
