"""A cluster's Taskloom, spoken to from outside: by a port that kubectl forwards.

The API server's own proxy to a Service takes the Authorization header for itself, so that no token
could come through it.
"""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from taskloom.cli.cluster.choice import Choice, Reached, reach
from taskloom.cli.server import Server, connect
from taskloom.errors import Forbidden, Invalid, NotFound, Permanent, Unauthenticated, Unavailable
from taskloom.providers.kubernetes.objects import SERVICES, Body

SELECTOR = "app.kubernetes.io/name=taskloom"
_PORT = "http"
_SECONDS = 20.0
_TOKEN_SECONDS = 600  # the shortest that an API server gives
_FORWARDING = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")

ServiceOption = Annotated[
    str | None,
    typer.Option(
        "--service",
        envvar="TASKLOOM_SERVICE",
        help="The Service of the cluster's Taskloom, if there are several.",
        metavar="NAMESPACE/NAME",
        show_default="found by its labels",
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option(
        "--service-account",
        envvar="TASKLOOM_SERVICE_ACCOUNT",
        help="The ServiceAccount to ask the cluster's Taskloom as, instead of --token.",
        metavar="NAMESPACE/NAME",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to come to the cluster's Taskloom, and as whom."""

    choice: Choice
    service: str | None = None
    account: str | None = None
    token: str | None = None


@contextlib.asynccontextmanager
async def connect_through(way: Way, data_dir: Path) -> AsyncIterator[Server]:
    """Open a connection to the Taskloom of a cluster."""
    async with reach(way.choice) as reached:
        namespace, name = await _service(reached, way.service)
        token = way.token or await _token(reached, namespace, way.account)
    async with (
        forwarded(port_forward(way.choice, namespace, name)) as url,
        connect(url, token, data_dir) as server,
    ):
        yield server


async def _service(reached: Reached, given: str | None) -> tuple[str, str]:
    if given is not None:
        namespace, slash, name = given.rpartition("/")
        return (namespace, name) if slash else (reached.one_namespace, name)
    try:
        found = await reached.cluster.find(SERVICES, None, labels=SELECTOR)
    except Forbidden:
        found = await reached.cluster.find(SERVICES, reached.namespace, labels=SELECTOR)
    return choose_service(found, reached.context)


def choose_service(found: Sequence[Body], context: str) -> tuple[str, str]:
    """Give the one Service that has the port of the API, as namespace and name."""
    named = sorted(
        (str(body["metadata"]["namespace"]), str(body["metadata"]["name"]))
        for body in found
        if any(port.get("name") == _PORT for port in (body.get("spec") or {}).get("ports") or ())
    )
    if not named:
        raise NotFound(
            f"No Taskloom is found in the cluster of the context {context} (no Service with the "
            f"label {SELECTOR}): give --service NAMESPACE/NAME, or --url."
        )
    if len(named) > 1:
        listed = ", ".join("/".join(each) for each in named)
        raise Invalid(f"There are several Taskloom in the cluster: give --service, of {listed}.")
    return named[0]


async def _token(reached: Reached, namespace: str, account: str | None) -> str:
    if account is None:
        raise Unauthenticated(
            "Taskloom needs to know who asks: give --token, or --service-account of an account "
            f"that may call it (its rights are given in the namespace {namespace}; "
            "docs/reference/kubernetes.md says how)."
        )
    of, _, name = account.rpartition("/")
    audience = os.environ.get("TASKLOOM_KUBERNETES_AUDIENCE", "taskloom")
    return await reached.cluster.issue_token(of or namespace, name, audience, _TOKEN_SECONDS)


def port_forward(choice: Choice, namespace: str, name: str) -> list[str]:
    """Write the command that forwards a free port of this machine to a Service."""
    command = ["kubectl", "--namespace", namespace, "port-forward", "--address", "127.0.0.1"]
    if choice.context is not None:
        command += ["--context", choice.context]
    if choice.kubeconfig is not None:
        command += ["--kubeconfig", str(choice.kubeconfig)]
    return [*command, f"service/{name}", f":{_PORT}"]


@contextlib.asynccontextmanager
async def forwarded(command: Sequence[str]) -> AsyncIterator[str]:
    """Forward a port while the block runs, and give the URL of its near end."""
    program = shutil.which(command[0])
    if program is None:
        raise Permanent(
            f"{command[0]} is not on the PATH, and is needed to reach the cluster's Taskloom: "
            "install it, or give --url."
        )
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                line = await process.stdout.readline()
        near = _FORWARDING.search(line)
        if near is None:
            raise Unavailable(f"No port is forwarded: {await _complaint(process)}")
        yield f"http://127.0.0.1:{int(near[1])}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _complaint(process: asyncio.subprocess.Process) -> str:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    _, said = await process.communicate()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "kubectl says nothing."
