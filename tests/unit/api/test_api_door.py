"""Who is let in, in which form errors are told, and what the door says of itself."""

import json
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
import pytest
from starlette.types import ASGIApp, Message

from taskloom.api.app import make_api
from taskloom.domain.events import NewEvent
from taskloom.errors import Conflict, Permanent, Unavailable

SECRET = "0123456789abcdef0123456789abcdef"
ID = "0199a3c0-5d2e-7cc4-9f0a-3b2f6d1e8a77"


class Calls(Protocol):
    """Makes clients of the door."""

    def __call__(self, *permissions: str, token: str | None = None) -> httpx.AsyncClient:
        """Make a client."""
        ...


class Taken(Protocol):
    """Where events go."""

    events: list[NewEvent]
    error: Exception | None


class NoDatabase(Protocol):
    """A database that fails."""

    error: Exception


# every call, and the codes that let it through
NEEDS = [
    ("POST", "/events/trigger", ["16007"]),
    ("GET", "/events", ["16002"]),
    ("GET", "/events/count", ["16002"]),
    ("GET", f"/events/{ID}", ["16002"]),
    ("GET", f"/events/{ID}/trace", ["16002"]),
    ("GET", "/dead-letters", ["16002"]),
    ("GET", "/dead-letters/count", ["16002"]),
    ("GET", f"/dead-letters/{ID}", ["16002"]),
    ("POST", "/dead-letters/replay", ["16007"]),
    ("POST", f"/dead-letters/{ID}/replay", ["16007"]),
    ("POST", f"/dead-letters/{ID}/discard", ["16007"]),
    ("POST", "/deliveries/replay", ["16010"]),
    ("POST", "/explain", ["16002"]),
    ("POST", f"/events/{ID}/retry", ["16007"]),
    ("POST", "/events/mapping", ["16006"]),
    ("GET", "/tasks", ["16003"]),
    ("GET", "/tasks/count", ["16003"]),
    ("GET", f"/tasks/{ID}", ["16003"]),
    ("POST", "/tasks/mapping", ["16006"]),
    ("PATCH", f"/tasks/{ID}", ["16011"]),
    ("PATCH", "/tasks", ["16011"]),
    ("DELETE", f"/tasks/{ID}", ["16008"]),
    ("DELETE", "/tasks", ["16008"]),
    ("GET", f"/tasks/{ID}/user-tasks", ["16004"]),
    ("GET", f"/tasks/{ID}/user-tasks/count", ["16004"]),
    ("GET", f"/tasks/{ID}/user-tasks/{ID}", ["16004"]),
    ("PATCH", f"/tasks/{ID}/user-tasks/{ID}/complete", ["16005"]),
    ("DELETE", f"/tasks/{ID}/user-tasks/{ID}", ["16009"]),
    ("DELETE", f"/tasks/{ID}/user-tasks", ["16009"]),
    ("POST", "/client-app", ["16001"]),
    ("POST", "/client-apps", ["16001"]),
    ("POST", "/webhooks/subscribe", ["16010"]),
    ("GET", "/workflows", ["ViewWorkflow", "1"]),
    ("GET", "/workflows/count", ["ViewWorkflow", "1"]),
    ("GET", f"/workflows/{ID}", ["ViewWorkflow", "1"]),
    ("POST", "/workflows", ["CreateWorkflow", "2"]),
    ("PATCH", f"/workflows/{ID}", ["UpdateWorkflow", "3"]),
    ("POST", f"/workflows/{ID}/execute", ["ExecuteWorkflow", "5"]),
    ("DELETE", f"/workflows/{ID}", ["DeleteWorkflow", "4"]),
    ("DELETE", f"/workflows/{ID}/version/1", ["DeleteWorkflow", "4"]),
    ("GET", "/resources", ["ViewResource"]),
]


@pytest.mark.parametrize(("method", "path", "codes"), NEEDS)
async def test_a_call_needs_its_permission(
    calls: Calls, method: str, path: str, codes: list[str]
) -> None:
    """Without a token 401, with all the wrong permissions 403, with any of the right ones in.

    Both come before the body is looked at.
    """
    every = {code for _, _, needed in NEEDS for code in needed}
    content = "{" if method in {"POST", "PATCH"} else None
    headers = {"content-type": "text/plain"}

    without = await calls(token="").request(method, path, content=content, headers=headers)
    wrong = await calls(*(every - set(codes))).request(
        method, path, content=content, headers=headers
    )
    let_in = [
        (await calls(code).request(method, path, content=content, headers=headers)).status_code
        for code in [*codes, "*"]
    ]

    assert without.status_code == 401
    assert without.headers["www-authenticate"].startswith("Bearer")
    assert wrong.status_code == 403
    assert all(code in wrong.json()["detail"] for code in codes)
    assert not {401, 403} & set(let_in)


