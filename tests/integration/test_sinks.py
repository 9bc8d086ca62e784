"""What is told to sinks, on a real database: order, failures, changes, and who produces to what."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskloom.delivery.producing import LEASE
from taskloom.delivery.sinks import Rhythm, SinkHost
from taskloom.domain.conditions import Reason
from taskloom.domain.sources import ConnectionState, EventSink
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.publish import publish
from taskloom.flow.services import Services
from taskloom.ports.sink import NotProduced, SinkFailed
from taskloom.store.database import Database
from taskloom.testing.sinks import FakeSinks, sink_row

RHYTHM = Rhythm(lease=1.5, turn=0.1)
KAFKA = {"kafka": {"bootstrapServers": ["k:9092"], "topic": "t"}}
Start = Callable[..., "asyncio.Task[None]"]


async def until(holds: Callable[[], Any]) -> None:
    """Ask until it holds; TimeoutError if it never does."""
    async with asyncio.timeout(20):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


async def end(task: "asyncio.Task[None]") -> None:
    """Stop a process and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def services(database: Database) -> Services:
    """Give what use cases need."""
    return Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))


@pytest.fixture
async def start(services: Services) -> AsyncIterator[Start]:
    """Give a function that runs a host on its own, as a process would be."""
    running = []

    def begin(holder: str, *connectors: FakeSinks) -> "asyncio.Task[None]":
        host = SinkHost(
            services, {each.kind: each for each in connectors}, holder=holder, rhythm=RHYTHM
        )
        task = asyncio.create_task(host.run())
        running.append(task)
        return task

    yield begin
    for task in running:
        await end(task)


async def put(services: Services, *sinks: EventSink) -> None:
    """Declare sinks."""
    async with services.tasks.begin() as tx:
        for sink in sinks:
            await tx.sinks.put(sink)
        tx.notify("sinks")


async def tell(services: Services, *numbers: int, key: str = "task-created") -> None:
    """Publish events, each in a transaction of its own."""
    for number in numbers:
        async with services.tasks.begin() as tx:
            await publish(services, tx, key, {"number": number})


async def states(services: Services, sink: EventSink) -> dict[str, int]:
    """Count a sink's deliveries by state."""
    async with services.tasks.begin() as tx:
        counts = await tx.deliveries.counts()
    return {str(state): count for state, count in counts.get(sink.id, {}).items()}


async def standing(services: Services, sink: EventSink) -> tuple[str | None, str | None]:
    """Tell how a sink stands."""
    async with services.tasks.begin() as tx:
        found = (await tx.sink_states.all()).get(sink.id)
    return (None, None) if found is None else (found.standing.state, found.standing.reason)


def numbers(sinks: FakeSinks, sink: EventSink) -> list[int]:
    """List what came, in its order."""
    records = sinks.records.get(sink.id, [])
    return [json.loads(record.body)["payload"]["number"] for record in records]


async def test_what_sinks_want_comes_in_order(services: Services, start: Start) -> None:
    """By event keys and filter; in the form of each; recorded as delivered."""
    everything = sink_row(KAFKA, name="everything")
    odd = sink_row(
        {
            **KAFKA,
            "eventKeys": ["task-*"],
            "filter": "event.payload.number % 2 == 1",
            "format": {"type": "CloudEvents"},
        },
        name="odd",
    )
    await put(services, everything, odd)
    sinks = FakeSinks()
    start("one", sinks)

    await tell(services, *range(50))
    await tell(services, 51, key="other")
    await until(lambda: len(numbers(sinks, everything)) == 51)
    await until(lambda: len(sinks.records[odd.id]) == 25)

    events = [json.loads(record.body) for record in sinks.records[odd.id]]
    first = sinks.records[everything.id][0]
    assert [*range(50), 51] == numbers(sinks, everything)
    assert list(range(1, 50, 2)) == [event["data"]["number"] for event in events]
    assert {("1.0", "task-created")} == {(e["specversion"], e["type"]) for e in events}
    assert {"key", "payload", "timestamp", "source"} == set(json.loads(first.body))
    assert ("task-created", "application/json", str(first.id), "1") == (
        first.key,
        first.headers["content-type"],
        first.headers["webhook-id"],
        first.headers["webhook-attempt"],
    )
    assert {"delivered": 51} == await states(services, everything)


