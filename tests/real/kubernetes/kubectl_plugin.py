"""``kubectl taskloom``, in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

_AS_KUBECTL = (
    "import sys; from taskloom.__main__ import main; sys.argv[0] = 'kubectl-taskloom'; main()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Said]]
"""The fixture `run`: runs ``kubectl taskloom`` with these arguments."""


def plugin_in(namespace: str, kubeconfig: Path, path: Path) -> Run:
    """Give a function that runs it; the context, written to `path`, stands in the namespace."""
    path = in_namespace(kubeconfig, namespace, path)

    async def call(*arguments: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _AS_KUBECTL, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"KUBECONFIG": str(path)},
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Said(code=process.returncode, out=out.decode(), err=err.decode())

    return call


def in_namespace(kubeconfig: Path, namespace: str, path: Path) -> Path:
    """Write a kubeconfig whose contexts stand in a namespace."""
    config = yaml.safe_load(kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(config))
    return path
