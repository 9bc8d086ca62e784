"""A real Taskloom in a process of its own, for tests that stop, kill and start it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import httpx

_START_SECONDS = 60.0


class ServedTaskloom:
    """``taskloom serve`` on `files` and `data_dir`."""

    def __init__(
        self, *, files: Path, data_dir: Path, port: int, settings: dict[str, str] | None = None
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = data_dir.parent / f"taskloom-{port}.log"
        self._files = files
        self._data_dir = data_dir
        self._port = port
        self._environment = {**os.environ, "TASKLOOM_LOG_FORMAT": "json", **(settings or {})}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def authorization(self) -> dict[str, str]:
        """Headers with a token that may do everything; needs a data folder that has been served."""
        return {"authorization": f"Bearer {self._token}"}

    async def start(self) -> None:
        """Start the process and make a token."""
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taskloom", "serve"),
                *("--files", str(self._files), "--data-dir", str(self._data_dir)),
                *("--port", str(self._port)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        self._token = await self._make_token()

    async def wait_until_ready(self, client: httpx.AsyncClient) -> None:
        """Return when it says that it can do its work."""
        async with asyncio.timeout(_START_SECONDS):
            while True:
                if self._process is not None and self._process.returncode is not None:
                    raise RuntimeError(self.log_path.read_text()[-2000:])
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it without a word (SIGKILL); its database lives on."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it may have ended
                self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def stop(self) -> int:
        """End it as a supervisor would (SIGTERM); return its exit status."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        return await self._process.wait()

    async def _make_token(self) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "taskloom", "token"),
            *("--data-dir", str(self._data_dir), "--permissions", "*"),
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        output, _ = await process.communicate()
        return output.decode().strip()


def free_port() -> int:
    """Find a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