async def test_a_sink_that_fails_costs_no_attempt_and_nothing_else(
    services: Services, start: Start
) -> None:
    """It is told; all waits; another sink is served; and all comes when it is back."""
    bad, good = sink_row(KAFKA, name="bad"), sink_row({"sqs": {"queueUrl": "https://q/1"}})
    await put(services, bad, good)
    kafka, sqs = FakeSinks(), FakeSinks("sqs")
    kafka.failure = SinkFailed("wrong password", reason=Reason.AUTH_FAILED)
    start("one", kafka, sqs)

    await tell(services, 1, 2, 3)
    await until(lambda: numbers(sqs, good) == [1, 2, 3])
    await until(lambda: _stands(services, bad, "failing", Reason.AUTH_FAILED))
    assert {"pending": 3} == await states(services, bad)
    kafka.failure = None
    await until(lambda: numbers(kafka, bad) == [1, 2, 3])
    await until(lambda: _stands(services, bad, "connected", None))
    kafka.failure = SinkFailed("away")
    await tell(services, 4)
    await until(lambda: _stands(services, bad, "failing", Reason.CONNECT_FAILED))
    kafka.failure = None
    await until(lambda: numbers(kafka, bad) == [1, 2, 3, 4])

    assert {"1"} == {record.headers["webhook-attempt"] for record in kafka.records[bad.id]}


async def _stands(services: Services, sink: EventSink, state: str, reason: str | None) -> bool:
    return (state, reason) == await standing(services, sink)


async def test_what_can_never_be_produced_is_dead_with_its_reason(
    services: Services, start: Start
) -> None:
    """What can be later is tried again by the schedule; the others go on."""
    spec = {"kafka": {**KAFKA["kafka"], "key": "event.payload.number"}}
    sink = sink_row(spec)
    await put(services, sink)
    sinks = FakeSinks()
    sinks.refusals = {
        "1": NotProduced(message="too large", permanent=True),
        "2": NotProduced(message="not now"),
    }
    start("one", sinks)

    await tell(services, 0, 1, 2, 3)
    await until(lambda: numbers(sinks, sink) == [0, 3])
    sinks.refusals = {}
    await until(lambda: numbers(sinks, sink) == [0, 3, 2])

    async with services.tasks.begin() as tx:
        found = await tx.connection.exec_driver_sql(
            "SELECT a.error FROM attempts a JOIN deliveries d ON d.id = a.delivery_id "
            "WHERE d.state = 'dead'"
        )
        assert [("too large",)] == [tuple(row) for row in found]


async def test_a_key_that_cannot_be_read_is_told(services: Services, start: Start) -> None:
    """The others go on."""
    sink = sink_row({"kafka": {**KAFKA["kafka"], "key": "event.payload.name"}})
    await put(services, sink)
    start("one", FakeSinks())

    await tell(services, 1)

    await until(lambda: _counts(services, sink, {"dead": 1}))


async def _counts(services: Services, sink: EventSink, counts: dict[str, int]) -> bool:
    return counts == await states(services, sink)


async def test_a_suspended_sink_keeps_what_comes_and_a_changed_one_goes_on(
    services: Services, start: Start
) -> None:
    """Without a restart, nothing lost and nothing twice."""
    sink = sink_row(KAFKA)
    await put(services, sink)
    sinks = FakeSinks()
    start("one", sinks)
    await tell(services, 1)
    await until(lambda: numbers(sinks, sink) == [1])

    await put(services, replace(sink, suspended=True))
    await until(lambda: _stands(services, sink, "idle", None))
    await tell(services, 2)
    assert [1] == numbers(sinks, sink)
    changed = {**sink.spec, "kafka": {**sink.spec["kafka"], "topic": "another"}}
    await put(services, replace(sink, spec=changed))
    await tell(services, 3)
    await until(lambda: numbers(sinks, sink) == [1, 2, 3])

    assert ["t", "another"] == [each.spec["kafka"]["topic"] for each in sinks.opened]


