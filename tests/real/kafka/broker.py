"""A Kafka of its own: one broker or several, with every kind of listener, in KRaft mode.

``build.sh`` beside this file fetches it.
"""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from tests.real.certificates import Authority, write_secret
from tests.real.process import NotStarted, Process

_LIBS = Path(__file__).resolve().parents[3] / ".cache" / "real" / "kafka" / "libs"
_START_SECONDS = 90.0
_TRIES = 3
USER, PASSWORD = "alice", "correct horse"  # a throw-away broker's
_LISTENERS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", "CONTROLLER")
_LOGIN = "org.apache.kafka.common.security"


class KafkaMissing(RuntimeError):
    """The broker that the tests run for real is not there."""


class RealKafka:
    """Brokers on free loopback ports, all their files below `folder`.

    ``async with RealKafka(folder) as kafka`` runs it; topics are made by `create_topic` only.
    `plaintext`, `ssl`, `sasl` and `sasl_ssl` are the first broker's listeners; SASL takes `USER`
    with `PASSWORD` by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, and unsecured tokens by OAUTHBEARER.
    `authority` has issued the brokers' certificates; a client's are asked for, and not demanded.
    The first broker is the controller; those after it may be stopped alone.
    """

    def __init__(self, folder: Path, *, brokers: int = 1, port: int | None = None) -> None:
        self.authority = Authority()
        self._folder = folder.absolute()
        self._cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._fixed = port
        self._ports: list[dict[str, int]] = [{} for _ in range(brokers)]
        self._processes: list[Process | None] = [None] * brokers

    @property
    def plaintext(self) -> str:
        """Where anybody may connect in the clear."""
        return self._address("PLAINTEXT")

    @property
    def ssl(self) -> str:
        """Where anybody may connect by TLS."""
        return self._address("SSL")

    @property
    def sasl(self) -> str:
        """Where `USER` may connect in the clear."""
        return self._address("SASL_PLAINTEXT")

    @property
    def sasl_ssl(self) -> str:
        """Where `USER` may connect by TLS."""
        return self._address("SASL_SSL")

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it; its files are no longer of use, so it need not put them in order."""
        self.kill()

    async def start(self) -> None:
        """Start every broker that does not run, and wait until they answer, some 5 s.

        At their former ports if they had some: a port that was free may be taken meanwhile, so
        others are tried the first time.
        """
        first = not self._ports[0]
        for left in reversed(range(_TRIES if first else 1)):
            if first:
                self._choose_ports()
            try:
                await asyncio.gather(*(self.start_broker(at) for at in range(len(self._ports))))
            except NotStarted:
                if left == 0:
                    raise
                self.kill()
            else:
                return

    async def start_broker(self, at: int) -> None:
        """Start one broker, counted from 0, unless it runs."""
        if self._processes[at] is not None:
            return
        java = shutil.which("java")
        if not _LIBS.is_dir() or java is None:
            raise KafkaMissing(
                "These tests run a real Kafka, and "
                f"{'there is no java on the PATH' if java is None else f'{_LIBS} is missing'}. "
                "Fetch it once with `make kafka` (it needs Java 17 and Maven)."
            )
        folder = self._folder / f"broker-{at}"
        log = self._folder / f"broker-{at}.log"
        if not folder.is_dir():
            await asyncio.to_thread(self._prepare, java, at, folder, log)
        settings = str(self._folder / f"broker-{at}.properties")
        process = Process([java, *_JVM, "-cp", f"{_LIBS}/*", "kafka.Kafka", settings], log)
        self._processes[at] = process
        await process.wait_until(lambda: self._answers(at), _START_SECONDS)

    def stop(self, at: int | None = None) -> None:
        """End all brokers, or one."""
        for process in self._taken(at):
            process.stop(30)

    def kill(self, at: int | None = None) -> None:
        """End all brokers, or one, without a goodbye, as a crash would."""
        for process in self._taken(at):
            process.kill()

    def freeze(self) -> None:
        """Let no broker answer, as a network that loses everything does."""
        for process in self._processes:
            if process is not None:
                os.killpg(process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for process in self._processes:
            if process is not None:
                os.killpg(process.pid, signal.SIGCONT)

    async def create_topic(
        self, name: str, *, partitions: int = 1, copies: int = 1, **settings: str
    ) -> None:
        """Make a topic; `settings` are Kafka's own, with _ for their dots."""
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(name, partitions, copies, topic_configs=configs)])
        await self._await_topic(name)

    async def add_partitions(self, name: str, count: int) -> None:
        """Give a topic more partitions, so many in all."""
        async with self._admin() as admin:
            await admin.create_partitions({name: NewPartitions(count)})

    async def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        async with self._admin() as admin:
            await admin.delete_topics([name])

    async def produce(
        self,
        topic: str,
        *values: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        compression: str | None = None,
        wait: bool = True,
    ) -> None:
        """Produce records, up to 10 MB each; without `wait` as fast as they can be sent."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.plaintext,
            max_request_size=_MOST_BYTES,
            compression_type=compression,
        ) as producer:
            for value in values:
                sent = await producer.send(
                    topic, value, key=key, headers=list(headers), partition=partition
                )
                if wait:
                    await sent

    def command(self, program: str, *arguments: str) -> list[str]:
        """Give the command line of one of Kafka's tools (``org.apache.kafka.tools.…``)."""
        java = shutil.which("java") or "java"
        return [java, "-Xmx128m", *_QUICK, "-cp", f"{_LIBS}/*", program, *arguments]

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.plaintext)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def _await_topic(self, name: str) -> None:
        """Return when the topic can be produced to."""
        async with AIOKafkaProducer(bootstrap_servers=self.plaintext) as producer:
            await producer.partitions_for(name)

    def _choose_ports(self) -> None:
        for at in range(len(self._ports)):
            self._ports[at] = dict(zip(_LISTENERS, _free_ports(len(_LISTENERS)), strict=True))
        if self._fixed is not None:
            self._ports[0]["PLAINTEXT"] = self._fixed

    def _address(self, listener: str, at: int = 0) -> str:
        return f"127.0.0.1:{self._ports[at][listener]}"

    def _taken(self, at: int | None) -> list[Process]:
        chosen = range(len(self._processes)) if at is None else [at]
        taken = [process for each in chosen if (process := self._processes[each]) is not None]
        for each in chosen:
            self._processes[each] = None
        return taken

    def _prepare(self, java: str, at: int, folder: Path, log: Path) -> None:
        """Write a broker's settings and format its storage."""
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / f"broker-{at}.properties"
        lines = [f"{name}={value}" for name, value in self._settings(at, folder).items()]
        settings.write_text("\n".join(lines) + "\n")
        scram = [
            word
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for word in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        tool = [java, *_QUICK, "-cp", f"{_LIBS}/*", "kafka.tools.StorageTool", "format"]
        with log.open("ab") as output:
            subprocess.run(
                [*tool, "-t", self._cluster, "-c", str(settings), *scram],
                check=True,
                stdout=output,
                stderr=output,
            )

    def _settings(self, at: int, folder: Path) -> Mapping[str, str]:
        controller = at == 0
        names = [name for name in _LISTENERS if controller or name != "CONTROLLER"]
        here = {name: f"{name}://{self._address(name, at)}" for name in names}
        key = write_secret(self._folder / f"broker-{at}.pem", self.authority.issue(f"broker-{at}"))
        trusted = write_secret(self._folder / "authority.pem", self.authority.certificate)
        copies = str(min(2, len(self._ports)))
        plain = f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        settings = {
            "process.roles": "broker,controller" if controller else "broker",
            "node.id": str(at + 1),
            "controller.quorum.voters": f"1@{self._address('CONTROLLER')}",
            "listeners": ",".join(here.values()),
            "advertised.listeners": ",".join(
                value for name, value in here.items() if name != "CONTROLLER"
            ),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(
                f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in _LISTENERS
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(folder),
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(_MOST_BYTES),
            "replica.fetch.max.bytes": str(_MOST_BYTES),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A broker that was killed is not counted on for long.
            "broker.session.timeout.ms": "6000",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(key),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(trusted),
            "ssl.client.auth": "requested",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        }
        for listener in ("sasl_plaintext", "sasl_ssl"):
            start = f"listener.name.{listener}"
            scram = f"{_LOGIN}.scram.ScramLoginModule required;"
            settings |= {
                f"{start}.plain.sasl.jaas.config": plain,
                f"{start}.scram-sha-256.sasl.jaas.config": scram,
                f"{start}.scram-sha-512.sasl.jaas.config": scram,
                f"{start}.oauthbearer.sasl.jaas.config": (
                    f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required "
                    'unsecuredLoginStringClaim_sub="broker";'
                ),
            }
        return settings

    async def _answers(self, at: int) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._ports[at]["PLAINTEXT"])
        except OSError:
            return False
        writer.close()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._address("PLAINTEXT", at), request_timeout_ms=2000
        )
        try:
            await producer.start()
            known = len(producer.client.cluster.brokers())
        except (KafkaError, OSError):
            return False
        finally:
            await producer.stop()
        return known >= sum(process is not None for process in self._processes)


_MOST_BYTES = 12_000_000
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_JVM = ("-Xmx384m", "-Djava.awt.headless=true", *_QUICK)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
