"""Many objects at once, and what they cost: counted by the API server and by the kernel."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from taskloom.resources.base import API_VERSION, GROUP
from tests.real.kubernetes.api import Api, Json, collection

_AT_ONCE = 16
_TICKS = os.sysconf("SC_CLK_TCK")


def crowd(count: int, namespace: str) -> list[Json]:
    """Declare `count` objects: half of them ClientApps, half a WebhookSubscription of each."""
    found = []
    for number in range((count + 1) // 2):
        name = f"shop-{number:05}"
        found.append(_object("ClientApp", name, namespace, {"displayName": f"Shop {number}"}))
        spec = {
            "clientAppRef": {"name": name},
            "eventKeys": ["task.created", "task.completed"],
            "url": f"http://127.0.0.1:9/hooks/{number}",
        }
        found.append(_object("WebhookSubscription", name, namespace, spec))
    return found[:count]


def _object(kind: str, name: str, namespace: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


async def create_all(api: Api, documents: Sequence[Json]) -> None:
    """Create objects that are not there, a few at once."""
    waiting = iter(documents)

    async def work(client: httpx.AsyncClient) -> None:
        for document in waiting:
            answer = await client.post(collection(document), json=document)
            assert answer.status_code == 201, answer.text

    async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=60) as client:
        await asyncio.gather(*(work(client) for _ in range(_AT_ONCE)))


def patches(api: Api) -> int:
    """Count the PATCHes of our kinds and their statuses that the API server has answered."""
    text = api.kubectl("get", "--raw", "/metrics")
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("apiserver_request_total{")
        and f'group="{GROUP}"' in line
        and ('verb="PATCH"' in line or 'verb="APPLY"' in line)
    )


def count_ready(api: Api, kinds: Sequence[str], namespace: str) -> int:
    """Count the objects of these kinds that are Ready in their newest generation."""
    return sum(is_ready(item) for kind in kinds for item in _items(api, kind, namespace))


def is_ready(found: Json) -> bool:
    """Tell whether an object's status says Ready, of its newest generation."""
    status = found.get("status") or {}
    ready = any(
        entry["type"] == "Ready" and entry["status"] == "True"
        for entry in status.get("conditions") or ()
    )
    return ready and status.get("observedGeneration") == found["metadata"]["generation"]


def _items(api: Api, kind: str, namespace: str) -> Iterator[Json]:
    path = collection(_object(kind, "", namespace, {}))
    token = ""
    while True:
        page = api.call("GET", path, params={"limit": "1000", "continue": token})
        assert isinstance(page, dict), page
        yield from page["items"]
        token = page["metadata"].get("continue") or ""
        if not token:
            return


def peak_memory(pid: int) -> int:
    """Give the most bytes of memory that a process has had (resident set)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def processor_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