async def test_one_process_produces_to_a_sink_and_another_takes_over(
    services: Services, start: Start
) -> None:
    """So that what has the same key stays in order."""
    sink = sink_row(KAFKA)
    await put(services, sink)
    one, other = FakeSinks(), FakeSinks()
    first = start("one", one)
    await until(lambda: _stands(services, sink, "connected", None))
    start("other", other)
    await tell(services, 1)
    await until(lambda: numbers(one, sink) == [1])
    await end(first)
    await tell(services, 2)
    await until(lambda: numbers(other, sink) == [2])

    assert [1] == numbers(one, sink)
    assert ConnectionState.CONNECTED == (await standing(services, sink))[0]


async def test_order_holds_past_a_process_that_was_killed(services: Services, start: Start) -> None:
    """What it had in hand comes again, and before what was told after it."""
    sink = sink_row(KAFKA)
    await put(services, sink)
    await tell(services, *range(5))
    await killed(services, sink, holding=3)
    sinks = FakeSinks()
    start("other", sinks)

    await until(lambda: len(numbers(sinks, sink)) == 5)

    assert [0, 1, 2, 3, 4] == numbers(sinks, sink)
    assert {"1"} == {record.headers["webhook-attempt"] for record in sinks.records[sink.id]}


async def test_order_holds_past_a_restart_on_one_machine(services: Services, start: Start) -> None:
    """It lets go of what it held when it begins; that goes first nevertheless."""
    sink = sink_row(KAFKA)
    await put(services, sink)
    await tell(services, *range(5))
    await killed(services, sink, holding=3)
    async with services.tasks.begin() as tx:
        await tx.sink_states.release_all()
        await tx.deliveries.release()
    sinks = FakeSinks()
    start("other", sinks)

    await until(lambda: len(numbers(sinks, sink)) == 5)

    assert [0, 1, 2, 3, 4] == numbers(sinks, sink)


async def killed(services: Services, sink: EventSink, *, holding: int) -> None:
    """Leave what a process leaves that was killed with so many deliveries in hand."""
    async with services.tasks.begin() as tx:
        await tx.sink_states.hold("killed", [sink.id], timedelta(seconds=RHYTHM.lease))
        claimed = await tx.sink_deliveries.claim(sink.id, holding, LEASE)
    assert holding == len(claimed)


async def test_a_key_that_no_broker_can_be_given_is_told(services: Services, start: Start) -> None:
    """Half a surrogate pair is text in JSON, and bytes in no encoding; the others go on."""
    sink = sink_row({"kafka": {**KAFKA["kafka"], "key": "event.payload.name"}})
    await put(services, sink)
    sinks = FakeSinks()
    start("one", sinks)

    for name in ("\ud83d", "good"):
        async with services.tasks.begin() as tx:
            await publish(services, tx, "task-created", {"name": name})

    await until(lambda: _counts(services, sink, {"dead": 1, "delivered": 1}))


async def test_what_a_connector_says_is_kept_whatever_it_holds(
    services: Services, start: Start
) -> None:
    """Its words may hold what the database does not take."""
    sink = sink_row({"kafka": {**KAFKA["kafka"], "key": "event.payload.number"}})
    await put(services, sink)
    sinks = FakeSinks()
    sinks.refusals = {"1": NotProduced(message="bad \x00 \ud83d", permanent=True)}
    start("one", sinks)

    await tell(services, 1, 2)

    await until(lambda: _counts(services, sink, {"dead": 1, "delivered": 1}))


async def test_what_a_removed_sink_left_is_given_up(services: Services) -> None:
    """It is counted as dead, not as pending for ever."""
    sink = sink_row(KAFKA)
    await put(services, sink)
    await tell(services, 1, 2)
    async with services.tasks.begin() as tx:
        await tx.sink_deliveries.give_up(sink.id)
        await tx.sinks.remove(sink.id)

    assert {"dead": 2} == await states(services, sink)
