"""Where a node lives: a network, mounts and process ids of its own, which vanish as a whole.

Killed in whatever way, the room takes every process, mount and interface in it along;
of the machine's own there are only a veth's end, which goes with its peer, and empty cgroups.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.real.node.tools import Tools
from tests.real.process import Process

# Of 198.18.0.0/15, which is set aside for tests and is nobody's network.
MACHINE_ADDRESS = "198.18.77.1"
ADDRESS = "198.18.77.2"
_LINK = "taskloom-node"
_PREFIX = "taskloom-node-"
_FOLDERS = Path(tempfile.gettempdir())
_CGROUPS = Path("/sys/fs/cgroup")
_SCRIPT = Path(__file__).with_name("room.sh")
_SECONDS = 15.0


class NoRoom(RuntimeError):
    """The machine does not let a node be set up."""


class Room:
    """A room with the programs of `tools` as if installed; its state lies in `folder`."""

    def __init__(self, tools: Tools) -> None:
        self.folder = self._folder = _FOLDERS / f"{_PREFIX}{os.getpid()}"
        self._besides = tools.besides
        self._first: Process | None = None
        self._started: list[Process] = []
        self._pid = 0
        self.cgroup = f"{_PREFIX}{os.getpid()}"

    async def __aenter__(self) -> Self:
        """Make the room, and the wire from the machine into it."""
        if os.geteuid() != 0:
            raise NoRoom("A node needs root: for its network, its mounts and its containers.")
        _remove_what_the_dead_left()
        self._folder.mkdir()
        ready = self._folder / "pid"
        private = ("--mount", "--net", "--pid", "--fork", "--kill-child")
        self._first = Process(
            ["unshare", *private, str(_SCRIPT), str(self._folder), str(self._besides or "")],
            self._folder / "room.log",
        )
        try:

            async def is_ready() -> bool:
                return ready.exists()

            await self._first.wait_until(is_ready, _SECONDS)
            self._pid = int(ready.read_text())
            self._wire()
            self._make_cgroups()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End everything in the room, and remove its folder."""
        self.close()
        try:
            await self._remove_cgroups()  # empty, so everybody who might write there is gone
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def network(self) -> tuple[str, ...]:
        """What makes a command run in the room's network, else as any process of the machine."""
        return ("nsenter", f"--net=/proc/{self._pid}/ns/net")

    @property
    def inside(self) -> tuple[str, ...]:
        """What makes a command run wholly inside; it then ends with the room only."""
        # --wd: else it would start in the machine's idea of the present folder.
        return ("nsenter", f"--target={self._pid}", "--mount", "--net", "--pid", "--wd=/")

    def start(self, log: str, *command: str) -> Process:
        """Start a program inside."""
        path = self._folder / f"{log}.log"
        process = Process([*self.inside, *command], path)
        self._started.append(process)
        return process

    def run(self, *command: str, seconds: float = 120.0) -> str:
        """Run a program inside and give what it prints."""
        return _run([*self.inside, *command], seconds)

    def close(self) -> None:
        """End everything in the room, at once."""
        if self._first is not None:
            self._first.kill()
            self._first = None
        while self._started:
            self._started.pop().kill()

    def _wire(self) -> None:
        # The room's mounts, for its programs, but as yet in the machine's network.
        ip = ("nsenter", f"--target={self._pid}", "--mount", "ip")
        peer = ("peer", "name", "eth0", "netns", str(self._pid))
        try:
            _run([*ip, "link", "add", _LINK, "type", "veth", *peer])
        except NoRoom as error:
            raise NoRoom(f"{error} Does another node run on this machine?") from error
        _run([*ip, "address", "add", f"{MACHINE_ADDRESS}/30", "dev", _LINK])
        _run([*ip, "link", "set", _LINK, "up"])
        for command in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{ADDRESS}/30", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", MACHINE_ADDRESS),
        ):
            self.run("ip", *command)

    def _cgroup_folders(self) -> list[Path]:
        """One folder, or with cgroups of the first version one for each controller."""
        if _is_unified():
            return [_CGROUPS / self.cgroup]
        return [path / self.cgroup for path in _CGROUPS.iterdir() if path.is_dir()]

    def _make_cgroups(self) -> None:
        for folder in self._cgroup_folders():
            folder.mkdir(exist_ok=True)

    async def _remove_cgroups(self) -> None:
        """Remove them, as soon as the kernel has let go of what was in them."""
        async with asyncio.timeout(_SECONDS):
            while not all(_remove_cgroup(folder) for folder in self._cgroup_folders()):
                await asyncio.sleep(0.05)


def _remove_what_the_dead_left() -> None:
    """Remove the folders and empty cgroups of runs that were killed."""
    left = [*_FOLDERS.glob(f"{_PREFIX}*"), *_CGROUPS.glob(f"{_PREFIX}*")]
    left += [] if _is_unified() else _CGROUPS.glob(f"*/{_PREFIX}*")
    for path in left:
        pid = path.name.removeprefix(_PREFIX)
        if pid == str(os.getpid()) or (pid.isdigit() and not Path("/proc", pid).exists()):
            if path.is_relative_to(_CGROUPS):
                _remove_cgroup(path)
            else:
                shutil.rmtree(path, ignore_errors=True)


def _is_unified() -> bool:
    """Tell whether cgroups are of the second version: one tree for all controllers."""
    return (_CGROUPS / "cgroup.controllers").exists()


def _remove_cgroup(folder: Path) -> bool:
    """Remove a tree of cgroups, whose files go with their folders; tell whether it is gone."""
    for path, *_ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    return not folder.exists()


def _run(command: Sequence[str], seconds: float = 30.0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode != 0:
        raise NoRoom(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
