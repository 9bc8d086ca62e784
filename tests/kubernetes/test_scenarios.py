"""The reconcilers' cases, step by step: a folder and a cluster come to equal rows and statuses.

Every step of ``tests/golden/plans`` is applied to the API server, where an operator follows, and
written to a folder that is reconciled; the models are put in for their names.
"""

import asyncio
import dataclasses
import difflib
import gc
import pprint
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import kube_config

from taskloom.domain.secret import Secret
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.services import Services
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.read import merge, read_folder
from taskloom.providers.kubernetes.operate import Candidacy, operate
from taskloom.providers.kubernetes.scope import read_scope
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.store.database import Database
from tests.real.kubernetes.api import Api, Json, Refusal

PLANS = Path(__file__).parents[1] / "golden" / "plans"
FOLDERS_ONLY = {"vanished-folder"}  # a folder that cannot be read has no like in a cluster
CASES = sorted(
    path.name.removesuffix(".in.yaml")
    for path in PLANS.glob("*.in.yaml")
    if path.name.removesuffix(".in.yaml") not in FOLDERS_ONLY
)
TOPICS = frozenset({"create-tasks", "end-task"})
SECONDS = 60.0
Objects = Mapping[tuple[str, str], Json]
"""Documents by kind and name."""

UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What depends on where and when a row was made, not on what was declared.
OF_ITS_OWN = {"id", "workflow_id", "client_id", "definition_id", "created_on", "modified_on"}
GENERATED = {"api_key", "api_secret", "signing_secret", "issued_at", "former"}


def model(word: str, process: str) -> str:
    """Write the model that a case means by a word: any but ``bad`` can be deployed."""
    if word == "bad":
        return "<definitions/>"
    topic = word.removeprefix("topic-") if word.startswith("topic-") else "create-tasks"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="{word}">
  <process id="{process}" isExecutable="true">
    <startEvent id="start"/>
    <sequenceFlow id="in" sourceRef="start" targetRef="work"/>
    <serviceTask id="work" camunda:type="external" camunda:topic="{topic}"/>
    <sequenceFlow id="out" sourceRef="work" targetRef="end"/>
    <endEvent id="end"/>
  </process>
</definitions>
"""


def steps(case: str, namespace: str) -> list[Objects]:
    """Read a case as objects of a namespace."""
    read = yaml.safe_load((PLANS / f"{case}.in.yaml").read_text())
    return [
        {
            (document["kind"], document["metadata"]["name"]): _whole(document, namespace)
            for document in step["documents"]
            if "serviceRef" not in document.get("spec", {}).get("http", {})  # has a cluster
        }
        for step in read
        if not step.get("incomplete")
    ]


def _whole(document: Json, namespace: str) -> Json:
    metadata = {**document["metadata"], "namespace": namespace}
    whole = {"apiVersion": "taskloom.dev/v1alpha1", **document, "metadata": metadata}
    inline = document.get("spec", {}).get("bpmn", {}).get("inline")
    if document["kind"] == "Workflow" and isinstance(inline, str):
        process = document["spec"].get("externalIdentifier", metadata["name"])
        whole["spec"] = {**document["spec"], "bpmn": {"inline": model(inline, process)}}
    return whole


@dataclasses.dataclass
class Folder:
    """The file provider's side."""

    services: Services
    path: Path
    snapshot: Snapshot | None = None

    async def declare(self, objects: Objects) -> None:
        """Make the folder hold these objects, and reconcile it."""
        folder = self.path / "declared"
        folder.mkdir(exist_ok=True)
        (folder / "all.yaml").write_text(yaml.safe_dump_all(objects.values()))
        self.snapshot = merge(self.snapshot, read_folder(folder))
        await reconcile(
            self.services,
            self.snapshot,
            credentials=CredentialFiles(self.path / "data"),
            topics=TOPICS,
        )

    async def statuses(self) -> dict[tuple[str, str], Json]:
        """Read the statuses."""
        async with self.services.tasks.begin() as tx:
            stored = await tx.resources.all()
        return {(item.kind, item.name): _said(item.status) for item in stored}


