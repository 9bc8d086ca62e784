"""Whatever is sent, by the description or against it, is answered as described and never by 5xx."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest
import requests
import schemathesis
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import insert

from taskloom.api.app import create_app, make_api
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.services import ApiServices
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.store import tables
from taskloom.store.database import Database
from taskloom.store.sealing import Sealer

SECRET = "0123456789abcdef0123456789abcdef"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
MODEL = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="t">
<process id="order" isExecutable="true">
<startEvent id="s"/><sequenceFlow id="a" sourceRef="s" targetRef="e"/><endEvent id="e"/>
</process></definitions>"""
EXAMPLES = 12

DESCRIPTION = make_api().openapi()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS: dict[str, Any] = {
    f"{method.upper()} {path}": SCHEMA[path][method.upper()]
    for path, item in DESCRIPTION["paths"].items()
    for method in item
}


@dataclass
class Door:
    """The application on a real database, and what there is in it."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    database: Database

    def send(self, case: Any) -> httpx.Response:
        """Send what was generated."""
        prepared = requests.Request(
            **case.as_transport_kwargs(base_url="http://taskloom")
        ).prepare()
        body = prepared.body or b""
        request = httpx.Request(
            str(prepared.method),
            str(prepared.url),
            content=body if isinstance(body, bytes) else str(body).encode(),
        )
        for name, value in prepared.headers.items():
            if name.lower() not in {"host", "content-length", "authorization"}:
                request.headers[name] = str(value)
        request.headers["authorization"] = self.client.headers["authorization"]
        return self.runner.run(self.client.send(request))

    def fill(self) -> dict[str, str]:
        """Make one of everything and give its ids."""
        return self.runner.run(self._fill())

    async def _fill(self) -> dict[str, str]:
        task, user_task = uuid.uuid4(), uuid.uuid4()
        state = {"status": "pending", "priority": "low"}
        async with self.database.begin() as tx:
            await tx.connection.execute(
                insert(tables.tasks).values(id=task, key="k", metadata='{"a": "\\ud800"}', **state)
            )
            await tx.connection.execute(
                insert(tables.user_tasks).values(
                    id=user_task, task_id=task, external_id=str(user_task), **state
                )
            )
        await self.client.post("/workflows", json={"name": "Order", "bpmnFile": MODEL})
        await self.client.post("/events/mapping", json={"eventKey": "*", "workflowKey": "order"})
        await self.client.post("/events/trigger", json={"key": "k", "payload": {}})
        workflow = (await self.client.get("/workflows")).json()[0]
        event = (await self.client.get("/events")).json()[0]
        return {
            "task_id": str(task),
            "user_task_id": str(user_task),
            "workflow_id": workflow["id"],
            "event_id": event["id"],
        }


@pytest.fixture
def door(database_url: str) -> Iterator[Door]:
    """Open the door with the engine that ships, on a loop that the test turns by hand."""
    token = jwt.encode({"sub": "ann", "permissions": ["*"]}, SECRET)
    with asyncio.Runner() as runner:

        async def opened() -> Door:
            database = Database(database_url, sealer=Sealer([Fernet.generate_key().decode()]))
            flow = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
            app = create_app(
                ApiServices(
                    flow=flow,
                    ingest=Ingest(flow),
                    authenticator=make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1"),
                    checks={"database": database.ping},
                )
            )
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://taskloom",
                headers={"authorization": f"Bearer {token}"},
            )
            return Door(runner=runner, client=client, database=database)

        made = runner.run(opened())
        yield made
        runner.run(made.client.aclose())
        runner.run(made.database.close())


def probe(door: Door, strategy: Any) -> None:
    """Send what a strategy generates, half of it to ids that are there."""
    ids = door.fill()

    @seed(20261124)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, real=st.booleans())
    def check(case: Any, *, real: bool) -> None:
        for name in set(ids) & set(case.path_parameters or {}) if real else ():
            case.path_parameters[name] = ids[name]
        case.validate_response(door.send(case), checks=CHECKS)

    check()


@pytest.mark.parametrize("label", OPERATIONS)
def test_a_call_answers_as_it_is_described(door: Door, label: str) -> None:
    """Well-formed and malformed requests, on ids that are there and ids that are not."""
    operation = OPERATIONS[label]
    probe(door, operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    if operation.body or list(operation.iter_parameters()):
        probe(door, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
