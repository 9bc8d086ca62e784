"""From Kafka to rows while consumers are killed, added and removed, and the broker restarts."""

import asyncio
import json
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from cryptography.fernet import Fernet

from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.kafka.broker import RealKafka

EVENTS, PARTITIONS, KEYS = 50_000, 12, 300
CONSUMERS = 3
A_SECOND = 1_500
SECONDS = 240
TOPIC = "crowd"
SOURCE = """
apiVersion: taskloom.dev/v1alpha1
kind: EventSource
metadata:
  name: crowd
spec:
  kafka:
    bootstrapServers: ['{server}']
    topics: [{topic}]
    initialOffset: Earliest
  placement:
    replicas: {replicas}
"""
Harm = Callable[[RealKafka, Sequence[ServedTaskloom]], Coroutine[Any, Any, None]]


async def _produce(server: str) -> None:
    """Produce numbered events of every key, at a pace that leaves time for harm."""
    numbers: dict[int, int] = defaultdict(int)
    async with AIOKafkaProducer(
        bootstrap_servers=server, enable_idempotence=True, request_timeout_ms=60_000
    ) as producer:
        for start in range(0, EVENTS, A_SECOND // 10):
            sent = []
            for _ in range(min(A_SECOND // 10, EVENTS - start)):
                key = random.randrange(KEYS)
                payload = {"of": key, "number": numbers[key]}
                numbers[key] += 1
                value = json.dumps({"key": "crowd", "payload": payload}).encode()
                sent.append(await producer.send(TOPIC, value, key=str(key).encode()))
            await asyncio.gather(*sent)
            await asyncio.sleep(0.1)


async def _kill_and_replace(_: RealKafka, consumers: Sequence[ServedTaskloom]) -> None:
    """Kill one without a word, or take one away for a while, every few seconds."""
    while True:
        await asyncio.sleep(random.uniform(1, 3))
        victim = random.choice(consumers)
        if random.random() < 0.5:
            await victim.kill()
        else:
            await victim.stop()
            await asyncio.sleep(random.uniform(0, 2))
        await victim.start()


async def _restart_the_broker(kafka: RealKafka, consumers: Sequence[ServedTaskloom]) -> None:
    """Stop it, kill it, each time for some seconds, with a consumer killed between."""
    await asyncio.sleep(5)
    kafka.stop()
    await asyncio.sleep(2)
    await kafka.start()
    await asyncio.sleep(5)
    await consumers[0].kill()
    await consumers[0].start()
    kafka.kill()
    await asyncio.sleep(1)
    await kafka.start()
    await asyncio.sleep(SECONDS)


async def _rows(url: str) -> list[tuple[str, dict[str, int]]]:
    """Give each event's idempotency key and payload, in the order they were stored in."""
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        found = await connection.execute(
            "SELECT idempotency_key, payload FROM events ORDER BY created_on, id"
        )
        return list(await found.fetchall())


async def _await_all(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(
        url.replace("+psycopg", ""), autocommit=True
    ) as connection:
        while True:
            found = await connection.execute("SELECT count(*) FROM events")
            count = await found.fetchone()
            if count is not None and count[0] >= EVENTS:
                return
            await asyncio.sleep(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [_kill_and_replace, _restart_the_broker])
async def test_every_event_is_stored_once_and_in_order(
    harm: Harm, tmp_path: Path, database_url: str
) -> None:
    """50,000 events over 12 partitions: so many rows, none twice, those of a key in their order."""
    files = tmp_path / "files"
    files.mkdir()
    shared = {
        "TASKLOOM_DATABASE_URL": database_url,
        "TASKLOOM_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "TASKLOOM_JWT_SECRET": secrets.token_hex(32),
    }

    def served(name: str, roles: str) -> ServedTaskloom:
        return ServedTaskloom(
            files=files,
            data_dir=tmp_path / name,
            port=free_port(),
            settings={**shared, "TASKLOOM_ROLES": roles},
        )

    front = served("front", "api,controller")
    consumers = [served(f"consumer-{number}", "connectors") for number in range(CONSUMERS)]
    async with RealKafka(tmp_path / "kafka") as kafka:
        await kafka.create_topic(TOPIC, partitions=PARTITIONS)
        text = SOURCE.format(server=kafka.plaintext, topic=TOPIC, replicas=CONSUMERS)
        (files / "source.yaml").write_text(text)
        await front.start()
        try:
            async with httpx.AsyncClient(base_url=front.url, timeout=30) as client:
                await front.wait_until_ready(client)
            for consumer in consumers:
                await consumer.start()
            harming = asyncio.create_task(harm(kafka, consumers))
            await _produce(kafka.plaintext)
            harming.cancel()
            for consumer in consumers:
                await consumer.kill()
                await consumer.start()
            async with asyncio.timeout(SECONDS):
                await _await_all(database_url)
            await asyncio.sleep(2)  # would there be more than there should be?
        finally:
            for server in (*consumers, front):
                await server.stop()
    rows = await _rows(database_url)
    numbers: dict[int, list[int]] = defaultdict(list)
    for _, payload in rows:
        numbers[payload["of"]].append(payload["number"])

    assert EVENTS == len(rows)
    assert EVENTS == len({key for key, _ in rows})
    assert {} == {key: given for key, given in numbers.items() if given != list(range(len(given)))}
