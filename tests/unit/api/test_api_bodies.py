"""What the door refuses, before anything behind it is asked."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest

from taskloom.api.app import create_app
from taskloom.api.auth import Everyone
from taskloom.api.services import ApiServices
from taskloom.domain.events import NewEvent

EVENT = {"key": "order.placed", "payload": {"n": 1}, "source": "shop", "description": "An order"}
JSON = {"content-type": "application/json"}
TASK = f"/tasks/{uuid.uuid4()}"


class Taken(Protocol):
    """Where events go."""

    events: list[NewEvent]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'{"key":"k","key":"l"}', "twice"),
        (b'{"key":"k","payload":{"a":1,"a":2}}', "twice"),
        (b'{"key":"k","payload":{"a":NaN}}', "NaN"),
        (b'{"key":"\xff"}', "UTF-8"),
        (b'{"key":"k","payload":' + b'{"a":' * 101 + b"1" + b"}" * 102, "levels"),
        (b"{}", "key"),
        (b'{"key":""}', "key"),
        (b'{"key":3}', "key"),
        (b'{"key":null}', "key"),
        (b'{"key":"' + b"a" * 256 + b'"}', "255"),
        (b'{"key":"a\\u0000"}', "NUL"),
        (b'{"key":"\\ud800"}', "surrogates"),
        (b'{"key":"k","payload":[]}', "payload"),
        (b'{"key":"k","payload":"x"}', "payload"),
        (b'{"key":"k","source":3}', "source"),
        (b'{"key":"k","description":{}}', "description"),
    ],
)
async def test_a_malformed_event_is_400(
    client: httpx.AsyncClient, taken: Taken, content: bytes, says: str
) -> None:
    """What is wrong is named, and nothing is stored."""
    answer = await client.post(
        "/events/trigger", content=content, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert taken.events == []


@pytest.mark.parametrize("key", ["", "a" * 256, "ä"])
async def test_a_wrong_idempotency_key_is_400(client: httpx.AsyncClient, key: str) -> None:
    """A key that cannot be kept is refused."""
    answer = await client.post(
        "/events/trigger", json=EVENT, headers={b"idempotency-key": key.encode("latin-1")}
    )

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_the_door_for_events_takes_only_post(client: httpx.AsyncClient, method: str) -> None:
    """Any other method is 405 and says what is allowed."""
    answer = await client.request(method, "/events/trigger")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stream_that_is_too_long_is_413(client: httpx.AsyncClient) -> None:
    """Without a content length, reading stops at the limit."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"key":"k","description":"'
        for _ in range(40):
            yield b"a" * 65_536

    answer = await client.post(
        "/events/trigger", content=chunks(), headers={"content-type": "application/json"}
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "banana"}, "status"),
        ({"status": None}, "status"),
        ({"priority": "urgent"}, "priority"),
        ({"colour": 1}, "colour"),
        ({"id": "x"}, "id"),
        ({"externalId": "x"}, "externalId"),
        ({"key": ""}, "key"),
        ({"name": 3}, "name"),
        ({"name": "\x00"}, "name"),
        ({"notes": "\ud800"}, "notes"),
        ({"metadata": []}, "metadata"),
        ({"dueDate": "soon"}, "dueDate"),
        ({"dueDate": "0001-01-01T00:00:00+14:00"}, "dueDate"),
        ({"dueDate": {}}, "dueDate"),
    ],
)
async def test_a_wrong_change_is_400(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    """Nothing that is no status is ever stored as one, and the field is named."""
    answer = await client.patch(TASK, content=json.dumps(change), headers=JSON)

    assert answer.status_code == 400
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("change", ["{}", "[]", '"x"', "null", ""])
async def test_a_change_of_nothing_is_400(client: httpx.AsyncClient, change: str) -> None:
    """A body that is no object with a field is refused."""
    answer = await client.patch(TASK, content=change, headers=JSON)

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("{", "JSON"),
        ('{"where":{"status":"banana"}}', "pending, in progress, completed"),
        ('{"where":{"id":"banana"}}', "UUID"),
        ('{"where":{"status":{"equals":"x"}}}', "'equals'"),
        ('{"where":{"colour":1}}', "'colour'"),
        ('{"limit":0}', "limit"),
        ('{"skip":-1}', "skip"),
        ('{"include":["x"]}', "userTasks"),
        ('{"where":{"name":"\\u0000"}}', "NUL"),
    ],
)
async def test_a_malformed_filter_is_400(client: httpx.AsyncClient, query: str, names: str) -> None:
    """The part at fault is named."""
    answer = await client.get("/tasks", params={"filter": query})

    assert answer.status_code == 400
    assert names in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"eventKey": "k"}, 400, "workflowKey"),
        ({"eventKey": "", "workflowKey": "order"}, 400, "eventKey"),
        ({"eventKey": 3, "workflowKey": "order"}, 400, "eventKey"),
        ({"eventKey": "\x00", "workflowKey": "order"}, 400, "eventKey"),
        ({"eventKey": "a" * 256, "workflowKey": "order"}, 400, "eventKey"),
        ([], 400, "body"),
    ],
)
async def test_a_wrong_mapping_is_refused(
    client: httpx.AsyncClient, body: Any, status: int, field: str
) -> None:
    """The field at fault is named."""
    answer = await client.post("/events/mapping", json=body)

    assert answer.status_code == status
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        {"url": "localhost:3000", "key": "k"},
        {"url": "ftp://localhost", "key": "k"},
        {"url": "http://user:secret@localhost", "key": "k"},
        {"url": "http://localhost:99999", "key": "k"},
        {"url": "http://[::1", "key": "k"},
        {"url": "", "key": "k"},
        {"url": "http://localhost"},
        {"key": "k"},
        {"url": "http://localhost", "key": ""},
    ],
)
async def test_a_wrong_subscription_is_400(client: httpx.AsyncClient, body: dict[str, str]) -> None:
    """Addresses that cannot be called are refused."""
    answer = await client.post(
        "/webhooks/subscribe", json=body, headers={"x-api-key": "k", "x-api-secret": "s"}
    )

    assert answer.status_code == 400


