"""One machine and a real broker: what is wrong is told and passes; sources change while read."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiokafka import AIOKafkaConsumer
from typer.testing import CliRunner

from taskloom.cli.app import app
from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.certificates import Authority
from tests.real.kafka.broker import PASSWORD, USER, RealKafka

SECONDS = 15.0
"""How soon a resource tells what is wrong with it."""


class Stage:
    """A folder of resources, the server that follows it, and calls of the server."""

    def __init__(self, folder: Path, server: ServedTaskloom, client: httpx.AsyncClient) -> None:
        self._folder = folder
        self._server = server
        self._client = client
        self.data_dir = folder.parent / "data"

    def declare(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Write a resource, or change it."""
        self._write(name, {"kind": kind, "metadata": {"name": name}, "spec": spec})

    def secret(self, name: str, **values: str) -> None:
        """Write a Secret, or change it."""
        text = {"kind": "Secret", "metadata": {"name": name}, "stringData": values}
        self._write(name, text | {"apiVersion": "v1"})

    def _write(self, name: str, text: dict[str, Any]) -> None:
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"apiVersion": "taskloom.dev/v1alpha1"} | text))

    async def ready(self, name: str) -> tuple[str, str]:
        """Give status and reason of a resource's condition Ready."""
        for each in (await self._client.get("/resources", params={"name": name})).json():
            for condition in each["status"].get("conditions", ()):
                if condition["type"] == "Ready":
                    return condition["status"], condition["reason"]
        return "", ""

    async def turns(self, name: str, status: str, reason: str, seconds: float = SECONDS) -> None:
        """Wait until a resource is told to be so."""
        try:
            async with asyncio.timeout(seconds):
                while await self.ready(name) != (status, reason):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{name} is {await self.ready(name)}, not {(status, reason)}")

    async def numbers(self, key: str, count: int, seconds: float = 30.0) -> list[int]:
        """Wait for so many events of a key; give their numbers in the order they were stored."""
        query = json.dumps({"where": {"key": key}, "order": ["createdOn", "id"], "limit": 10_000})
        async with asyncio.timeout(seconds):
            while True:
                found = (await self._client.get("/events", params={"filter": query})).json()
                if len(found) >= count:
                    return [event["payload"]["number"] for event in found]
                await asyncio.sleep(0.1)

    async def letters(self, **where: Any) -> list[dict[str, Any]]:
        """List dead letters."""
        query = json.dumps({"where": where})
        found = await self._client.get("/dead-letters", params={"filter": query})
        letters: list[dict[str, Any]] = found.json()
        return letters

    async def run(self, *arguments: str) -> str:
        """Call the command line, which has a loop of its own."""
        environment = {"TASKLOOM_URL": self._server.url, "TASKLOOM_DATA_DIR": str(self.data_dir)}
        done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)
        assert 0 == done.exit_code, done.output
        return done.stdout


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Serve a folder."""
    files = tmp_path / "files"
    files.mkdir()
    server = ServedTaskloom(files=files, data_dir=tmp_path / "data", port=free_port())
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=30
        ) as client:
            await server.wait_until_ready(client)
            yield Stage(files, server, client)
    finally:
        await server.stop()


def kafka_part(server: str, *topics: str, **more: Any) -> dict[str, Any]:
    """Write the part of a source's spec."""
    return {
        "kafka": {
            "bootstrapServers": [server],
            "topics": list(topics),
            "initialOffset": "Earliest",
            **more,
        }
    }


def event(number: int, key: str = "order") -> bytes:
    """Write an event."""
    return json.dumps({"key": key, "payload": {"number": number}}).encode()


REF = {"name": "login"}
SASL = {"mechanism": "SCRAM-SHA-512", "usernameRef": REF, "passwordRef": REF}
CA = {"caRef": {"kind": "Secret", "name": "authority", "key": "ca.crt"}}


async def test_what_is_wrong_is_told_and_passes_without_a_restart(
    stage: Stage, kafka: RealKafka, topic: str
) -> None:
    """A password, an authority, a topic, a broker: each by its reason, for sources and sinks."""
    await kafka.create_topic(topic)
    stage.secret("login", username=USER, password="wrong")
    stage.secret("authority", **{"ca.crt": Authority().certificate})
    away = free_port()
    stage.declare("EventSource", "password", kafka_part(kafka.sasl, topic, sasl=SASL))
    stage.declare("EventSource", "authority-source", kafka_part(kafka.ssl, topic, tls=CA))
    stage.declare("EventSource", "missing", kafka_part(kafka.plaintext, f"{topic}.later"))
    stage.declare("EventSource", "away", kafka_part(f"127.0.0.1:{away}", topic))
    sink = {"bootstrapServers": [kafka.sasl], "topic": topic, "sasl": SASL}
    stage.declare("EventSink", "sink-password", {"kafka": sink})
    stage.declare(
        "EventSink",
        "sink-missing",
        {"kafka": {"bootstrapServers": [kafka.plaintext], "topic": f"{topic}.later"}},
    )

    await stage.turns("password", "False", "AuthFailed")
    await stage.turns("authority-source", "False", "AuthFailed")
    await stage.turns("missing", "False", "TopicNotFound")
    await stage.turns("away", "False", "ConnectFailed")
    await stage.turns("sink-password", "False", "AuthFailed")
    await stage.turns("sink-missing", "False", "TopicNotFound")

    stage.secret("login", username=USER, password=PASSWORD)
    stage.secret("authority", **{"ca.crt": kafka.authority.certificate})
    await kafka.create_topic(f"{topic}.later")
    stage.declare("EventSource", "away", kafka_part(kafka.plaintext, topic))
    for name in ("password", "authority-source", "away", "sink-password"):
        await stage.turns(name, "True", "Reconciled")
    for name in ("missing", "sink-missing"):  # the next try comes after a pause
        await stage.turns(name, "True", "Reconciled", 30)


