"""Plays the kubelet of one node: runs the containers of pods as processes of this machine.

There is no node in the tests' control plane.  So this binds each new pod to a node that it makes
up, runs its init containers and its containers one by one as the pod says (arguments, variables,
Secrets, ConfigMaps, volumes, the token of its ServiceAccount), asks its readiness probe, and tells
the API server of it: Deployments become available, and `helm install --wait` comes back.

What it cannot do as a node does: images (every container is of ours), networks (ports are replaced
by free ones, URLs of Services by those), limits and users.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.volumes import Volumes

_NODE = "played"
_LOOK_SECONDS = 0.2
_HEARTBEAT_SECONDS = 10.0
_MERGE = {"content-type": "application/strategic-merge-patch+json"}


@dataclass(slots=True)
class Played:
    """A pod that runs here: its ports, its processes, and what they said."""

    body: Json
    folder: Path
    port: int
    health_port: int
    running: asyncio.Task[None] | None = None
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    ready: bool = False
    restarts: int = 0

    @property
    def name(self) -> str:
        """Namespace and name."""
        metadata = self.body["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    @property
    def log(self) -> Path:
        """What its containers said."""
        return self.folder / "log"


class Pods:
    """All pods of a control plane; ``async with Pods(plane, api, folder) as pods`` plays them."""

    def __init__(self, plane: ControlPlane, api: Api, folder: Path) -> None:
        self._plane = plane
        self._api = api
        self._folder = folder
        self._played: dict[str, Played] = {}
        self._loop: asyncio.Task[None] | None = None
        self.failed: list[str] = []
        """What went wrong with containers, and what they said last."""

    async def __aenter__(self) -> Self:
        """Begin."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._call("POST", "/api/v1/nodes", json=_node())
        await self._beat()
        self._loop = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End all pods and the node."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for played in self._played.values():
            await _end(played, signal.SIGKILL)
        self._end_databases()
        await self._call("DELETE", f"/api/v1/nodes/{_NODE}")

    def of(self, namespace: str, component: str) -> list[Played]:
        """Give the pods of a component that run."""
        return [
            each
            for each in self._played.values()
            if each.body["metadata"]["namespace"] == namespace
            and _label(each, "component") == component
        ]

    def url(self, namespace: str, component: str) -> str:
        """Give the URL of a ready pod of a component."""
        ready = [each for each in self.of(namespace, component) if each.ready]
        assert ready, f"no pod of {component} is ready in {namespace}"
        return f"http://127.0.0.1:{ready[0].port}"

    def claim(self, namespace: str, name: str) -> Path:
        """Give the folder of a PersistentVolumeClaim."""
        return self._folder / "claims" / namespace / name

    async def kill(self, namespace: str, component: str) -> None:
        """Kill all of a component's processes, as the loss of a node would; they stay dead."""
        for each in self.of(namespace, component):
            await _end(each, signal.SIGKILL)
        self._end_databases()

    def _end_databases(self) -> None:
        """End the embedded databases of killed pods, which a container would have taken along."""
        for file in self._folder.glob("**/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(file.read_text().splitlines()[0]), signal.SIGQUIT)

    async def _follow(self) -> None:
        beaten = 0.0
        while True:
            now = asyncio.get_running_loop().time()
            if now - beaten > _HEARTBEAT_SECONDS:
                await self._beat()
                beaten = now
            listed = await self._call("GET", "/api/v1/pods")
            if not isinstance(listed, Refusal):
                await self._see(listed["items"])
            await asyncio.sleep(_LOOK_SECONDS)

    async def _see(self, bodies: list[Json]) -> None:
        present = {body["metadata"]["uid"]: body for body in bodies}
        for uid, body in present.items():
            played = self._played.get(uid)
            leaving = body["metadata"].get("deletionTimestamp") is not None
            if played is None and not leaving:
                await self._begin(uid, body)
            elif leaving and body["spec"].get("nodeName") == _NODE:
                if played is not None:
                    await _end(played, signal.SIGTERM)
                    self._played.pop(uid)
                await self._call("DELETE", _path(body), params={"gracePeriodSeconds": "0"})
        for uid in [uid for uid in self._played if uid not in present]:
            await _end(self._played[uid], signal.SIGKILL)
            self._played.pop(uid)

    async def _begin(self, uid: str, body: Json) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": _NODE}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": body["metadata"]["name"]},
            "target": target,
        }
        await self._call("POST", f"{_path(body)}/binding", json=binding)
        folder = self._folder / uid
        folder.mkdir()
        played = Played(body=body, folder=folder, port=_free_port(), health_port=_free_port())
        self._played[uid] = played
        played.running = asyncio.create_task(self._run(played))

    async def _run(self, played: Played) -> None:
        """Run a pod's containers: the initial ones in turn, the others until they are ended."""
        spec = played.body["spec"]
        volumes = Volumes(self._api, self._plane, played.body, played.folder, self._folder)
        await asyncio.to_thread(volumes.make)
        for container in spec.get("initContainers", ()):
            while await self._run_once(played, container, volumes) != 0:
                if spec["restartPolicy"] == "Never":
                    await self._tell(played, "Failed")
                    return
                await asyncio.sleep(1)
        await self._tell(played, "Running")
        ends = [
            asyncio.create_task(self._keep(played, container, volumes))
            for container in spec["containers"]
        ]
        try:
            if spec["restartPolicy"] == "Never":
                codes = await asyncio.gather(*ends)
                await self._tell(played, "Failed" if any(codes) else "Succeeded")
            else:
                await self._await_ready(played)
                await asyncio.gather(*ends)
        finally:
            for each in ends:
                each.cancel()
            await asyncio.wait(ends)

    async def _keep(self, played: Played, container: Json, volumes: Volumes) -> int:
        """Run a container, again and again if its pod says so."""
        while True:
            code = await self._run_once(played, container, volumes)
            if played.body["spec"]["restartPolicy"] == "Never":
                return code
            played.restarts += 1
            await asyncio.sleep(1)

    async def _run_once(self, played: Played, container: Json, volumes: Volumes) -> int:
        command, environment = await asyncio.to_thread(self._started, played, container, volumes)
        with played.log.open("ab") as log:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
            )
            try:
                await asyncio.shield(starting)
            finally:  # known to `_end`, even if that comes meanwhile
                played.processes.append(await starting)
        process = starting.result()
        code = await process.wait()
        played.processes.remove(process)
        if code != 0:
            said = played.log.read_text(errors="replace")[-1500:]
            self.failed.append(f"{played.name} {container['name']}: exit {code}: {said}")
        return code

    def _started(
        self, played: Played, container: Json, volumes: Volumes
    ) -> tuple[list[str], dict[str, str]]:
        """Say what to run, and with which variables."""
        given = volumes.environment(container)
        given |= {
            name: str(port)
            for name, port in (
                ("TASKLOOM_PORT", played.port),
                ("TASKLOOM_HEALTH_PORT", played.health_port),
            )
            if name in given
        }
        links = (
            self._service_links(played.body["metadata"]["namespace"])
            if played.body["spec"].get("enableServiceLinks", True)
            else {}
        )
        urls = self._service_urls()
        arguments = [
            _replaced(text, urls)
            for text in (*container.get("command", ["taskloom"]), *container.get("args", ()))
        ]
        program = {"taskloom": [sys.executable, "-m", "taskloom"], "python": [sys.executable]}
        inherited = {
            name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ
        }
        environment = (
            inherited
            | links
            | volumes.always(container)
            | {name: _replaced(text, urls) for name, text in given.items()}
        )
        return [*program[arguments[0]], *arguments[1:]], environment

    def _service_links(self, namespace: str) -> dict[str, str]:
        """Give the variables that a kubelet sets for each Service, wanted or not."""
        listed = self._api.call("GET", f"/api/v1/namespaces/{namespace}/services")
        assert not isinstance(listed, Refusal)
        links: dict[str, str] = {}
        for service in listed["items"]:
            prefix = service["metadata"]["name"].upper().replace("-", "_")
            address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]
            links |= {
                f"{prefix}_SERVICE_HOST": address,
                f"{prefix}_SERVICE_PORT": str(port),
                f"{prefix}_PORT": f"tcp://{address}:{port}",
            }
        return links

    def _service_urls(self) -> dict[str, str]:
        """Give for the address of each Service the one of a ready pod that it selects."""
        listed = self._api.call("GET", "/api/v1/services")
        assert not isinstance(listed, Refusal)
        urls = {}
        for service in listed["items"]:
            metadata, selector = service["metadata"], service["spec"].get("selector")
            for played in self._played.values():
                mine = played.body["metadata"]
                if (
                    played.ready
                    and selector
                    and mine["namespace"] == metadata["namespace"]
                    and selector.items() <= mine["labels"].items()
                ):
                    host = f"{metadata['name']}.{metadata['namespace']}.svc"
                    port = service["spec"]["ports"][0]["port"]
                    urls[f"{host}:{port}"] = f"127.0.0.1:{played.port}"
        return urls

    async def _await_ready(self, played: Played) -> None:
        probe = played.body["spec"]["containers"][0].get("readinessProbe", {}).get("httpGet")
        async with httpx.AsyncClient(trust_env=False) as client:
            while probe is not None:
                with contextlib.suppress(httpx.HTTPError):
                    port = played.port if probe["port"] == "http" else played.health_port
                    url = f"http://127.0.0.1:{port}{probe['path']}"
                    if (await client.get(url, timeout=10)).status_code == 200:
                        break
                await asyncio.sleep(_LOOK_SECONDS)
        played.ready = True
        await self._tell(played, "Running")

    async def _tell(self, played: Played, phase: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = "True" if played.ready and phase == "Running" else "False"
        conditions = [
            {"type": type_, "status": status, "lastTransitionTime": now}
            for type_, status in (
                ("Initialized", "True"),
                ("ContainersReady", ready),
                ("Ready", ready),
            )
        ]
        status = {"phase": phase, "startTime": now, "conditions": conditions}
        await self._call(
            "PATCH",
            f"{_path(played.body)}/status",
            headers=_MERGE,
            content=json.dumps({"status": status}),
        )

    async def _beat(self) -> None:
        """Say that the node lives, or its pods would be taken for lost."""
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "Played", "message": "It plays."}
        ready |= {"lastHeartbeatTime": stamp, "lastTransitionTime": stamp}
        await self._call(
            "PATCH",
            f"/api/v1/nodes/{_NODE}/status",
            headers=_MERGE,
            content=json.dumps({"status": {"conditions": [ready]}}),
        )

    async def _call(self, method: str, path: str, **options: Any) -> Json | Refusal:
        return await asyncio.to_thread(self._api.call, method, path, **options)


async def _end(played: Played, number: signal.Signals) -> None:
    """End a pod's processes, and what would start them anew; give them their time first."""
    played.ready = False
    if played.running is not None:
        played.running.cancel()
        await asyncio.wait([played.running])
    processes = list(played.processes)
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
    grace = played.body["spec"].get("terminationGracePeriodSeconds", 30)
    for process in processes:
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _node() -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": _NODE}}


def _path(body: Json) -> str:
    metadata = body["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _label(played: Played, name: str) -> str | None:
    labels: Json = played.body["metadata"].get("labels", {})
    return labels.get(f"app.kubernetes.io/{name}")


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
