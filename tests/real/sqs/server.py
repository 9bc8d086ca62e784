"""An ElasticMQ of its own, which speaks SQS; ``build.sh`` beside this file fetches it."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiobotocore.session import AioSession

from tests.real.process import Process

_LIBS = Path(__file__).resolve().parents[3] / ".cache" / "real" / "sqs" / "libs"
_START_SECONDS = 60.0
_JVM = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_SETTINGS = """
include classpath("application.conf")
node-address {{ protocol = http, host = localhost, port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
messages-storage {{ enabled = true, uri = "jdbc:h2:{folder}/messages" }}
queues-storage {{ enabled = true, path = "{folder}/queues.conf" }}
"""


class SqsMissing(RuntimeError):
    """The server that the tests run for real is not there."""


class RealSqs:
    """A server on a free loopback port; queues and messages are kept in `folder`.

    They outlive a stop, not always a kill.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: Process | None = None

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, name: str) -> str:
        """Give the URL of a queue."""
        return f"{self.endpoint}/000000000000/{name}"

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it."""
        self.kill()

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        java = shutil.which("java")
        if java is None or not _LIBS.is_dir():
            raise SqsMissing(
                "These tests run a real server of SQS, and java or its libraries are missing. "
                "Fetch it once with `make sqs` (it needs Java 17 and Maven)."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "elasticmq.conf"
        settings.write_text(_SETTINGS.format(port=self.port, folder=self._folder))
        command = [java, *_JVM, f"-Dconfig.file={settings}", "-cp", f"{_LIBS}/*"]
        process = Process([*command, "org.elasticmq.server.Main"], self._folder / "log")
        self._process = process
        await process.wait_until(self._answers, _START_SECONDS)

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """End it without a goodbye, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Give a client of it."""
        async with AioSession().create_client(
            "sqs",
            region_name="elasticmq",
            endpoint_url=self.endpoint,
            aws_access_key_id="x",
            aws_secret_access_key="x",
        ) as client:
            yield client

    async def create(self, name: str, **attributes: str) -> str:
        """Make a queue, a FIFO one if its name ends so; return its URL."""
        if name.endswith(".fifo"):
            attributes |= {"FifoQueue": "true"}
        async with self.client() as client:
            await client.create_queue(QueueName=name, Attributes=attributes)
        return self.url(name)

    async def send(self, url: str, *bodies: str, group: str | None = None) -> None:
        """Send messages, each with a deduplication id of its own where there is a group."""
        async with self.client() as client:
            for body in bodies:
                options = {}
                if group is not None:
                    options = {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{body}"}
                await client.send_message(QueueUrl=url, MessageBody=body, **options)

    async def figures(self, url: str) -> Mapping[str, int]:
        """Count messages: ``waiting`` and ``hidden``."""
        async with self.client() as client:
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        found = answer["Attributes"]
        return {
            "waiting": int(found["ApproximateNumberOfMessages"]),
            "hidden": int(found["ApproximateNumberOfMessagesNotVisible"]),
        }

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True
