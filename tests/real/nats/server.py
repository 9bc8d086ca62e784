"""A NATS server of its own, with JetStream on files; ``build.sh`` beside this file builds it."""

import asyncio
import json
import os
import signal
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from tests.real.certificates import Authority, write_secret
from tests.real.process import NotStarted, Process

_PROGRAM = Path(__file__).resolve().parents[3] / ".cache" / "real" / "nats" / "nats-server"
_START_SECONDS = 15.0
_TRIES = 3


class NatsMissing(RuntimeError):
    """The server that the tests run for real is not there."""


class RealNats:
    """A server on a free loopback port, all its files below `folder`.

    ``async with RealNats(folder) as server`` runs it.
    `tls` has it speak TLS, with a certificate of `authority`; `verify` asks for a client's too.
    `authorization` says who may connect, as its configuration does; None lets everybody in;
    `own` are the options that the helpers here log in with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        verify: bool = False,
        authorization: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        self.authority = Authority()
        self.tls = tls
        self._folder = folder.absolute()
        self._verify = verify
        self._settings = dict(settings or {})
        if authorization is not None:
            self._settings["authorization"] = authorization
        self._own = dict(own or {})
        self._port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'tls' if self.tls else 'nats'}://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End it."""
        self.kill()

    async def start(self) -> None:
        """Start it unless it runs, and wait until it listens; at its former port if it had one."""
        if self._process is not None:
            return
        if not _PROGRAM.is_file():
            raise NatsMissing(
                f"These tests run a real NATS server, and {_PROGRAM} is missing. "
                "Build it once with `make nats` (it needs Go)."
            )
        first = self._port == 0
        for left in reversed(range(_TRIES if first else 1)):
            if first:
                self._port = _free_port()
            settings = await asyncio.to_thread(self._prepare)
            process = Process([str(_PROGRAM), "-c", str(settings)], self._folder / "nats.log")
            try:
                await process.wait_until(self._listens, _START_SECONDS)
            except NotStarted:
                process.kill()
                if left == 0:
                    raise
            else:
                self._process = process
                return

    def change(self, **settings: Any) -> None:
        """Change settings of its configuration, for its next start."""
        self._settings |= settings

    def stop(self) -> None:
        """End it as an administrator would."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End it without a goodbye, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def freeze(self) -> None:
        """Let it not answer, as a network that loses everything does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def trust_with(self, pair: str) -> None:
        """Let the helpers here speak TLS, and show this certificate."""
        context = ssl.create_default_context(cadata=self.authority.certificate)
        context.load_cert_chain(write_secret(self._folder / "client.pem", pair))
        self._own["tls"] = context

    async def client(self) -> Client:
        """Connect; the caller closes it."""
        return await nats.connect(self.url, allow_reconnect=False, **self._own)

    async def add_stream(self, name: str, *subjects: str, **options: Any) -> None:
        """Make a stream on files."""
        async with await self.client() as client:
            await client.jetstream().add_stream(name=name, subjects=list(subjects), **options)

    async def delete_stream(self, name: str) -> None:
        """Delete a stream and all that is in it."""
        async with await self.client() as client:
            await client.jetstream().delete_stream(name)

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Delete a consumer."""
        async with await self.client() as client:
            await client.jetstream().delete_consumer(stream, name)

    async def publish(
        self, subject: str, *bodies: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish messages, and wait until the stream has each."""
        async with await self.client() as client:
            jetstream = client.jetstream()
            for body in bodies:
                await jetstream.publish(subject, body, headers=dict(headers or {}) or None)

    async def messages(self, stream: str) -> Sequence[Any]:
        """Give what is in a stream, in its order."""
        async with await self.client() as client:
            jetstream = client.jetstream()
            state = (await jetstream.stream_info(stream)).state
            found = []
            for at in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    found.append(await jetstream.get_msg(stream, at))
                except NotFoundError:
                    continue
            return found

    async def consumer(self, stream: str, name: str) -> Any:
        """Tell how a consumer stands."""
        async with await self.client() as client:
            return await client.jetstream().consumer_info(stream, name)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    def _prepare(self) -> Path:
        """Write its configuration, which JSON is as well."""
        self._folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self._port,
            "server_name": "test",
            "jetstream": {"store_dir": str(self._folder / "store"), "sync_interval": "always"},
        } | self._settings
        if self.tls:
            pair = write_secret(self._folder / "server.pem", self.authority.issue("localhost"))
            authority = self._folder / "authority.pem"
            authority.write_text(self.authority.certificate)
            settings["tls"] = {
                "cert_file": str(pair),
                "key_file": str(pair),
                "ca_file": str(authority),
                "verify": self._verify,
            }
        return write_secret(self._folder / "nats.conf", json.dumps(settings))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