async def test_a_source_changes_while_it_is_read(
    stage: Stage, kafka: RealKafka, topic: str
) -> None:
    """A topic more, other credentials, suspended, resumed: every event is stored once."""
    other = f"{topic}.more"
    for name in (topic, other):
        await kafka.create_topic(name, partitions=3)
    stage.secret("login", username=USER, password=PASSWORD)
    stage.declare("EventSource", "orders", kafka_part(kafka.sasl, topic, sasl=SASL))
    stop = asyncio.Event()

    async def produce() -> int:
        number = 0
        while not stop.is_set():
            for name in (topic, other):
                await kafka.produce(name, event(number), key=str(number).encode())
                number += 1
        return number

    producing = asyncio.create_task(produce())
    try:
        await stage.turns("orders", "True", "Reconciled")
        await stage.numbers("order", 20)
        stage.declare("EventSource", "orders", kafka_part(kafka.sasl, topic, other, sasl=SASL))
        await asyncio.sleep(3)
        plain = {**SASL, "mechanism": "PLAIN"}
        stage.declare("EventSource", "orders", kafka_part(kafka.sasl, topic, other, sasl=plain))
        await asyncio.sleep(3)
        part = kafka_part(kafka.sasl, topic, other, sasl=plain)
        stage.declare("EventSource", "orders", part | {"suspend": True})
        await stage.turns("orders", "True", "Suspended")
        await asyncio.sleep(1)
        stage.declare("EventSource", "orders", part)
        await stage.turns("orders", "True", "Reconciled")
    finally:
        stop.set()
        count = await producing
    numbers = await stage.numbers("order", count)
    await asyncio.sleep(1)  # would there be more than there should be?

    assert sorted(numbers) == list(range(count))
    assert count == len(await stage.numbers("order", count))


async def test_poison_is_kept_and_the_rest_flows_on(
    stage: Stage, kafka: RealKafka, topic: str
) -> None:
    """Of every kind and in thousands; repaired and replayed from the command line."""
    await kafka.create_topic(topic)
    stage.declare(
        "EventSource", "orders", kafka_part(kafka.plaintext, topic) | {"maxInFlight": 1000}
    )
    large = json.dumps({"key": "order", "payload": {"x": "x" * 5_000_000}}).encode()
    bad = [b"{", b"[]", b'{"key": 7}', b'{"payload": {"number": 3}}', large, None, b"\xff"]
    await kafka.produce(topic, event(1), *bad, event(2), key=b"k")
    poison = [b"{"] * 10_000
    await kafka.produce(topic, *poison, event(4), key=b"k", wait=False)

    assert [1, 2, 4] == await stage.numbers("order", 3, 60)
    letters = json.loads(
        await stage.run("dead-letters", "--source", "default/orders", "-o", "json")
    )
    told = await stage.run("replay", "--source", "default/orders", "--dry-run")
    [keyless] = await stage.letters(idempotencyKey=f"{topic}/0/4")
    shown = await stage.run("dead-letters", keyless["id"])
    replayed = await stage.run("replay", keyless["id"], "--key", "order")

    assert 100 == len(letters)
    assert "0 would become events" in told
    assert "10007 are no events still" in told
    assert '{"payload": {"number": 3}}' in shown
    assert "key must be a non-empty string" in shown
    assert replayed.startswith("It is the event ")
    assert [1, 2, 4, 3] == await stage.numbers("order", 4)


async def test_outgoing_events_come_at_a_sink_once_and_in_order(
    stage: Stage, kafka: RealKafka, topic: str
) -> None:
    """From one topic to another: by a mapping, a workflow and a sink, as the example shows it."""
    told = f"{topic}.told"
    for name in (topic, told):
        await kafka.create_topic(name, partitions=3)
    quickstart = Path(__file__).parents[2] / "examples" / "quickstart"
    for file in quickstart.glob("*.yaml"):
        (stage.data_dir.parent / "files" / file.name).write_text(file.read_text())
    stage.declare("EventSource", "purchases", kafka_part(kafka.plaintext, topic))
    stage.declare(
        "EventSink",
        "told",
        {
            "kafka": {"bootstrapServers": [kafka.plaintext], "topic": told},
            "eventKeys": ["task-created"],
        },
    )
    await stage.turns("told", "True", "Reconciled")
    purchase = json.dumps(
        {"key": "purchase-requested", "payload": {"item": "Desk", "amount": 480, "number": 1}}
    ).encode()
    await kafka.produce(topic, *[purchase] * 30)

    found: list[Any] = []
    async with (
        AIOKafkaConsumer(
            told, bootstrap_servers=kafka.plaintext, auto_offset_reset="earliest"
        ) as consumer,
        asyncio.timeout(60),
    ):
        while len(found) < 30:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += batch
    bodies = [json.loads(record.value) for record in found]

    assert {"task-created"} == {body["key"] for body in bodies}
    assert 30 == len({body["payload"]["createdTasks"][0]["id"] for body in bodies})