async def test_every_call_is_in_the_table_above() -> None:
    """A call that is added must say here what it needs."""
    described = {
        (method.upper(), path.format(**dict.fromkeys(["event_id", "letter_id", "task_id"], ID),
                                     user_task_id=ID, workflow_id=ID, version=1))
        for path, item in make_api().openapi()["paths"].items()
        for method, operation in item.items()
        if operation["security"]
    }  # fmt: skip

    assert described == {(method, path) for method, path, _ in NEEDS}


@pytest.mark.parametrize(
    "token",
    [
        "Bearer banana",
        "Basic YTpi",
        "Bearer " + jwt.encode({"permissions": ["*"]}, SECRET.upper()),
        "Bearer " + jwt.encode({"permissions": ["*"], "exp": 1}, SECRET),
    ],
)
@pytest.mark.parametrize("path", ["/events/trigger", "/explain"])
async def test_a_wrong_token_is_401(calls: Calls, token: str, path: str) -> None:
    """On the short way and on the long one."""
    answer = await calls(token=token).post(path, json={"key": "k"})

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/events/trigger", "/explain", "/workflows"])
async def test_a_body_of_two_mebibytes_is_413(client: httpx.AsyncClient, path: str) -> None:
    """A body over the limit is refused, whatever is in it."""
    answer = await client.post(path, json={"key": "a" * (2 << 20)})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "1,048,576" in answer.json()["detail"]


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "²"])
async def test_a_strange_content_length_does_no_harm(
    client: httpx.AsyncClient, length: str
) -> None:
    """What is announced is only believed if it is too much."""
    answer = await client.post(
        "/events/trigger",
        content=b'{"key":"k"}',
        headers={b"content-type": b"application/json", b"content-length": length.encode("latin-1")},
    )

    assert answer.status_code == (413 if length.startswith("9") else 204)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", 204),
        ("application/json; charset=utf-8", 204),
        ("Application/JSON;charset=UTF-8", 204),
        ("application/cloudevents+json", 204),
        ("text/plain", 415),
        ("text/json", 415),
        ("application/xml", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset*=x''%ff", 415),
        ("json", 415),
        ("", 415),
        (None, 415),
    ],
)
async def test_only_json_is_taken(
    client: httpx.AsyncClient, content_type: str | None, expected: int
) -> None:
    """Any other content type is 415, on the short way and on the long one."""
    headers = {} if content_type is None else {"content-type": content_type}
    short = await client.post("/events/trigger", content=b'{"key":"k"}', headers=headers)
    long = await client.post("/explain", content=b'{"key":"k"}', headers=headers)

    assert short.status_code == expected
    assert long.status_code == (503 if expected == 204 else 415)


@pytest.mark.parametrize(("encoding", "expected"), [("gzip", 415), ("br", 415), ("Identity", 204)])
async def test_no_encoded_body_is_taken(
    client: httpx.AsyncClient, encoding: str, expected: int
) -> None:
    """A compressed body is refused as such, not as broken JSON."""
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = await client.post("/events/trigger", content=b'{"key":"k"}', headers=headers)

    assert expected == answer.status_code


async def test_head_asks_what_get_would_answer(client: httpx.AsyncClient) -> None:
    """Load balancers and monitors ask for the health so."""
    answer = await client.head("/healthz")

    assert 200 == answer.status_code


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/tasks", "DELETE, GET, PATCH"),
        ("PUT", f"/tasks/{ID}", "DELETE, GET, PATCH"),
        ("GET", "/explain", "POST"),
        ("POST", "/events", "GET"),
        ("HEAD", "/explain", "POST"),
    ],
)
async def test_a_method_that_is_not_allowed_is_405(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """All the methods of the path are told, whichever route has them."""
    answer = await client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/", "/banana", "/tasks/", "/tasks/banana", "/events/banana", "/docs/../x", "/%00"]
)
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    """It says so as a problem, and redirects nowhere."""
    answer = await client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:taskloom:problem:not-found"


async def test_a_problem_says_what_to_do(client: httpx.AsyncClient) -> None:
    """Every member that RFC 9457 names is there."""
    expected = {
        "type": "urn:taskloom:problem:invalid",
        "title": "Bad Request",
        "status": 400,
        "detail": "key must be a non-empty string.",
        "instance": "/events/trigger",
        "errors": [{"field": "key", "detail": "key must be a non-empty string."}],
    }

    actual = (await client.post("/events/trigger", json={"key": ""})).json()

    assert expected == actual


