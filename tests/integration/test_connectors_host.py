"""Processes that run sources, on a real database: who runs what, changes, failures, ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from prometheus_client.samples import Sample

from taskloom.connectors.host import Host, Pool, Rhythm
from taskloom.connectors.meters import SourceMeters
from taskloom.connectors.registry import Connectors
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import ConnectionState, EventSource, SourceState
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Permanent, Unavailable
from taskloom.flow.admit import dead_letter
from taskloom.flow.ingest import Ingest
from taskloom.flow.services import Services
from taskloom.ports.connector import ConnectorContext, Incoming, SourceFailed
from taskloom.store.database import Database
from taskloom.store.sealing import Sealer
from taskloom.testing.connectors import FakeConnector, source_row

RHYTHM = Rhythm(lease=1.5, turn=0.1, read=0.5, figures=0.2)
KAFKA = {"kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]}}
SQS = {"sqs": {"queueUrl": "https://sqs/q"}}
Process = tuple[Host, "asyncio.Task[None]"]
Start = Callable[..., Process]


async def until(holds: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Ask until it holds; TimeoutError if it never does."""
    async with asyncio.timeout(20):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Start]:
    """Give a function that runs a host on its own, as a process would be."""
    running: list[asyncio.Task[None]] = []
    listening = asyncio.create_task(database.listen())

    def begin(
        holder: str, *connectors: FakeConnector, pool: Pool | None = None, on: Database = database
    ) -> Process:
        services = Services(tasks=on, workflows=on, engine=EmbeddedEngine(on))
        host = Host(
            services,
            Connectors(connectors),
            Ingest(services),
            holder=holder,
            pool=pool or Pool(),
            rhythm=RHYTHM,
        )
        task = asyncio.create_task(host.run())
        running.append(task)
        return host, task

    yield begin
    for task in [*running, listening]:
        await end(task)


async def end(task: "asyncio.Task[None]") -> None:
    """Stop a process and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def put(database: Database, *sources: EventSource) -> None:
    """Write sources as the controller does."""
    async with database.begin() as tx:
        for source in sources:
            await tx.sources.put(source)
        tx.notify("sources")


async def states(database: Database) -> list[SourceState]:
    """Read what is told."""
    async with database.begin() as tx:
        return await tx.source_states.all()


async def holders(database: Database) -> list[tuple[str | None, str]]:
    """Read who runs what, and how it stands."""
    return [(state.holder, str(state.standing.state)) for state in await states(database)]


async def events(database: Database) -> list[tuple[str, str | None]]:
    """Read origin and idempotency key of what is stored."""
    async with database.begin() as tx:
        result = await tx.connection.exec_driver_sql(
            "SELECT origin, idempotency_key FROM events ORDER BY created_on, idempotency_key"
        )
        return [(row.origin, row.idempotency_key) for row in result]


def ids(sources: Sequence[EventSource]) -> list[UUID]:
    """Name sources."""
    return [source.id for source in sources]


def says(key: str, *numbers: int) -> Callable[[EventSource], Sequence[Incoming]]:
    """Give messages with an idempotency key each."""

    def messages(_source: EventSource) -> Sequence[Incoming]:
        body = json.dumps({"key": key}).encode()
        return [Incoming(body=body, idempotency_key=str(number)) for number in numbers]

    return messages


async def test_a_source_is_run_and_its_messages_are_stored_once(
    database: Database, start: Start
) -> None:
    """What comes in is an event of the source's origin; run anew, the same is not stored again."""
    source = source_row(KAFKA, name="orders")
    await put(database, source)
    connector = FakeConnector(messages=says("order", 1, 2))
    start("one", connector)
    await until(lambda: _is(events(database), _orders(2)))

    await put(database, replace(source, spec={**source.spec, "filter": "event.key == 'order'"}))
    await until(lambda: len(connector.runs) == 2 and bool(connector.running))

    await until(lambda: _is(holders(database), [("one", "connected")]))
    assert _orders(2) == await events(database)


async def _is(given: Awaitable[object], expected: object) -> bool:
    return await given == expected


def _orders(count: int) -> list[tuple[str, str | None]]:
    return [("source:default/orders", str(number)) for number in range(1, count + 1)]


async def test_a_filter_lets_only_some_through(database: Database, start: Start) -> None:
    """The others are taken and forgotten."""
    await put(database, source_row({**KAFKA, "filter": "event.key == 'other'"}, name="orders"))
    connector = FakeConnector(messages=says("order", 1, 2))
    start("one", connector)
    await until(lambda: _is(holders(database), [("one", "connected")]))

    assert [] == await events(database)


