"""Process definitions: deployed, looked up, removed, and their files kept in memory."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import aiohttp

from taskloom.engines.camunda.client import Client, segment
from taskloom.engines.camunda.model_file import ModelFile
from taskloom.engines.camunda.models import version_of
from taskloom.engines.camunda.refusals import parsing_refusal, refusal
from taskloom.errors import Conflict, NotFound, Temporary, Unprocessable
from taskloom.ports.engine import Deployment

SOURCE = "taskloom"
"""What deployments of ours name as their source."""

_KEPT = 256
_AT_ONCE = 50


class Definitions:
    """The engine's process definitions; what is deployed never changes, so it is kept."""

    def __init__(self, client: Client, *, history_days: int) -> None:
        self._client = client
        self._history_days = history_days
        self._files: OrderedDict[str, ModelFile] = OrderedDict()

    async def deploy(self, workflow_key: str, bpmn: bytes) -> Deployment:
        """Make a new version, or give the latest one if its bytes are the same.

        The engine compares with its last deployment of that name and source.
        """
        file = ModelFile(bpmn)
        topics = file.topics
        prepared = file.for_engine(workflow_key, history_days=self._history_days)
        found = await self._create(workflow_key, prepared, only_if_new=True)
        if found is None:  # the deployment is there, but somebody has removed its definition
            found = await self._create(workflow_key, prepared, only_if_new=False)
        if found is None:
            raise Temporary(f"The engine has deployed {workflow_key}, but does not show it yet.")
        self._keep(found["id"], file)
        return Deployment(
            workflow_key=workflow_key,
            version=int(found["version"]),
            definition_id=found["id"],
            digest=hashlib.sha256(bpmn).hexdigest(),
            topics=topics,
        )

    async def undeploy(self, definition_ids: Sequence[str]) -> None:
        """Remove definitions with their deployments; `Conflict` while instances run.

        The history of ended instances stays.
        """
        deployments: dict[str, Any] = {}
        for definition_id in definition_ids:
            answer = await self._client.call("GET", f"/process-definition/{segment(definition_id)}")
            if answer.status == 404:
                continue
            if not answer.ok:
                raise refusal(answer)
            deployments[answer.body["deploymentId"]] = answer.body
            running = await self._running(definition_id)
            if running:
                raise _in_use(running, answer.body)
        for deployment_id, definition in deployments.items():
            answer = await self._client.call(
                "DELETE",
                f"/deployment/{segment(deployment_id)}",
                query={"cascade": False, "skipCustomListeners": True},
            )
            if not answer.ok and answer.status != 404:
                # an instance began meanwhile, or one of another process in the same file runs
                running = await self._running(definition["id"])
                raise _in_use(running, definition) if running else Conflict(answer.message)

    async def known(self, definition_ids: Sequence[str]) -> frozenset[str]:
        """Tell which of these the engine has."""
        found: set[str] = set()
        for first in range(0, len(definition_ids), _AT_ONCE):
            asked = definition_ids[first : first + _AT_ONCE]
            entries = await self._client.get(
                "/process-definition", processDefinitionIdIn=",".join(asked)
            )
            found.update(entry["id"] for entry in entries)
        return frozenset(found & set(definition_ids))

    async def file(self, definition_id: str) -> ModelFile:
        """Give a definition's file."""
        kept = self._files.get(definition_id)
        if kept is not None:
            self._files.move_to_end(definition_id)
            return kept
        answer = await self._client.get(f"/process-definition/{segment(definition_id)}/xml")
        file = ModelFile(str(answer["bpmn20Xml"]).encode())
        self._keep(definition_id, file)
        return file

    async def file_or_none(self, definition_id: str) -> ModelFile | None:
        """Give a definition's file, or None if it is gone, or cannot be read."""
        try:
            return await self.file(definition_id)
        except (NotFound, Unprocessable):
            return None

    async def version(self, definition_id: str) -> int:
        """Give a definition's version."""
        version = version_of(definition_id)
        if version is not None:
            return version
        found = await self._client.get(f"/process-definition/{segment(definition_id)}")
        return int(found["version"])

    async def _create(
        self, workflow_key: str, bpmn: bytes, *, only_if_new: bool
    ) -> dict[str, Any] | None:
        tenant = self._client.tenant

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("deployment-name", workflow_key)
            data.add_field("deployment-source", SOURCE)
            data.add_field("enable-duplicate-filtering", str(only_if_new).lower())
            if tenant is not None:
                data.add_field("tenant-id", tenant)
            data.add_field(
                "file",
                bpmn,
                filename=f"{workflow_key}.bpmn",
                content_type="application/octet-stream",
            )
            return data

        # filtered by the engine, it may be sent again
        answer = await self._client.call("POST", "/deployment/create", form=form, again=only_if_new)
        if not answer.ok:
            raise parsing_refusal(answer)
        made = answer.body.get("deployedProcessDefinitions") or {}
        if not made:
            made = {
                found["id"]: found
                for found in await self._client.get(
                    "/process-definition", deploymentId=answer.body["id"]
                )
            }
        return next((found for found in made.values() if found["key"] == workflow_key), None)

    async def _running(self, definition_id: str) -> int:
        answer = await self._client.get(
            "/process-instance/count", processDefinitionId=definition_id
        )
        return int(answer["count"])

    def _keep(self, definition_id: str, file: ModelFile) -> None:
        self._files[definition_id] = file
        if len(self._files) > _KEPT:
            self._files.popitem(last=False)


def _in_use(running: int, definition: dict[str, Any]) -> Conflict:
    return Conflict(
        f"{running} instances of {definition['key']} version {definition['version']} are running:"
        " let them end, or delete their tasks first."
    )
