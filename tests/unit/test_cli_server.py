"""Answers of a server, and of what is none, as errors that say what to do."""

import httpx
import pytest

from taskloom.cli.server import Server
from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    TaskloomError,
    Unauthenticated,
    Unavailable,
)

URL = "http://tasks.example"


def _server(answer: httpx.Response | Exception) -> Server:
    def handle(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(handle))
    return Server(client, URL)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
async def test_a_problem_is_raised_as_its_error(status: int, kind: type[TaskloomError]) -> None:
    """The problem's own words are what people read."""
    answer = httpx.Response(status, json={"detail": "Mend it."})

    with pytest.raises(kind, match=r"^Mend it\.$"):
        await _server(answer).get("/events")


@pytest.mark.parametrize(
    "answer", [httpx.Response(404, text="<html>"), httpx.Response(200, text="hi")]
)
async def test_another_program_is_no_taskloom(answer: httpx.Response) -> None:
    """What does not answer as Taskloom does is called by its name."""
    with pytest.raises(Permanent, match="is not Taskloom"):
        await _server(answer).get("/events")


async def test_nobody_there_says_how_to_start() -> None:
    """No connection is no traceback."""
    with pytest.raises(Unavailable, match="taskloom serve"):
        await _server(httpx.ConnectError("refused")).get("/events")


async def test_a_query_is_json_where_it_is_no_text() -> None:
    """Filters go out as JSON, names as they are, and what is None not at all."""
    asked: list[httpx.URL] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json=[])

    client = httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(handle))
    await Server(client, URL).get("/x", kind="Workflow", name=None, filter={"limit": 1})

    assert {"kind": "Workflow", "filter": '{"limit": 1}'} == dict(asked[0].params)


async def test_no_content_is_none() -> None:
    """204 has nothing to give."""
    assert await _server(httpx.Response(204)).post("/events/trigger", b"{}") is None