async def test_a_change_of_spec_or_credentials_restarts_that_source_only(
    database: Database, start: Start
) -> None:
    """Within a second; the other's run goes on."""
    one, other = source_row(KAFKA, name="one"), source_row(KAFKA, name="other")
    await put(database, one, other)
    connector = FakeConnector()
    start("p", connector)
    await until(lambda: len(connector.running) == 2)

    changed = replace(one, secrets={"sasl.password": Secret("new")})
    await put(database, changed)
    async with asyncio.timeout(1):
        await until(lambda: len(connector.runs) == 3)
    await until(lambda: len(connector.running) == 2)

    [run] = connector.runs[2:]
    assert (changed.id, changed.secrets) == (run.id, run.secrets)


async def test_a_suspended_or_deleted_source_is_stopped_and_let_go(
    database: Database, start: Start
) -> None:
    """Suspended, it is nobody's; deleted, nothing is left of it."""
    one, other = source_row(KAFKA, name="one"), source_row(KAFKA, name="other")
    await put(database, one, other)
    connector = FakeConnector()
    start("p", connector)
    await until(lambda: len(connector.running) == 2)

    async with database.begin() as tx:
        await tx.sources.put(replace(one, suspended=True))
        await tx.sources.remove(other.id)
        tx.notify("sources")
    await until(lambda: not connector.running)

    await until(lambda: _is(holders(database), [(None, "idle")]))


async def test_an_exclusive_source_is_run_by_one_and_taken_when_that_one_ends(
    database: Database, start: Start
) -> None:
    """The other waits, and takes over at once."""
    await put(database, source_row(SQS, name="queue"))
    first, second = (FakeConnector("sqs", exclusive=True) for _ in range(2))
    _, task = start("first", first)
    await until(lambda: bool(first.running))
    start("second", second)
    await asyncio.sleep(0.4)
    assert [] == second.runs

    await end(task)

    assert [] == first.running
    await until(lambda: bool(second.running))
    await until(lambda: _is(holders(database), [("second", "connected")]))


async def test_the_sources_of_one_that_died_are_taken(database: Database, start: Start) -> None:
    """It could not say that it ended: its lease runs out."""
    source = source_row(SQS, name="queue")
    await put(database, source)
    async with database.begin() as tx:
        await tx.source_states.claim("dead", {source.id: 1}, _seconds(1.0))
    connector = FakeConnector("sqs", exclusive=True)
    start("alive", connector)
    await asyncio.sleep(0.4)
    assert [] == connector.runs

    await until(lambda: bool(connector.running))

    await until(lambda: _is(holders(database), [("alive", "connected")]))


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


async def test_a_shared_source_is_run_as_often_as_its_replicas(
    database: Database, start: Start
) -> None:
    """Of three processes two run it; with one replica less one lets go."""
    source = source_row({**KAFKA, "placement": {"replicas": 2}}, name="orders")
    await put(database, source)
    connectors = [FakeConnector() for _ in range(3)]
    for number, connector in enumerate(connectors):
        start(f"p{number}", connector)
    await until(lambda: sum(len(each.running) for each in connectors) == 2)
    await asyncio.sleep(0.3)
    assert 2 == sum(len(each.running) for each in connectors)

    less = source_row({**KAFKA, "placement": {"replicas": 1}}, name="orders")
    await put(database, less)

    await until(
        lambda: [less.spec] == [source.spec for each in connectors for source in each.running]
    )


async def test_a_pool_runs_its_sources_only(database: Database, start: Start) -> None:
    """Those of another pool and those with pods of their own are others' business."""
    shared = source_row(KAFKA, name="shared")
    quiet = replace(source_row(KAFKA, name="quiet"), pool="quiet")
    own, other = (replace(source_row(KAFKA, name=name), pool=None) for name in ("own", "other"))
    await put(database, shared, quiet, own, other)
    in_default, in_quiet, in_own = (FakeConnector() for _ in range(3))
    start("a", in_default)
    start("b", in_quiet, pool=Pool(name="quiet"))
    start("c", in_own, pool=Pool(source=("default", "own")))
    await until(lambda: bool(in_default.running and in_quiet.running and in_own.running))
    await asyncio.sleep(0.3)

    assert [shared.id] == ids(in_default.running)
    assert [quiet.id] == ids(in_quiet.running)
    assert [own.id] == ids(in_own.running)


