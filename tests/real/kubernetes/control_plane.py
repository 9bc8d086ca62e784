"""A Kubernetes control plane of its own: etcd, kube-apiserver, the controller-manager on request.

No node and no scheduler: objects are stored, validated, defaulted, watched and,
with the controller-manager, collected; no pod ever runs.  `tests.real.node` adds these.
"""

import base64
import contextlib
import json
import secrets
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpx

from tests.real.kubernetes.parts import part
from tests.real.kubernetes.pki import Pki, make_pki
from tests.real.process import NotStarted, Process

_START_SECONDS = 90.0
_TRIES = 3
_LOOPBACK = "127.0.0.1"
_ISSUER = "https://kubernetes.default.svc"


class ControlPlane:
    """A control plane on free loopback ports, all its state below `folder`.

    ``async with ControlPlane(folder) as plane`` runs one, and `plane.kubeconfig` tells where.
    `controllers` starts the controller-manager also: without it no garbage is collected,
    no namespace goes away, and no namespace gets its ServiceAccount.
    `address` is where the API server listens; pods reach it at any but a loopback one.
    `enter` goes before each command, to run it in a network of its own.
    `audited` writes down every request that a ServiceAccount makes (see `audit`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        controllers: bool = False,
        address: str = _LOOPBACK,
        enter: Sequence[str] = (),
        audited: bool = False,
    ) -> None:
        self._folder = folder.absolute()
        self._controllers = controllers
        self._address = address
        self._enter = enter
        self._audited = audited
        self._running: dict[str, Process] = {}
        self._ports: tuple[int, ...] = ()
        self._token = secrets.token_hex(16)
        self._pki: Pki | None = None

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self._address}:{self._ports[0]}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator."""
        return self._folder / "kubeconfig"

    @property
    def audit(self) -> Path:
        """The requests of ServiceAccounts, an event of audit.k8s.io a line."""
        return self._folder / "audit.log"

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of what runs, by the program's name."""
        return {name: process.pid for name, process in self._running.items()}

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it."""
        self.stop()

    async def start(self) -> None:
        """Start all parts and wait until the API server is ready.

        A port that was free may be taken meanwhile, so others are tried.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._pki is None:
            self._pki = make_pki(self._folder / "pki", datetime.now(UTC), self._address)
        (self._folder / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n")
        for left in reversed(range(_TRIES)):
            self._ports = _free_ports(4)
            self.write_kubeconfig(self.kubeconfig, self._token)
            try:
                await self._start_etcd()
                await self.start_api_server()
                if self._controllers:
                    await self._start_controllers()
            except NotStarted:
                self.stop()
                if left == 0:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop all parts, the last one started first."""
        for name in reversed(list(self._running)):
            self._running.pop(name).stop()

    def stop_api_server(self, *, crash: bool = False) -> None:
        """Stop the API server alone, or crash it; etcd keeps what it stored."""
        process = self._running.pop("kube-apiserver")
        if crash:
            process.kill()
        else:
            process.stop()

    async def start_api_server(self) -> None:
        """Start the API server, at the same address as before."""
        assert self._pki is not None
        port, etcd, *_ = self._ports
        keys = {
            "tls-cert-file": self._pki.server,
            "tls-private-key-file": self._pki.server_key,
            "client-ca-file": self._pki.authority,
            "service-account-key-file": self._pki.accounts_key,
            "service-account-signing-key-file": self._pki.accounts_key,
            "token-auth-file": self._folder / "tokens.csv",
        }
        if self._audited:
            keys |= {"audit-policy-file": self._audit_policy(), "audit-log-path": self.audit}
        await self._start(
            "kube-apiserver",
            *(f"--{name}={path}" for name, path in keys.items()),
            f"--etcd-servers=http://{self._address}:{etcd}",
            f"--secure-port={port}",
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            f"--endpoint-reconciler-type={'none' if self._address == _LOOPBACK else 'lease'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={_ISSUER}",
            "--service-cluster-ip-range=10.96.0.0/24",
            *(() if self._controllers else ("--disable-admission-plugins=ServiceAccount",)),
            url=f"{self.server}/readyz",
        )

    def _audit_policy(self) -> Path:
        path = self._folder / "audit-policy.json"
        rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        path.write_text(json.dumps(policy | {"omitStages": ["RequestReceived"]}))
        return path

    def write_kubeconfig(self, path: Path, token: str, *, namespace: str = "default") -> None:
        """Write a kubeconfig for whoever holds `token`, such as a ServiceAccount."""
        assert self._pki is not None
        authority = base64.b64encode(self._pki.authority.read_bytes()).decode()
        cluster = {"server": self.server, "certificate-authority-data": authority}
        path.touch(mode=0o600)
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "test", "user": {"token": token}}],
                    "contexts": [
                        {
                            "name": "test",
                            "context": {"cluster": "test", "user": "test", "namespace": namespace},
                        }
                    ],
                }
            )
        )

    async def _start_etcd(self) -> None:
        _, client, peer, _ = self._ports
        urls = f"http://{self._address}:{client}", f"http://{self._address}:{peer}"
        await self._start(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={urls[0]}",
            f"--advertise-client-urls={urls[0]}",
            f"--listen-peer-urls={urls[1]}",
            f"--initial-advertise-peer-urls={urls[1]}",
            f"--initial-cluster=default={urls[1]}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            url=f"{urls[0]}/health",
        )

    async def _start_controllers(self) -> None:
        assert self._pki is not None
        port = self._ports[3]
        await self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            f"--root-ca-file={self._pki.authority}",
            f"--service-account-private-key-file={self._pki.accounts_key}",
            f"--bind-address={self._address}",
            f"--secure-port={port}",
            f"--tls-cert-file={self._pki.server}",
            f"--tls-private-key-file={self._pki.server_key}",
            url=f"https://{self._address}:{port}/healthz",
        )

    async def _start(self, name: str, *arguments: str, url: str) -> None:
        process = Process([*self._enter, str(part(name)), *arguments], self._folder / f"{name}.log")
        self._running[name] = process
        assert self._pki is not None
        trust = ssl.create_default_context(cafile=str(self._pki.authority))
        headers = {"authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(verify=trust, headers=headers, trust_env=False) as client:

            async def answers() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(url)).status_code == 200
                return False

            try:
                await process.wait_until(answers, _START_SECONDS)
            except NotStarted as error:
                raise NotStarted(f"{name}: {error}") from error


def _free_ports(count: int) -> tuple[int, ...]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_LOOPBACK, 0))
        return tuple(one.getsockname()[1] for one in sockets)