@pytest.mark.parametrize("path", ["/events/trigger", "/explain"])
async def test_what_nobody_foresaw_is_told_by_number_only(
    client: httpx.AsyncClient, taken: Taken, nowhere: NoDatabase, path: str
) -> None:
    """An unexpected error answers 500 without a word of its text."""
    taken.error = nowhere.error = RuntimeError("password=hunter2")

    first = await client.post(path, json={"key": "k"})
    second = await client.post(path, json={"key": "k"})

    assert (first.status_code, second.status_code) == (500, 500)
    assert "hunter2" not in first.text
    assert first.json()["detail"] != second.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("away", delay=7), 503),
        (Conflict("no"), 409),
        (Permanent("never"), 422),
    ],
)
async def test_errors_have_one_table(
    client: httpx.AsyncClient, taken: Taken, error: Exception, status: int
) -> None:
    """An error's kind decides the status; what is temporary says when to come again."""
    taken.error = error

    answer = await client.post("/events/trigger", json={"key": "k"})

    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("7" if status == 503 else None)


async def test_errors_do_not_leak_from_one_request_into_another(
    client: httpx.AsyncClient, taken: Taken
) -> None:
    """A request after a failed one answers as if nothing had been."""
    await client.post("/events/trigger", json={"key": ""})
    await client.get("/tasks", params={"filter": "{"})

    answer = await client.post("/events/trigger", json={"key": "k"})

    assert (answer.status_code, answer.content) == (204, b"")
    assert len(taken.events) == 1


async def test_a_client_that_goes_away_is_no_error(app: ASGIApp, taken: Taken) -> None:
    """A body that breaks off takes nothing in."""
    token = jwt.encode({"permissions": ["*"]}, SECRET)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/events/trigger",
        "headers": [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
        ],
    }
    await app(scope, receive, send)

    assert sent[0]["status"] == 400
    assert taken.events == []


async def test_health_and_readiness(client: httpx.AsyncClient, nowhere: NoDatabase) -> None:
    """The process lives; it is ready only when its parts are, and says which is not."""
    alive = await client.get("/healthz")
    away = await client.get("/readyz")
    nowhere.error = ValueError("secret")
    broken = await client.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (away.status_code, away.json()["status"]) == (503, "not ready")
    assert "does not answer" in away.json()["checks"]["database"]
    assert "secret" not in broken.text


async def test_requests_are_counted_by_template(calls: Calls) -> None:
    """A route is one series whatever the id; made-up paths and methods share one."""
    client = calls("*")
    for path in (f"/tasks/{ID}", f"/tasks/{ID}", "/banana", "/tasks/banana"):
        await client.get(path)
    await client.request("BREW", "/tea")
    await client.post("/events/trigger", json={"key": "k"})

    text = (await calls(token="").get("/metrics")).text

    for line in (
        'taskloom_http_requests_total{method="GET",route="/tasks/{task_id}",status="503"} 2.0',
        'taskloom_http_requests_total{method="GET",route="unknown",status="404"} 2.0',
        'taskloom_http_requests_total{method="other",route="unknown",status="404"} 1.0',
        'taskloom_http_requests_total{method="POST",route="/events/trigger",status="204"} 1.0',
    ):
        assert line in text


async def test_the_page_needs_no_internet(client: httpx.AsyncClient) -> None:
    """Everything that the page names is served from here."""
    page = await client.get("/docs")
    assets = [
        await client.get(f"/docs/{name}")
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png")
    ]

    assert page.status_code == 200
    assert "http" not in page.text
    assert [asset.status_code for asset in assets] == [200, 200, 200, 200]
    assert (await client.get("/docs/index.html")).status_code == 404


async def test_the_checked_in_description_is_current(client: httpx.AsyncClient) -> None:
    """docs/openapi.json is what the door says of itself."""
    path = Path(__file__).parents[3] / "docs" / "openapi.json"

    described = (await client.get("/openapi.json")).json()

    assert json.loads(path.read_text()) == described


def test_the_description_keeps_to_openapi_3_0() -> None:
    """The page at /docs reads 3.0: no null types, no const, no lists of examples."""
    text = json.dumps(make_api().openapi())

    for new in ('"type": "null"', '"const"', '"examples"'):
        assert new not in text


def test_every_call_says_what_it_may_answer() -> None:
    """Each has a summary and a description, and problems as problem+json."""
    document: dict[str, Any] = make_api().openapi()
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert operation["description"]
            assert "default" in operation["responses"]
            for status, response in operation["responses"].items():
                if status.startswith("4"):
                    assert list(response["content"]) == ["application/problem+json"]