async def test_a_failure_is_told_with_its_reason_and_mended_by_another_run(
    database: Database, start: Start
) -> None:
    """Other sources run on meanwhile, and the state says since when."""
    await put(database, source_row(KAFKA, name="orders"), source_row(SQS, name="queue"))
    failing, well = FakeConnector(), FakeConnector("sqs")
    failing.fail(SourceFailed("the password is wrong", reason=Reason.AUTH_FAILED))
    start("p", failing, well)

    async def told() -> bool:
        return ("FAILING", "AuthFailed", "the password is wrong") in [
            (state.standing.state.name, state.standing.reason, state.standing.message)
            for state in await states(database)
        ]

    await until(told)
    assert 1 == len(well.running)
    await until(lambda: bool(failing.running))

    await until(lambda: _is(holders(database), [("p", "connected")] * 2))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("the password is 'hunter2'"), "ConnectorFailed"),
        (Permanent("it cannot work"), "ConnectorFailed"),
    ],
)
async def test_whatever_a_connector_breaks_with_is_told_without_secrets(
    database: Database, start: Start, error: Exception, reason: str
) -> None:
    """The text of an unknown error may hold anything."""
    await put(database, source_row(KAFKA, name="orders"))
    connector = FakeConnector()
    connector.fail(error)
    start("p", connector)

    async def told() -> bool:
        return [reason] == [state.standing.reason for state in await states(database)]

    await until(told)
    [state] = await states(database)
    assert "hunter2" not in state.standing.message


async def test_a_message_that_is_no_event_blocks_or_is_dropped(
    database: Database, start: Start
) -> None:
    """As `onInvalid` says; what is dropped does not hold up the next one."""

    def bad_then_good(_source: EventSource) -> Sequence[Incoming]:
        return [
            Incoming(body=b"{", idempotency_key="1"),
            Incoming(body=b'{"key": "good"}', idempotency_key="2"),
        ]

    await put(
        database,
        source_row({**KAFKA, "onInvalid": "Drop"}, name="orders"),
        source_row({**SQS, "onInvalid": "Block"}, name="queue"),
    )
    start(
        "p",
        FakeConnector(messages=bad_then_good),
        FakeConnector("sqs", messages=bad_then_good),
    )

    async def told() -> bool:
        return {(None, "connected"), ("MessageInvalid", "failing")} == {
            (state.standing.reason, str(state.standing.state)) for state in await states(database)
        }

    await until(told)
    await until(lambda: _is(events(database), [("source:default/orders", "2")]))


async def test_when_the_last_event_came_is_told_now_and_then(
    database: Database, start: Start
) -> None:
    """With the figures, not by a write for each event."""
    await put(database, source_row(KAFKA, name="orders"))
    start("p", FakeConnector(messages=says("order", 1)))

    async def told() -> bool:
        return any(state.standing.last_event_on for state in await states(database))

    await until(told)
    assert [ConnectionState.CONNECTED] == [s.standing.state for s in await states(database)]


async def test_a_position_is_kept_for_who_holds_the_source(database: Database) -> None:
    """Another cannot move it; suspended, the source begins anew."""
    source = source_row(SQS, name="queue")
    await put(database, source)
    async with database.begin() as tx:
        await tx.source_states.claim("me", {source.id: 1}, _seconds(10))
        await tx.source_states.move("me", source.id, "7")
        await tx.source_states.move("another", source.id, "9")
        assert "7" == await tx.source_states.position(source.id)

    await put(database, replace(source, suspended=True))

    async with database.begin() as tx:
        assert await tx.source_states.position(source.id) is None


async def test_a_source_that_cannot_be_opened_keeps_no_other_from_running(
    database_url: str, database: Database, start: Start
) -> None:
    """Its credentials were sealed with a key that is lost."""
    elsewhere = Database(database_url, sealer=Sealer([Fernet.generate_key().decode()]))
    await put(elsewhere, source_row(KAFKA, name="lost"))
    await elsewhere.close()
    well = source_row(KAFKA, name="well")
    await put(database, well)
    connector = FakeConnector()

    start("p", connector)
    await until(lambda: bool(connector.running))

    assert [well.id] == ids(connector.running)


