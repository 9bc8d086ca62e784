"""The API alone, in a process of its own, that asks a real cluster who calls."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

_SECONDS = 60.0
_SERVES = "Taskloom serves at "


@contextlib.asynccontextmanager
async def open_door(
    *, kubeconfig: Path, namespace: str, database_url: str, key: str, folder: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """Run ``taskloom serve --roles api``; its log is beside `folder`."""
    with folder.with_suffix(".log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "taskloom", "serve", "--roles", "api", "--port", "0"),
            *("--data-dir", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=os.environ
            | {
                "KUBECONFIG": str(kubeconfig),
                "TASKLOOM_DATABASE_URL": database_url,
                "TASKLOOM_ENCRYPTION_KEYS": key,
                "TASKLOOM_JWT_SECRET": "0123456789abcdef0123456789abcdef",
                "TASKLOOM_KUBERNETES_CALLERS": "true",
                "TASKLOOM_KUBERNETES_NAMESPACE": namespace,
                "TASKLOOM_LOG_LEVEL": "debug",
                "TASKLOOM_LOG_FORMAT": "json",
            },
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_SECONDS):
            while not (line := (await process.stdout.readline()).decode()).startswith(_SERVES):
                assert line, "it ended"
        url = line.removeprefix(_SERVES).strip()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