async def test_without_webhooks_there_are_no_client_apps(api_services: ApiServices) -> None:
    """Where the tables were left out, the calls are not found."""
    services = replace(api_services, flow=replace(api_services.flow, webhooks=False))
    from_nobody = create_app(replace(services, authenticator=Everyone()))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(from_nobody), base_url="http://taskloom"
    ) as client:
        answers = [
            await client.post("/client-apps", json={"clientName": "x"}),
            await client.post("/webhooks/subscribe", json={"url": "http://x", "key": "k"}),
        ]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": "x"}, 400),
        ({"name": "x", "bpmnFile": ""}, 400),
        ({"name": "x", "bpmnFile": "\ud800"}, 400),
        ({"name": "", "bpmnFile": "<x/>"}, 400),
        ({"name": "x", "bpmnFile": "<x/>", "inputSchema": []}, 400),
    ],
)
async def test_a_wrong_workflow_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    """A malformed body is 400, and what cannot be deployed is 422."""
    answer = await client.post(
        "/workflows", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {"key": "k"},
        {"key": "k", "payload": None, "source": None, "description": None},
        {"key": "k", "payload": {}, "timestamp": "x", "more": [1]},
        {"key": "*", "payload": {}},
        {"key": "ä😀" * 100},
    ],
)
async def test_only_the_key_is_needed(
    client: httpx.AsyncClient, taken: Taken, body: dict[str, Any]
) -> None:
    """What is left out or not known does no harm."""
    answer = await client.post("/events/trigger", json=body)

    assert answer.status_code == 204
    assert [event.key for event in taken.events] == [body["key"]]
