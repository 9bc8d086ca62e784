"""Workflows over HTTP."""

import base64
import json
import uuid
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest

from taskloom.ports.engine import StartRequest
from taskloom.store.database import Database

NEW = {
    "name": "Order",
    "bpmnFile": "<order/>",
    "description": "Orders",
    "inputSchema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
}


class Engine(Protocol):
    """What a test asks of the engine."""

    started: list[StartRequest]


@pytest.fixture
async def workflow(client: httpx.AsyncClient) -> dict[str, Any]:
    """Deploy a workflow."""
    answer = await client.post("/workflows", json=NEW)
    made: dict[str, Any] = answer.json()
    return made


async def test_a_workflow_is_deployed_listed_counted_and_shown(
    client: httpx.AsyncClient, workflow: dict[str, Any]
) -> None:
    """The four answers agree."""
    listed = (await client.get("/workflows")).json()
    counted = (await client.get("/workflows/count")).json()
    shown = (await client.get(f"/workflows/{workflow['id']}")).json()

    assert listed == [shown]
    assert counted == {"count": 1}
    assert {"name": "Order", "externalIdentifier": "order", "workflowVersion": 1}.items() <= (
        shown.items()
    )
    assert shown["inputSchema"] == NEW["inputSchema"]
    assert shown["createdBy"] == "ann"


async def test_a_model_may_come_in_base64(client: httpx.AsyncClient) -> None:
    """Base64 is taken for what it holds."""
    model = base64.b64encode(b"<order/>").decode()

    answer = await client.post("/workflows", json={"name": "Order", "bpmnFile": model})

    assert answer.json()["externalIdentifier"] == "order"


async def test_a_new_model_is_a_new_version(
    client: httpx.AsyncClient, workflow: dict[str, Any]
) -> None:
    """The old version stays, and can be deleted; the latest cannot."""
    path = f"/workflows/{workflow['id']}"
    changed = await client.patch(path, json={"bpmnFile": "<order />", "name": "Orders"})
    query = {"filter": json.dumps({"include": ["workflowVersions"]})}
    shown = (await client.get(path, params=query)).json()

    statuses = [
        (await client.delete(f"{path}/version/{version}")).status_code for version in (2, 1, 1)
    ]

    assert changed.status_code == 204
    assert (shown["name"], shown["workflowVersion"]) == ("Orders", 2)
    assert [version["version"] for version in shown["workflowVersions"]] == [1, 2]
    assert statuses == [400, 204, 404]


async def test_a_workflow_s_mappings_outlive_its_change(
    client: httpx.AsyncClient, workflow: dict[str, Any]
) -> None:
    """After PATCH an event still starts it."""
    await client.post("/events/mapping", json={"eventKey": "k", "workflowKey": "order"})
    await client.patch(f"/workflows/{workflow['id']}", json={"bpmnFile": "<order />"})

    explained = (await client.post("/explain", json={"key": "k", "payload": {"n": 1}})).json()

    assert [(r["starts"], r["version"]) for r in explained["routes"]] == [(True, 2)]


async def test_a_bad_model_is_422_naming_the_element(client: httpx.AsyncClient) -> None:
    """What the engine refuses is told."""
    answer = await client.post("/workflows", json={"name": "x", "bpmnFile": "<bad/>"})

    assert answer.status_code == 422
    assert "Gateway_1" in answer.json()["detail"]


async def test_a_key_that_is_taken_is_409(
    client: httpx.AsyncClient, workflow: dict[str, Any]
) -> None:
    """A second workflow with the same process is refused."""
    answer = await client.post("/workflows", json=NEW)

    assert answer.status_code == 409
    assert workflow["externalIdentifier"] in answer.json()["detail"]


