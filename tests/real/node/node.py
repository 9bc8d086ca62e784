"""A cluster of one real node: pods run, Services are reached, names are found.

Without Docker: containerd, kubelet, kube-proxy and CoreDNS beside a control plane of our own,
all in a `Room`.  Network policies are not enforced, as the pod network has no part that would.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import httpx

from tests.real.kubernetes.api import Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.parts import node_part
from tests.real.node import configuration
from tests.real.node.image import Images
from tests.real.node.room import ADDRESS, Room
from tests.real.node.tools import Tools
from tests.real.process import NotStarted, Process

_NAME = "node"
_SECONDS = 60.0


class Node:
    """A running cluster with `images` on its node; ``async with`` starts and ends it."""

    def __init__(self, *, tools: Tools, images: Images) -> None:
        self._tools = tools
        self._images = images
        self._stack = contextlib.AsyncExitStack()
        self._folder = self._kubeconfig = Path()

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator; it works on the machine."""
        return self._kubeconfig

    async def __aenter__(self) -> Self:
        """Start everything, and wait until the node is ready for pods."""
        async with contextlib.AsyncExitStack() as stack:
            room = await stack.enter_async_context(Room(self._tools))
            self._folder = room.folder
            plane = ControlPlane(
                self._folder / "plane", controllers=True, address=ADDRESS, enter=room.network
            )
            await stack.enter_async_context(plane)
            self._kubeconfig = plane.kubeconfig
            # Before the control plane: whoever watches keeps the API server from ending.
            stack.callback(room.close)
            await self._start(room)
            self._give_storage()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End everything; nothing is left of it on the machine."""
        await self._stack.aclose()

    async def _start(self, room: Room) -> None:
        state, kubeconfig = self._folder, self._kubeconfig
        for name in ("networks", "containerd"):
            (state / name).mkdir()
        (state / "resolv.conf").write_text("")
        (state / "networks" / "pods.conflist").write_text(configuration.pod_network())
        files = {
            "containerd": configuration.containerd(
                state=state / "containerd", plugins=self._tools.cni, networks=state / "networks"
            ),
            "kubelet": configuration.kubelet(state=state, cgroup=room.cgroup, dns=ADDRESS),
            "proxy": configuration.proxy(kubeconfig=kubeconfig, node=_NAME),
            "dns": configuration.dns(kubeconfig=kubeconfig, address=ADDRESS),
        }
        for name, text in files.items():
            (state / f"{name}.conf").write_text(text)

        runtime = room.start("containerd", "containerd", f"--config={state / 'containerd.conf'}")
        await _until(runtime, _succeeds(room, "ctr", "version"))
        for archive in (self._images.pause, self._images.taskloom):
            room.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))
        scheduler = (str(node_part("kube-scheduler")), f"--kubeconfig={kubeconfig}")
        room.start("scheduler", *scheduler, "--leader-elect=false")
        room.start("proxy", str(node_part("kube-proxy")), f"--config={state / 'proxy.conf'}")
        names = room.start("dns", str(node_part("dns")), f"-conf={state / 'dns.conf'}")
        agent = room.start(
            "kubelet",
            str(node_part("kubelet")),
            f"--config={state / 'kubelet.conf'}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={_NAME}",
            f"--node-ip={ADDRESS}",
            f"--root-dir={state / 'kubelet'}",
            f"--cert-dir={state / 'kubelet' / 'keys'}",
        )
        await _until(agent, self._is_ready)
        await _until(names, _answers(f"http://{ADDRESS}:8181/ready"))

    def _give_storage(self) -> None:
        """Offer a volume to whoever claims one first, open to every user as such volumes are."""
        folder = self._folder / "volume"
        folder.mkdir()
        folder.chmod(0o777)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "volume"},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(folder)},
            },
        }
        with connect(self._kubeconfig) as api:
            api.kubectl("apply", "--filename=-", given=json.dumps(volume))

    async def _is_ready(self) -> bool:
        with connect(self._kubeconfig) as api:
            found = api.call("GET", f"/api/v1/nodes/{_NAME}")
        if isinstance(found, Refusal):
            return False
        conditions = {one["type"]: one["status"] for one in found["status"].get("conditions", ())}
        tainted = "taints" in found["spec"]  # not-ready, for a moment longer
        return conditions.get("Ready") == "True" and not tainted


def _succeeds(room: Room, *command: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        try:
            room.run(*command)
        except RuntimeError:
            return False
        return True

    return ask


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            with contextlib.suppress(httpx.HTTPError):
                return (await client.get(url)).is_success
        return False

    return ask


async def _until(process: Process, holds: Callable[[], Awaitable[bool]]) -> None:
    try:
        await process.wait_until(holds, _SECONDS)
    except NotStarted as error:
        raise NotStarted(f"The node did not come up: {error}") from error