async def test_figures_are_there_for_prometheus(database: Database, start: Start) -> None:
    """Whether each source is read, and how many messages wait."""
    source = source_row(KAFKA, name="orders")
    await put(database, source)
    connector = FakeConnector()
    host, _ = start("p", connector)
    await until(lambda: _is(holders(database), [("p", "connected")]))
    host.running[source.id].lagging(7)
    letter = dead_letter(source, Incoming(body=b"{", idempotency_key="1"), "no JSON")
    async with database.begin() as tx:
        await tx.dead_letters.add([letter, letter])
    await until(lambda: host.dead_letters(source) == 1)

    meters = SourceMeters()
    meters.host = host
    told = {sample.name: sample for metric in meters.collect() for sample in metric.samples}

    labels = {"source": "default/orders", "source_id": str(source.id), "kind": "kafka"}
    assert (labels, 1.0) == _read(told["taskloom_source_connected"])
    assert (labels, 7.0) == _read(told["taskloom_source_lag"])
    assert (labels, 1.0) == _read(told["taskloom_source_dead_letters"])


def _read(sample: Sample) -> tuple[dict[str, str], float]:
    return dict(sample.labels), sample.value


async def test_an_outage_is_waited_for_and_lost_leases_are_let_go(
    database: Database, start: Start
) -> None:
    """While its lease may last a source runs on; then another may hold it, and it is stopped."""
    down = asyncio.Event()

    async def guard(_connection: object) -> None:
        if down.is_set():
            raise Unavailable

    await put(database, source_row(SQS, name="queue"))
    connector = FakeConnector("sqs", exclusive=True)
    start("cut-off", connector, on=database.guarded(guard))
    await until(lambda: bool(connector.running))

    down.set()
    await asyncio.sleep(0.5)
    assert 1 == len(connector.running)
    await until(lambda: not connector.running)
    other = FakeConnector("sqs", exclusive=True)
    start("other", other)
    await until(lambda: bool(other.running))

    down.clear()
    await asyncio.sleep(0.5)
    assert [] == connector.running
    assert 1 == len(other.running)


async def test_one_that_comes_back_in_time_keeps_its_sources(
    database: Database, start: Start
) -> None:
    """The run goes on, and what it had to tell meanwhile is told."""
    down = asyncio.Event()

    async def guard(_connection: object) -> None:
        if down.is_set():
            raise Unavailable

    source = source_row(SQS, name="queue")
    await put(database, source)
    connector = FakeConnector("sqs", exclusive=True)
    host, _ = start("p", connector, on=database.guarded(guard))
    await until(lambda: _is(holders(database), [("p", "connected")]))

    down.set()
    await asyncio.sleep(0.3)
    host.running[source.id].failing(Reason.CONNECT_FAILED, "no answer")
    await asyncio.sleep(0.3)
    down.clear()

    await until(lambda: _is(holders(database), [("p", "failing")]))
    assert 1 == len(connector.runs)


async def test_a_slow_stop_disturbs_no_other_source(database: Database, start: Start) -> None:
    """The leases of the others are renewed meanwhile."""
    slow, well = source_row(KAFKA, name="slow"), source_row(SQS, name="well")
    await put(database, slow, well)
    stubborn, connector = _Stubborn(), FakeConnector("sqs", exclusive=True)
    start("p", stubborn, connector)
    await until(lambda: bool(stubborn.running and connector.running))

    await put(database, replace(slow, suspended=True))
    await asyncio.sleep(RHYTHM.lease * 1.5)
    start("other", FakeConnector("sqs", exclusive=True))
    await asyncio.sleep(0.3)

    assert stubborn.running
    assert 1 == len(connector.runs)
    assert ("p", "connected") in await holders(database)
    stubborn.give_in.set()
    await until(lambda: not stubborn.running)


class _Stubborn(FakeConnector):
    """Does not stop before it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.give_in = asyncio.Event()

    async def run(self, context: ConnectorContext) -> None:
        self.running.append(context.source)
        context.connected()
        await self.give_in.wait()
        self.running.clear()


async def test_a_cancellation_of_the_clients_own_ends_no_source(
    database: Database, start: Start
) -> None:
    """It is told, and the connector is run again."""
    source = source_row(KAFKA, name="orders")
    await put(database, source)
    connector = FakeConnector()
    connector.fail(asyncio.CancelledError())  # type: ignore[arg-type]  # a client may raise it, too
    start("p", connector)

    await until(lambda: bool(connector.running))

    assert 2 == len(connector.runs)
