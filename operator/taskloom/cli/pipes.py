"""A broker's console clients beside the story: one sends the event, one reads what is told."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from taskloom.errors import Permanent


async def send_by(command: str, event: Mapping[str, Any]) -> None:
    """Give the event to a program, a line of its standard input, and wait for its end."""
    program = await _start(command, stdin=asyncio.subprocess.PIPE)
    line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
    out, _ = await program.communicate(line)
    if program.returncode != 0:
        said = out.decode(errors="replace").strip()[-500:]
        raise Permanent(f"`{_name(command)}` did not send the event: {said or 'it said nothing'}")


class Readings:
    """The messages that a program has printed, one a line, to be waited for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._messages: list[Mapping[str, Any]] = []
        self._came = asyncio.Event()

    def take(self, line: bytes) -> None:
        """Put a line in; one that is no JSON object is the program's own word."""
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                self._messages.append(message)
                self._came.set()

    async def find(self, key: str, concerns: Callable[[Any], bool], patience: float) -> None:
        """Wait for a message of a key whose payload is the one looked for, for so many seconds."""
        try:
            async with asyncio.timeout(patience):
                while not any(
                    message.get("key") == key and concerns(message["payload"])
                    for message in self._messages
                ):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise Permanent(f"`{self._name}` read no {key} within {patience:.0f} seconds") from None


@contextlib.asynccontextmanager
async def reading_by(command: str) -> AsyncIterator[Readings]:
    """Run a program that prints messages, and read them until the end of the context."""
    readings = Readings(_name(command))
    program = await _start(command)
    taking = asyncio.create_task(_take_all(program, readings))
    try:
        yield readings
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGTERM)  # scripts leave what they started behind
        await program.wait()
        await taking


async def _take_all(program: asyncio.subprocess.Process, readings: Readings) -> None:
    assert program.stdout is not None, "it was asked for"
    async for line in program.stdout:
        readings.take(line)


async def _start(
    command: str, *, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as exc:
        raise Permanent(f"`{_name(command)}` cannot be run: {exc.strerror}") from exc


def _name(command: str) -> str:
    return shlex.split(command)[0]
