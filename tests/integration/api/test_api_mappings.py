"""Mappings, client apps and webhooks over HTTP."""

import uuid
from dataclasses import replace

import httpx
import pytest

from taskloom.flow.mappings import map_task
from taskloom.flow.services import Services
from taskloom.store.database import Database


@pytest.fixture
async def workflow(client: httpx.AsyncClient) -> str:
    """Deploy a workflow and give its key."""
    answer = await client.post("/workflows", json={"name": "Order", "bpmnFile": "<order/>"})
    key: str = answer.json()["externalIdentifier"]
    return key


async def test_an_event_key_is_mapped(client: httpx.AsyncClient, workflow: str) -> None:
    """Mapped once or twice, it is one mapping; an event of the key is routed to the workflow."""
    body = {"eventKey": "order.placed", "workflowKey": workflow}
    answers = [await client.post("/events/mapping", json=body) for _ in range(2)]
    await client.post("/events/trigger", json={"key": "order.placed"})
    [event] = (await client.get("/events")).json()

    trace = (await client.get(f"/events/{event['id']}/trace")).json()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["eventKey"] == "order.placed"
    assert [(r["workflowKey"], r["started"]) for r in trace["routes"]] == [("order", True)]


async def test_every_event_can_be_mapped(client: httpx.AsyncClient, workflow: str) -> None:
    """The star alone is a key."""
    answer = await client.post("/events/mapping", json={"eventKey": "*", "workflowKey": workflow})

    assert answer.status_code == 200


async def test_a_task_key_is_mapped(client: httpx.AsyncClient, workflow: str) -> None:
    """A task key is mapped to one workflow, the last one named."""
    body = {"taskKey": "pack", "workflowKey": workflow}
    answers = [await client.post("/tasks/mapping", json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


async def test_what_a_provider_maps_is_not_changed_over_http(
    client: httpx.AsyncClient, services: Services, database: Database, workflow: str
) -> None:
    """A task key that a folder declares is 409."""
    mapping = await map_task(services, "pack", workflow)
    async with database.begin() as tx:
        await tx.mappings.put_task_mapping(replace(mapping, managed_by="file:TaskMapping/d/pack"))

    answer = await client.post("/tasks/mapping", json={"taskKey": "pack", "workflowKey": workflow})

    assert answer.status_code == 409
    assert "file:TaskMapping/d/pack" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/client-app", "/client-apps"])
async def test_a_client_app_subscribes(client: httpx.AsyncClient, path: str) -> None:
    """Its credentials come once, and with them it subscribes."""
    made = await client.post(path, json={"clientName": "billing"})
    app = made.json()

    answer = await client.post(
        "/webhooks/subscribe",
        json={"url": "http://localhost:3000", "key": "task-created"},
        headers={"x-api-key": app["apiKey"], "x-api-secret": app["apiSecret"]},
    )

    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    assert set(app) == {"name", "apiKey", "apiSecret", "signingSecret"}
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "change",
    [{"x-api-secret": "wrong"}, {"x-api-key": "wrong"}, {"x-api-secret": ""}, {"x-api-key": ""}],
)
async def test_a_wrong_secret_does_not_subscribe(
    client: httpx.AsyncClient, change: dict[str, str]
) -> None:
    """Unknown key and wrong secret are told apart to nobody."""
    app = (await client.post("/client-apps", json={"clientName": "billing"})).json()
    headers = {"x-api-key": app["apiKey"], "x-api-secret": app["apiSecret"], **change}

    answer = await client.post(
        "/webhooks/subscribe", json={"url": "http://localhost", "key": "k"}, headers=headers
    )

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Invalid API key or secret"


async def test_what_an_event_would_do_is_explained(
    client: httpx.AsyncClient, workflow: str
) -> None:
    """Nothing is stored or started."""
    await client.post("/events/mapping", json={"eventKey": "k", "workflowKey": workflow})

    answer = await client.post(
        "/explain",
        content=b'{"key":"k","payload":{"n":1,"s":"\\ud800"}}',
        headers={"content-type": "application/json"},
    )
    nothing = await client.post("/explain", json={"key": "other"})

    [route] = answer.json()["routes"]
    assert (route["starts"], route["workflowKey"], route["version"]) == (True, "order", 1)
    assert route["variables"] == {"n": 1, "s": "\ud800"}
    assert nothing.json() == {"key": "other", "routes": []}
    assert (await client.get("/events/count")).json() == {"count": 0}


async def test_a_workflow_that_is_not_there_is_not_mapped(client: httpx.AsyncClient) -> None:
    """422, and the field is named."""
    for path, key in (("/events/mapping", "eventKey"), ("/tasks/mapping", "taskKey")):
        answer = await client.post(path, json={key: "k", "workflowKey": "nowhere"})

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "workflowKey"


async def test_ids_differ(client: httpx.AsyncClient, workflow: str) -> None:
    """Mappings of different keys have different ids."""
    ids = {
        uuid.UUID(
            (
                await client.post(
                    "/events/mapping", json={"eventKey": key, "workflowKey": workflow}
                )
            ).json()["id"]
        )
        for key in ("a", "b")
    }

    assert len(ids) == 2