@pytest.mark.parametrize(
    "schema",
    [{"type": "banana"}, {"pattern": "("}, {"$schema": []}, {"$schema": 1}, {"required": "n"}],
)
async def test_a_schema_that_is_none_is_422(
    client: httpx.AsyncClient, schema: dict[str, Any]
) -> None:
    """What is no JSON Schema is refused at deployment."""
    body = {"name": "x", "bpmnFile": "<x/>", "inputSchema": schema}

    answer = await client.post("/workflows", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "inputSchema"


async def test_a_workflow_is_run(
    client: httpx.AsyncClient, workflow: dict[str, Any], engine: Engine
) -> None:
    """The engine starts the latest version with the input."""
    answer = await client.post(f"/workflows/{workflow['id']}/execute", json={"input": {"n": 1}})

    assert answer.status_code == 200
    assert answer.json()["workflowKey"] == "order"
    assert [(r.variables, r.definition_id) for r in engine.started] == [({"n": 1}, "order:1")]


async def test_an_idempotency_key_runs_a_workflow_once(
    client: httpx.AsyncClient, workflow: dict[str, Any], engine: Engine
) -> None:
    """The same key again gives the same instance."""
    answers = [
        await client.post(
            f"/workflows/{workflow['id']}/execute",
            json={"input": {"n": 1}},
            headers={"idempotency-key": "x"},
        )
        for _ in range(2)
    ]

    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(engine.started) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"input": {}}, 422, "'n' is a required property"),
        ({"input": {"n": "x"}}, 422, "input/n"),
        ({}, 422, "required"),
        ({"input": []}, 400, "input"),
        ({"input": {"n": 1}, "workflowVersion": 7}, 404, "version 7"),
        ({"input": {"n": 1}, "workflowVersion": "1"}, 400, "workflowVersion"),
        ({"input": {"n": 1}, "workflowVersion": 0}, 400, "workflowVersion"),
        ({"input": {"n": 1}, "workflowVersion": 10**30}, 400, "workflowVersion"),
    ],
)
async def test_a_wrong_input_starts_nothing(  # noqa: PLR0917 - fixtures and one case
    client: httpx.AsyncClient,
    workflow: dict[str, Any],
    engine: Engine,
    body: dict[str, Any],
    status: int,
    says: str,
) -> None:
    """An input that does not fit the schema is 422, and what is malformed is 400."""
    answer = await client.post(f"/workflows/{workflow['id']}/execute", json=body)

    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert engine.started == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "#/nowhere"},
        {"properties": {"n": {"multipleOf": 1e-300}}},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
async def test_a_schema_that_cannot_be_applied_is_422(
    client: httpx.AsyncClient, schema: dict[str, Any], engine: Engine
) -> None:
    """A schema that refers to itself without end or to elsewhere is told, and goes nowhere."""
    body = {"name": "x", "bpmnFile": "<x/>", "inputSchema": schema}
    workflow = (await client.post("/workflows", json=body)).json()

    answer = await client.post(
        f"/workflows/{workflow['id']}/execute", json={"input": {"n": 10**400}}
    )

    assert answer.status_code == 422
    assert engine.started == []


async def test_what_a_provider_declares_is_not_changed_over_http(
    client: httpx.AsyncClient, workflow: dict[str, Any], database: Database
) -> None:
    """Change and deletion are 409 and say where to go."""
    async with database.begin() as tx:
        found = await tx.workflows.get(uuid.UUID(workflow["id"]))
        assert found is not None
        await tx.workflows.put(replace(found, managed_by="file:Workflow/default/order"))
    path = f"/workflows/{workflow['id']}"

    answers = [
        await client.patch(path, json={"name": "x"}),
        await client.delete(path),
        await client.delete(f"{path}/version/1"),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert "file:Workflow/default/order" in answers[0].json()["detail"]


async def test_a_mapped_workflow_is_not_deleted(
    client: httpx.AsyncClient, workflow: dict[str, Any]
) -> None:
    """Nothing is orphaned: 409 while it is mapped."""
    await client.post("/events/mapping", json={"eventKey": "k", "workflowKey": "order"})

    answer = await client.delete(f"/workflows/{workflow['id']}")

    assert answer.status_code == 409


async def test_a_workflow_is_deleted(client: httpx.AsyncClient, workflow: dict[str, Any]) -> None:
    """The second time there is nothing to delete."""
    path = f"/workflows/{workflow['id']}"

    statuses = [(await client.delete(path)).status_code for _ in range(2)]

    assert statuses == [204, 404]


@pytest.mark.parametrize(
    ("method", "ends"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/execute"),
        ("DELETE", "/version/1"),
    ],
)
@pytest.mark.parametrize("workflow_id", [str(uuid.uuid4()), "banana"])
async def test_an_unknown_workflow_is_404(
    client: httpx.AsyncClient, method: str, ends: str, workflow_id: str
) -> None:
    """An id that nobody has, and one that is no UUID, are not found."""
    answer = await client.request(method, f"/workflows/{workflow_id}{ends}", json={})

    assert answer.status_code == 404
