"""Events from Kafka: to durable rows by Taskloom, beside a consumer that only counts.

Both read the same topic from its beginning, in turn, several times, each in this process and by
one consumer.  What Taskloom needs beyond the other is reading, de-duplicating, routing and storing.

    python -m bench.kafka --events 50000 --rounds 3
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.server import machine, postgres_seconds
from taskloom.connectors.kafka.source import Kafka
from taskloom.connectors.running import RunningSource, Surroundings
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import EventSource
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.ingest import Ingest, Ingested
from taskloom.flow.services import Services
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import migrate
from taskloom.testing.connectors import source_row
from tests.real.kafka.broker import RealKafka

TOPIC, PARTITIONS = "bench", 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one contender needed for all events."""

    events: int
    seconds: float
    python_seconds: float
    postgres_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


async def fill(server: str, count: int) -> None:
    """Produce events as an order service would: some 200 bytes each, keyed by order."""
    async with AIOKafkaProducer(bootstrap_servers=server, linger_ms=20) as producer:
        for number in range(count):
            payload = {"orderId": number, "item": "Standing desk", "amount": 480, "by": "mara"}
            event = {"key": "order-placed", "payload": payload, "source": "shop"}
            key = str(number % 1000).encode()
            await producer.send(TOPIC, json.dumps(event).encode(), key=key)


async def by_counting(server: str, group: str, count: int) -> Round:
    """Read all with a bare consumer that only counts."""
    left = count
    processor, started = time.process_time(), time.perf_counter()
    async with AIOKafkaConsumer(
        TOPIC, bootstrap_servers=server, group_id=group, auto_offset_reset="earliest"
    ) as consumer:
        while left:
            batches = await consumer.getmany(timeout_ms=1000)
            left -= sum(len(batch) for batch in batches.values())
    return Round(
        events=count,
        seconds=time.perf_counter() - started,
        python_seconds=time.process_time() - processor,
    )


async def by_taskloom(
    server: str, group: str, count: int, services: Services, folder: Path
) -> Round:
    """Read all as an EventSource does, until every event is a row."""
    source = source_row(
        {
            "kafka": {
                "bootstrapServers": [server],
                "topics": [TOPIC],
                "consumerGroup": group,
                "initialOffset": "Earliest",
            },
            "maxInFlight": 1000,
        },
        name=group,
    )
    ingest = Ingest(services)
    stored, done = 0, asyncio.Event()

    async def store(events: Sequence[NewEvent]) -> Sequence[Ingested]:
        nonlocal stored
        result = await ingest.all(events)
        stored += sum(not one.duplicate for one in result)
        if stored >= count:
            done.set()
        return result

    async def position(_source: EventSource) -> str | None:
        return None

    async def move(_source: EventSource, _position: str) -> None:
        return None

    async def keep(letters: Sequence[NewDeadLetter]) -> None:
        raise RuntimeError(letters[0].reason)

    around = Surroundings(
        ingest=store,
        keep=keep,
        position=position,
        move=move,
        now=services.now,
        news=lambda: None,
    )
    running = RunningSource(source, Kafka(), around)
    before = postgres_seconds(folder)
    processor, started = time.process_time(), time.perf_counter()
    running.start()
    await done.wait()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    after = postgres_seconds(folder)
    await running.stop()
    return Round(
        events=count,
        seconds=seconds,
        python_seconds=processor,
        postgres_seconds=after - before,
    )


async def measure(count: int, rounds: int) -> None:
    """Measure in turn, and print medians."""
    found: dict[str, list[Round]] = {"bare consumer": [], "taskloom": []}
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as name:
        folder = Path(name) / "postgres"
        postgres = EmbeddedPostgres(folder, {})
        await postgres.start()
        await migrate(postgres.url)
        database = Database(postgres.url)
        services = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
        async with RealKafka(Path(name) / "kafka") as kafka:
            await kafka.create_topic(TOPIC, partitions=PARTITIONS)
            await fill(kafka.plaintext, count)
            for number in range(-1, rounds):  # the first one warms both up
                results = {
                    "bare consumer": await by_counting(kafka.plaintext, f"bare-{number}", count),
                    "taskloom": await by_taskloom(
                        kafka.plaintext, f"taskloom-{number}", count, services, folder
                    ),
                }
                for contender, result in results.items():
                    if number >= 0:
                        found[contender].append(result)
        await database.close()
        await postgres.stop()
    report(found)


def report(found: dict[str, list[Round]]) -> None:
    """Print medians and ratios."""
    ours, bare = found["taskloom"], found["bare consumer"]
    print(f"events from Kafka: {len(ours)} x {ours[0].events:,} of {PARTITIONS} partitions")
    print(f"  machine        {machine()}")
    for name, of in found.items():
        rate = statistics.median(each.rate for each in of)
        python = statistics.median(each.python_seconds / each.events for each in of) * 1e6
        theirs = statistics.median(each.postgres_seconds / each.events for each in of) * 1e6
        print(
            f"  {name:14} {rate:8,.0f} events/s   {python:5.1f} µs of Python's processor time"
            f" an event, {theirs:5.1f} of PostgreSQL's"
        )
    ratio = statistics.median(
        mine.rate / other.rate for mine, other in zip(ours, bare, strict=True)
    )
    print(f"  taskloom stores events at {ratio:.2f} times the rate at which the other one counts")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(measure(options.events, options.rounds))


if __name__ == "__main__":
    main()
