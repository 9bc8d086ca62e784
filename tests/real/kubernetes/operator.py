"""Taskloom as an operator, in a process of its own, on a real cluster and a real database."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from tests.real.kubernetes.api import Api, Json, Refusal

_SECONDS = 60.0


class Operator:
    """``taskloom serve --kubernetes`` for one namespace, where its Lease is too."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        namespace: str,
        database_url: str,
        key: str,
        folder: Path,
        roles: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.log = folder.with_suffix(".log")
        self._command = (
            *(sys.executable, "-m", "taskloom", "serve", "--kubernetes"),
            *("--namespaces", namespace, "--data-dir", str(folder), "--port", "0"),
            *(("--roles", roles) if roles else ()),
        )
        self._environment = os.environ | {
            "KUBECONFIG": str(kubeconfig),
            "TASKLOOM_DATABASE_URL": database_url,
            "TASKLOOM_ENCRYPTION_KEYS": key,
            "TASKLOOM_LEASE_NAMESPACE": namespace,
            "TASKLOOM_LOG_FORMAT": "json",
            **{f"TASKLOOM_{name}": value for name, value in (settings or {}).items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process; it need not lead."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )

    async def stop(self) -> None:
        """End it as a supervisor would."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it without a word."""
        await self._end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def leads(self) -> bool:
        """Tell whether it has said that it leads."""
        return self.says("kubernetes.leading")

    def says(self, event: str) -> bool:
        """Tell whether an event is in its log."""
        return event in self.log.read_text()

    def get(self, path: str) -> httpx.Response:
        """Ask it at the port for health, which must be set to 0, or at the API's."""
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text())
        assert found is not None, "it does not listen"
        return httpx.get(f"{found[0]}{path}", trust_env=False, timeout=10)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()
        self._process = None


Start = Callable[..., Awaitable[Operator]]
"""The fixture `operate`: starts an operator, whose data folder has the name that is given."""


async def until(holds: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Ask until it holds; TimeoutError if it never does."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.1)


def condition(api: Api, document: Json, type_: str = "Ready") -> tuple[str, str, int] | None:
    """Read a condition: status, reason and the generation it speaks of; None if there is none."""
    found = api.get(document)
    if isinstance(found, Refusal):
        return None
    for entry in found.get("status", {}).get("conditions", ()):
        if entry["type"] == type_:
            return (entry["status"], entry["reason"], entry["observedGeneration"])
    return None
