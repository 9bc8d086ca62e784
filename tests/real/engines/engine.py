"""A workflow engine of its own: Camunda 7 or Operaton, with its REST API, on H2 or PostgreSQL.

`ENGINES` names the kinds; ``build.sh`` beside this file builds them.
"""

import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import httpx

from tests.real.process import NotStarted, Process

Kind = Literal["camunda7", "operaton"]
ENGINES: Sequence[Kind] = ("camunda7", "operaton")
_JARS = Path(__file__).resolve().parents[3] / ".cache" / "real" / "engines"
_PREFIX: Mapping[Kind, str] = {"camunda7": "camunda.bpm", "operaton": "operaton.bpm"}
_START_SECONDS = 120.0
_TRIES = 3
USER = "admin"
PASSWORD = "correct horse"  # a throw-away engine's


class EngineMissing(RuntimeError):
    """An engine that the tests run for real is not there."""


class RealEngine:
    """An engine on a free loopback port, all its files below `folder`.

    ``async with RealEngine("operaton", folder) as engine`` runs one; `engine.url` tells where.
    `database` is a PostgreSQL URL (``postgresql://user@host:port/name``); by default its tables
    are in memory and end with it.
    `basic_auth` lets only `USER` with `PASSWORD` in.
    `by_hand` is for tests that are exact about time: its clock is set at `clock_url`, and its jobs
    are run by nobody but ``POST /job/{id}/execute``.
    `measured` is for benchmarks: it starts slower, and runs as fast as in an installation.
    """

    def __init__(
        self,
        kind: Kind,
        folder: Path,
        *,
        database: str | None = None,
        basic_auth: bool = False,
        by_hand: bool = False,
        measured: bool = False,
    ) -> None:
        self.kind = kind
        self._folder = folder.absolute()
        self._database = database
        self._basic_auth = basic_auth
        self._by_hand = by_hand
        self._jvm = () if measured else _QUICK_START
        self._port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The base of its REST API; the same after a restart."""
        return f"http://127.0.0.1:{self._port}/engine-rest"

    @property
    def running(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self._process is not None

    @property
    def clock_url(self) -> str:
        """Where an engine that is run `by_hand` takes its time: ``PUT`` an instant in ISO 8601.

        There its clock stands until the next one.
        """
        return f"http://127.0.0.1:{self._port}/clock"

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it."""
        self.stop()

    async def start(self) -> None:
        """Start it and wait until its API answers, some 15 s; at its former port if it had one.

        A port that was free may be taken meanwhile, so others are tried the first time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._port:
            await self._start()
            return
        for left in reversed(range(_TRIES)):
            self._port = _free_port()
            try:
                await self._start()
            except NotStarted:
                self.stop()
                if left == 0:
                    raise
            else:
                return

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End it without a goodbye, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    async def _start(self) -> None:
        jar = _JARS / self.kind / "engine.jar"
        java = shutil.which("java")
        if not jar.is_file() or java is None:
            raise EngineMissing(
                f"These tests run a real workflow engine, and "
                f"{'there is no java on the PATH' if java is None else f'{jar} is missing'}. "
                "Build the engines once with `make engines` (it needs Java 17, Maven and a minute)."
            )
        self._process = Process(
            [java, *_JVM, *self._jvm, "-jar", str(jar), *self._settings()],
            self._folder / "engine.log",
        )
        await self._process.wait_until(self._answers, _START_SECONDS)

    def _settings(self) -> Sequence[str]:
        prefix = _PREFIX[self.kind]
        settings = {
            "server.address": "127.0.0.1",
            "server.port": str(self._port),
            "spring.main.banner-mode": "off",
            "logging.level.root": "WARN",
            f"{prefix}.admin-user.id": USER,
            f"{prefix}.admin-user.password": PASSWORD,
            # Timers fire within a second of their time, not within a minute.
            f"{prefix}.job-execution.wait-time-in-millis": "500",
            f"{prefix}.job-execution.max-wait": "1000",
            **self._database_settings(),
        }
        if self._by_hand:
            settings["engine.clock"] = "true"
            settings[f"{prefix}.job-execution.enabled"] = "false"
        if self._basic_auth:
            settings["engine.basic-auth"] = "true"
        return [f"--{name}={value}" for name, value in settings.items()]

    def _database_settings(self) -> dict[str, str]:
        if self._database is None:
            return {
                "spring.datasource.url": "jdbc:h2:mem:engine;DB_CLOSE_DELAY=-1",
                "spring.datasource.username": "sa",
                "spring.datasource.password": "",
            }
        url = httpx.URL(self._database)
        return {
            "spring.datasource.url": f"jdbc:postgresql://{url.host}:{url.port}{url.path}",
            "spring.datasource.username": url.username,
            "spring.datasource.password": url.password,
        }

    async def _answers(self) -> bool:
        auth = (USER, PASSWORD) if self._basic_auth else None
        try:
            # Plain HTTP: reading the certificates of authorities would take longer than the answer.
            async with httpx.AsyncClient(trust_env=False, verify=False, auth=auth) as client:
                answer = await client.get(f"{self.url}/version", timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK


_JVM = ("-Xmx512m", "-Djava.awt.headless=true")
# Starts in a third less time than with the compilers' full effort.
_QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
