"""A release of the chart on a control plane whose pods are played."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.chart import CHART

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
KINDS = (
    "clientapps,commands,eventmappings,eventsinks,eventsources,taskmappings,webhooksubscriptions"
)
KINDS += ",workflows"
_TIMEOUT = "--timeout=300s"


class Release:
    """A release named taskloom in a namespace of its own, with values that do not change."""

    def __init__(self, api: Api, namespace: str, values: Json, folder: Path) -> None:
        self._api = api
        self.namespace = namespace
        self._values = folder / f"{namespace}.json"
        self._values.write_text(json.dumps(values))

    async def install(self, chart: Path = CHART, *options: str) -> None:
        """Install it, and wait until its pods are ready."""
        await self._helm("install", str(chart), "--wait", _TIMEOUT, *options)

    async def upgrade(self, *options: str, chart: Path = CHART) -> None:
        """Upgrade it, and wait until its pods are."""
        await self._helm("upgrade", str(chart), "--wait", _TIMEOUT, *options)

    async def test(self) -> None:
        """Run `helm test`."""
        await asyncio.to_thread(
            self._api.helm, "test", "taskloom", f"--namespace={self.namespace}", _TIMEOUT
        )

    async def uninstall(self, *options: str) -> None:
        """Uninstall it."""
        await asyncio.to_thread(
            self._api.helm, "uninstall", "taskloom", f"--namespace={self.namespace}", *options
        )

    async def _helm(self, verb: str, chart: str, *options: str) -> None:
        await asyncio.to_thread(
            self._api.helm,
            *(verb, "taskloom", chart, f"--namespace={self.namespace}"),
            *(f"--values={self._values}", *options),
        )


class Shop:
    """The samples in a namespace, their subscription led to a receiver of the test."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    async def declare(self, receiver: str) -> None:
        """Apply the samples, as the README says, and have webhooks sent to `receiver`."""
        await self._kubectl("apply", f"--filename={SAMPLES}")
        patch = json.dumps({"spec": {"url": receiver}})
        await self._kubectl("patch", "whsub", "shop", "--type=merge", f"--patch={patch}")

    async def wait(self, seconds: int = 120) -> None:
        """Wait until all of them are ready, and speak of what is declared now."""
        await self._kubectl(
            "wait", KINDS, "--all", "--for=condition=Ready", f"--timeout={seconds}s"
        )

    async def forget(self) -> None:
        """Delete the samples; it comes back when they are gone, or fails."""
        await self._kubectl("delete", f"--filename={SAMPLES}", "--wait", "--timeout=60s")

    async def table(self) -> str:
        """Show what `kubectl get taskloom` shows."""
        return await self._kubectl("get", "taskloom")

    def credentials(self) -> dict[str, str]:
        """Read the shop's Secret; the values are in base64."""
        document = {"apiVersion": "v1", "kind": "Secret"}
        metadata = {"name": "shop-credentials", "namespace": self.namespace}
        found = self._api.get(document | {"metadata": metadata})
        assert not isinstance(found, Refusal), found
        data: dict[str, str] = found["data"]
        return data

    async def _kubectl(self, *arguments: str, **options: Any) -> str:
        return await asyncio.to_thread(
            self._api.kubectl, *arguments, f"--namespace={self.namespace}", **options
        )
