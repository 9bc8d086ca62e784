"""A real Taskloom in a process of its own, and what it and its database use of the processor."""

import asyncio
import contextlib
import os
import platform
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server; `pid` is its process, its database's are found by its data folder."""

    url: str
    port: int
    pid: int
    data_dir: Path
    token: str

    def cpu_seconds(self) -> dict[str, float]:
        """Give the processor time used so far by the server and by its database."""
        return {
            "taskloom": _cpu(self.pid),
            "postgres": postgres_seconds(self.data_dir / "postgres"),
        }


@contextlib.asynccontextmanager
async def running_server(files: Path, **settings: str) -> AsyncIterator[Server]:
    """Serve `files` on a free port with a data folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as folder:
        data_dir = Path(folder) / "data"
        port = free_port()
        taskloom = [sys.executable, "-m", "taskloom"]
        process = await asyncio.create_subprocess_exec(
            *taskloom,
            *("serve", "--files", str(files), "--data-dir", str(data_dir), "--port", str(port)),
            env={**os.environ, "TASKLOOM_LOG_LEVEL": "warning", **settings},
        )
        try:
            await _answering(port, process)
            token_maker = await asyncio.create_subprocess_exec(
                *taskloom,
                *("token", "--data-dir", str(data_dir), "--permissions", "*"),
                stdout=asyncio.subprocess.PIPE,
            )
            token, _ = await token_maker.communicate()
            yield Server(
                url=f"http://127.0.0.1:{port}",
                port=port,
                pid=process.pid,
                data_dir=data_dir,
                token=token.decode().strip(),
            )
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def postgres_seconds(folder: Path) -> float:
    """Give the processor time used so far by the embedded server whose files are there."""
    postmaster = int((folder / "data/postmaster.pid").read_text().split()[0])
    return sum(_cpu(pid) for pid in [postmaster, *_children(postmaster)])


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def machine() -> str:
    """Describe where this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    python = platform.python_version()
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {python}"


def percentile(values: list[float], part: float) -> float:
    """Give the value below which `part` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def _answering(port: int, process: asyncio.subprocess.Process) -> None:
    for _ in range(600):
        if process.returncode is not None:
            raise SystemExit(f"taskloom ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise SystemExit("taskloom did not start within a minute")


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
