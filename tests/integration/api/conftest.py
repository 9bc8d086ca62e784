"""The HTTP door on a real database, with an engine that only remembers."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import httpx
import jwt
import pytest
from sqlalchemy import insert
from starlette.types import ASGIApp

from taskloom.api.app import create_app
from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.services import ApiServices
from taskloom.errors import Unprocessable
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.ports.engine import (
    Deployment,
    EngineUserTask,
    Instance,
    InstanceState,
    ModelSummary,
    Outcome,
    StartRequest,
    WorkflowEngine,
)
from taskloom.store import tables
from taskloom.store.database import Database
from tests.integration.api.declared import Declared

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class RememberingEngine:
    """Stands in for an engine in another database: a model is its process's id, as XML."""

    name: str = "remembering"
    started: list[StartRequest] = field(default_factory=list)
    completed: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    versions: dict[str, list[bytes]] = field(default_factory=dict)
    open: dict[str, list[EngineUserTask]] = field(default_factory=dict)

    def joins(self, _tx: object) -> bool:
        """Tell that it cannot."""
        return False

    async def running_by_workflow(self) -> Mapping[str, int]:
        """Run nothing on."""
        return {}

    async def inspect(self, bpmn: bytes) -> ModelSummary:
        """Take `<id/>`, and refuse `<bad …/>` naming it."""
        text = bpmn.decode().strip()
        if not text.startswith("<") or text.startswith("<bad"):
            raise Unprocessable("The element 'Gateway_1' (complexGateway) is not supported.")
        return ModelSummary(process_id=text.strip("</> "), name=None, topics=frozenset())

    async def deploy(self, workflow_key: str, bpmn: bytes, **_: object) -> Deployment:
        """Give a new model the next version."""
        await self.inspect(bpmn)
        versions = self.versions.setdefault(workflow_key, [])
        if bpmn not in versions:
            versions.append(bpmn)
        number = versions.index(bpmn) + 1
        return Deployment(
            workflow_key=workflow_key,
            version=number,
            definition_id=f"{workflow_key}:{number}",
            digest="d",
            topics=frozenset({"create-tasks"}),
        )

    async def known_definitions(self, definition_ids: Sequence[str], **_: object) -> frozenset[str]:
        """Know of all that is asked."""
        return frozenset(definition_ids)

    async def undeploy(self, definition_ids: Sequence[str], **_: object) -> None:
        """Forget nothing."""

    async def start(self, request: StartRequest, **_: object) -> Instance:
        """Start once for a start id."""
        if request not in self.started:
            self.started.append(request)
        return Instance(
            id=f"i-{request.start_id}",
            root_id=f"i-{request.start_id}",
            workflow_key=request.workflow_key,
            version=1,
            business_key=None,
            state=InstanceState.ACTIVE,
            started_at=datetime(2026, 11, 24, tzinfo=UTC),
            ended_at=None,
        )

    async def user_tasks(self, roots: Sequence[str], **_: object) -> Sequence[EngineUserTask]:
        """List what is open."""
        return [task for root in roots for task in self.open.get(root, [])]

    async def complete_user_task(
        self, task_id: str, variables: Mapping[str, Any], **_: object
    ) -> Outcome:
        """Close a user task."""
        self.completed.append((task_id, variables))
        for tasks in self.open.values():
            tasks[:] = [task for task in tasks if task.id != task_id]
        return Outcome.DONE

    async def delete_instances(self, ids: Sequence[str], _reason: str, **_: object) -> None:
        """Remember."""
        self.deleted.extend(ids)

    async def instances(self, _ids: Sequence[str]) -> Sequence[Instance]:
        """List none."""
        return []

    async def history(self, _ids: Sequence[str]) -> Sequence[Any]:
        """List nothing."""
        return []

    async def incidents(self, _ids: Sequence[str] | None = None) -> Sequence[Any]:
        """List none."""
        return []


class Rows(Protocol):
    """Makes rows for a test."""

    async def task(self, **values: Any) -> uuid.UUID:
        """Make a task."""
        ...

    async def user_task(self, task_id: uuid.UUID, **values: Any) -> uuid.UUID:
        """Make a user task."""
        ...


class Calls(Protocol):
    """Makes clients of the door."""

    def __call__(self, *permissions: str) -> httpx.AsyncClient:
        """Make a client whose token holds these permissions."""
        ...


@pytest.fixture
def engine() -> RememberingEngine:
    """Make an engine."""
    return RememberingEngine()


@pytest.fixture
def services(database: Database, engine: RememberingEngine) -> Services:
    """Put the use cases' services together."""
    return Services(tasks=database, workflows=database, engine=cast("WorkflowEngine", engine))


@pytest.fixture
def api_services(services: Services) -> ApiServices:
    """Put the door's services together."""
    return ApiServices(
        flow=services,
        ingest=Ingest(services),
        authenticator=make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1"),
        checks={"database": services.tasks.ping},
    )


@pytest.fixture
def app(api_services: ApiServices) -> ASGIApp:
    """Make the application."""
    return create_app(api_services)


@pytest.fixture
async def declared(app: ASGIApp, services: Services, tmp_path: Path) -> AsyncIterator[Declared]:
    """Give the door to somebody without a token."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://taskloom") as client:
        yield Declared(services, tmp_path, client)


@pytest.fixture
async def calls(app: ASGIApp) -> AsyncIterator[Calls]:
    """Give clients; all are closed at the end."""
    made: list[httpx.AsyncClient] = []

    def make(*permissions: str) -> httpx.AsyncClient:
        token = jwt.encode({"sub": "ann", "permissions": list(permissions)}, SECRET)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://taskloom",
            headers={"authorization": f"Bearer {token}"},
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
def client(calls: Calls) -> httpx.AsyncClient:
    """Give a client that may do everything."""
    return calls("*")


@pytest.fixture
def rows(database: Database) -> Rows:
    """Give a maker of rows."""

    class Maker:
        async def task(self, **values: Any) -> uuid.UUID:
            task_id = uuid.uuid4()
            row = {
                "id": task_id,
                "key": "order",
                "name": "An order",
                "status": "pending",
                "priority": "medium",
                "external_id": f"i-{task_id}",
                **values,
            }
            async with database.begin() as tx:
                await tx.connection.execute(insert(tables.tasks).values(row))
            return task_id

        async def user_task(self, task_id: uuid.UUID, **values: Any) -> uuid.UUID:
            user_task_id = uuid.uuid4()
            row = {
                "id": user_task_id,
                "task_id": task_id,
                "external_id": f"e-{user_task_id}",
                "name": "Approve",
                "status": "pending",
                "priority": "medium",
                **values,
            }
            async with database.begin() as tx:
                await tx.connection.execute(insert(tables.user_tasks).values(row))
            return user_task_id

    return Maker()
