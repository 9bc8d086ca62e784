"""Resources that a folder declares, and posts to the paths of its sources."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from taskloom.domain.events import Event
from taskloom.domain.query_tree import Filter
from taskloom.flow.adapt import installed_adapters
from taskloom.flow.services import Services
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.reconcile import reconcile
from taskloom.reconcilers.runners import Runners

EVENT = {"key": "paid", "payload": {"n": 1}, "source": "till", "description": "d"}
ANYBODY = {"anonymous": True}


class Declared:
    """Declares resources and posts to what they are served at, as anybody without a token."""

    def __init__(self, services: Services, folder: Path, client: httpx.AsyncClient) -> None:
        """Begin with none."""
        self.client = client
        self._services = services
        self._folder = folder

    async def apply(self, *documents: dict[str, Any], expect: str = "True") -> None:
        """Make the folder these documents; each is Ready or not, as expected."""
        files = self._folder / "files"
        files.mkdir(exist_ok=True)
        (files / "all.yaml").write_text(yaml.safe_dump_all(documents))
        await reconcile(
            self._services,
            read_folder(files),
            credentials=CredentialFiles(self._folder / "data"),
            topics=frozenset(),
            runners=Runners(adapters=frozenset(installed_adapters())),
        )
        async with self._services.tasks.begin() as tx:
            stored = await tx.resources.all()
        ready = [
            condition["status"]
            for item in stored
            for condition in item.status["conditions"]
            if condition["type"] == "Ready"
        ]
        assert [expect] * len(ready) == ready

    def credentials(self, name: str, namespace: str = "default") -> dict[str, str]:
        """Read what a ClientApp was given, as headers."""
        return {
            "x-api-key": self.credential(name, "apiKey", namespace),
            "x-api-secret": self.credential(name, "apiSecret", namespace),
        }

    def credential(self, name: str, key: str, namespace: str = "default") -> str:
        """Read one of them."""
        folder = self._folder / "data" / "credentials" / namespace / f"{name}-credentials"
        return (folder / key).read_text()

    async def post(
        self,
        path: str,
        body: bytes | None = None,
        *,
        by: Mapping[str, str] | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Post a body, or the usual event, perhaps with somebody's credentials."""
        content = json.dumps(EVENT).encode() if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            path,
            content=content,
            headers={"content-type": "application/json", **(by or {}), **named},
        )

    async def events(self) -> Sequence[Event]:
        """Read what was stored."""
        async with self._services.tasks.begin() as tx:
            return await tx.events.list(Filter(limit=1000))


def document(kind: str, name: str, spec: dict[str, Any], namespace: str = "default") -> Any:
    """Write a resource."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def source(
    path: str = "/in", auth: dict[str, Any] | None = None, *, name: str = "in", **spec: Any
) -> Any:
    """Write an http source."""
    http: dict[str, Any] = {"path": path, **({} if auth is None else {"auth": auth})}
    http |= spec.pop("http", {})
    return document("EventSource", name, {"http": http, **spec})


def reason(answer: httpx.Response) -> str:
    """Read a problem's detail; its status and form are as they must be."""
    problem = answer.json()

    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.status_code == problem["status"]
    detail: str = problem["detail"]
    return detail