@dataclasses.dataclass
class Cluster:
    """The cluster's side, where an operator follows."""

    api: Api
    applied: dict[tuple[str, str], Json] = dataclasses.field(default_factory=dict)
    refused: set[tuple[str, str]] = dataclasses.field(default_factory=set)

    def declare(self, objects: Objects) -> None:
        """Apply these objects and delete the others; by name, so that the first is the oldest."""
        self.refused = set()
        for key in sorted(self.applied.keys() - objects.keys()):
            self.api.delete(self.applied.pop(key))
        for key in sorted(objects):
            answer = self.api.apply(objects[key])
            if isinstance(answer, Refusal):
                assert answer.code == 422, answer
                self.refused.add(key)
            else:
                self.applied[key] = objects[key]

    def statuses(self) -> dict[tuple[str, str], Json]:
        """Read the statuses of what was taken."""
        return {
            key: _said(self._get(document).get("status", {}))
            for key, document in self.applied.items()
            if document["apiVersion"] != "v1"
        }

    def _get(self, document: Json) -> Json:
        found = self.api.get(document)
        assert not isinstance(found, Refusal), found
        return found


def _said(status: Mapping[str, Any]) -> Json:
    """Keep of a status what does not depend on where and when it was made."""
    fields = {
        name: value
        for name, value in status.items()
        if name not in ("conditions", "observedGeneration", "apiKey", "credentials")
        and not name.endswith("Id")
    }
    conditions = {
        entry["type"]: (entry["status"], entry["reason"], entry["message"])
        for entry in status.get("conditions", ())
    }
    return {**fields, "conditions": conditions}


async def rows_of(database: Database) -> dict[str, list[Any]]:
    """Read every row that reconcilers write."""
    async with database.begin() as tx:
        tables: dict[str, Sequence[Any]] = {
            "clients": await tx.webhooks.client_apps(),
            "subscriptions": await tx.webhooks.subscriptions(),
            "commands": await tx.commands.all(),
            "workflows": await tx.workflows.all(),
            "event mappings": await tx.mappings.event_mappings(),
            "task mappings": await tx.mappings.task_mappings(),
            "sources": await tx.sources.all(),
        }
    return {
        name: sorted((_plain(dataclasses.asdict(row)) for row in rows), key=repr)
        for name, rows in tables.items()
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    without = OF_ITS_OWN | (GENERATED if "api_key" in row else set())
    return {name: _neutral(value) for name, value in row.items() if name not in without}


def _neutral(value: Any) -> Any:
    """Reveal secrets, and drop which provider it was and the ids that follow from that."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: _neutral(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_neutral(item) for item in value]
    if isinstance(value, str):
        return UUIDS.sub("(an id)", value.removeprefix("file:").removeprefix("kubernetes:"))
    return value


@pytest.fixture
async def folder(other_rows: Database, tmp_path: Path) -> Folder:
    """Build the folder's side."""
    return Folder(_services(other_rows), tmp_path)


@pytest.fixture
async def followed(
    cluster: Api,
    kubeconfig: Path,
    namespace: str,
    rows: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cluster]:
    """Build the cluster's side, and let an operator follow it."""
    # KUBECONFIG, which the client reads when it is imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    services = _services(rows)

    async def reconcile_cluster(snapshot: Snapshot, credentials: CredentialStore) -> Report:
        return await reconcile(services, snapshot, credentials=credentials, topics=TOPICS)

    operator = asyncio.create_task(
        operate(
            read_scope((namespace,), None),
            lambda _lease, _holds: reconcile_cluster,
            candidacy=Candidacy(namespace=namespace),
        )
    )
    yield Cluster(cluster)
    operator.cancel()
    await asyncio.wait([operator])
    gc.collect()  # kopf leaves a connection to it


def _services(database: Database) -> Services:
    return Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see `followed`
@pytest.mark.parametrize("case", CASES)
async def test_a_folder_and_a_cluster_come_to_the_same(
    *,
    case: str,
    namespace: str,
    folder: Folder,
    followed: Cluster,
    rows: Database,
    other_rows: Database,
) -> None:
    """After every step the rows are equal, and the statuses of all that the API server took."""
    for objects in steps(case, namespace):
        await folder.declare(objects)
        await asyncio.to_thread(followed.declare, objects)

        async def difference() -> list[str]:
            expected = await folder.statuses(), await rows_of(other_rows)
            found = await asyncio.to_thread(followed.statuses), await rows_of(rows)
            one, other = (_lines(*side, besides=followed.refused) for side in (expected, found))
            return list(difflib.unified_diff(one, other, "folder", "cluster", n=1, lineterm=""))

        end = asyncio.get_running_loop().time() + SECONDS
        while await difference() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)
        left = await difference()
        assert not left, "\n".join(left)


def _lines(
    statuses: Mapping[tuple[str, str], Json],
    rows: Mapping[str, list[Any]],
    *,
    besides: set[tuple[str, str]],
) -> list[str]:
    """Write it all line by line, so that a difference is read at a glance."""
    told = {"/".join(key): statuses[key] for key in sorted(statuses.keys() - besides)}
    return pprint.pformat({"told": told, "rows": rows}).splitlines()
