"""One program that runs beside the tests: started, waited for, stopped by its process id."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

# Ends the program with this process, even a killed one: the pipe then closes.
_TIED = 'exec 3<&0; (read -r _ <&3; kill -9 $$ 2>/dev/null) & exec 3<&-; exec "$@" </dev/null'
_LOOK_SECONDS = 0.05


class NotStarted(RuntimeError):
    """A program ended, or did not answer in time; the message holds the end of its log."""


class Process:
    """A program whose output goes to `log`."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["/bin/sh", "-c", _TIED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._popen.pid

    async def wait_until(self, answers: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Ask again and again until it answers; `NotStarted` if it never does."""
        end = time.monotonic() + seconds
        while not await answers():
            if self._popen.poll() is not None:
                raise NotStarted(f"It ended: {self._last_words()}")
            if time.monotonic() > end:
                raise NotStarted(f"No answer in {seconds:g} s: {self._last_words()}")
            await asyncio.sleep(_LOOK_SECONDS)

    def stop(self, seconds: float = 15.0) -> None:
        """End it; kill it if it does not end in time."""
        self._popen.terminate()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._let_go()

    def kill(self) -> None:
        """End it without a goodbye, as a crash would."""
        self._popen.kill()
        self._popen.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


async def wait_for(program: asyncio.subprocess.Process) -> int:
    """Wait for its end; Ctrl-C is told to it by the terminal, and it takes its time."""
    while True:
        try:
            return await program.wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
