"""What every connector and every context keep to: our own, and the fakes for others' tests."""

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from taskloom.connectors.cron import Cron
from taskloom.connectors.registry import Connectors, sink_connectors
from taskloom.connectors.running import RunningSource, Surroundings
from taskloom.domain.conditions import Reason
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import EventSource
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Unavailable
from taskloom.flow.ingest import Ingest, Ingested
from taskloom.flow.services import Services
from taskloom.ports.connector import ConnectorContext, Fate, Incoming, SourceFailed
from taskloom.ports.sink import SinkFailed
from taskloom.store.database import Database
from taskloom.testing.connectors import FakeConnector, FakeContext, source_row
from taskloom.testing.sink_suite import Arrived, SinkConnectorSuite, SinkStage
from taskloom.testing.sinks import FakeSinks, sink_row
from taskloom.testing.source_suite import SourceConnectorSuite, SourceStage

_MINUTE = timedelta(minutes=1)
CRON = source_row({"cron": {"schedule": "* * * * *"}}, name="minutely")
KAFKA = source_row({"kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]}}, name="orders")


def three(_source: EventSource) -> Sequence[Incoming]:
    """Give three messages."""
    return [Incoming(body=b"{}", idempotency_key=str(number)) for number in range(3)]


class CronStage(SourceStage):
    """A schedule, by a clock that runs ahead."""

    connector = Cron()
    source = CRON
    wall_clock = False

    async def produce(self, *bodies: bytes) -> None:
        """Leave it: they come by themselves, one a minute."""


class ScriptedStage(SourceStage):
    """The connector in memory."""

    connector = FakeConnector(messages=three)
    source = KAFKA

    async def produce(self, *bodies: bytes) -> None:
        """Leave it: it has three."""


class TestCron(SourceConnectorSuite):
    """The public suite, on schedules."""

    @pytest.fixture
    def stage(self) -> SourceStage:
        """Set the stage."""
        return CronStage()


class TestFakeConnector(SourceConnectorSuite):
    """The public suite, on the connector in memory."""

    @pytest.fixture
    def stage(self) -> SourceStage:
        """Set the stage."""
        return ScriptedStage()


class FakeSinkStage(SinkStage):
    """The sink in memory."""

    def __init__(self) -> None:
        self.connector = self.fake = FakeSinks()
        self.sink = sink_row({"kafka": {"bootstrapServers": ["k:9092"], "topic": "t"}})

    async def arrived(self, count: int) -> Sequence[Arrived]:
        """Look into its list."""
        found = self.fake.records[self.sink.id]
        return [Arrived(body=record.body, headers=record.headers) for record in found]

    async def go_away(self) -> None:
        """Script it."""
        self.fake.failure = SinkFailed("away", delay=0)

    async def come_back(self) -> None:
        """Script it."""
        self.fake.failure = None


class TestFakeSinks(SinkConnectorSuite):
    """The public suite, on the sink in memory."""

    @pytest.fixture
    def stage(self) -> SinkStage:
        """Set the stage."""
        return FakeSinkStage()


@dataclass
class Stage(ABC):
    """A context, and a look at what it stored."""

    context: ConnectorContext

    @abstractmethod
    async def stored(self) -> list[str | None]:
        """List the idempotency keys that are stored, in no order."""

    @abstractmethod
    def break_down(self) -> None:
        """Let the next call of `ingest` fail for a while."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the connector to stop."""


class FakeStage(Stage):
    """The fake context."""

    async def stored(self) -> list[str | None]:
        """Look into its list."""
        return [m.idempotency_key for m in cast("FakeContext", self.context).kept]

    def break_down(self) -> None:
        """Script it."""
        cast("FakeContext", self.context).failures.append(Unavailable())

    def stop(self) -> None:
        """Call its method."""
        cast("FakeContext", self.context).stop()


@dataclass
class RealStage(Stage):
    """The context that runs sources, on a database."""

    database: Database
    broken: bool = False

    async def stored(self) -> list[str | None]:
        """Ask the database."""
        async with self.database.begin() as tx:
            result = await tx.connection.exec_driver_sql("SELECT idempotency_key FROM events")
            return [row[0] for row in result]

    def break_down(self) -> None:
        """Let the door be shut once."""
        self.broken = True

    def stop(self) -> None:
        """Set what its `stop` sets."""
        cast("RunningSource", self.context)._stop.set()


@pytest.fixture(params=["fake", "real"])
async def stage(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Stage]:
    """Set up a context of either kind."""
    if request.param == "fake":
        yield FakeStage(context=FakeContext(KAFKA))
        return
    services = Services(tasks=database, workflows=database, engine=EmbeddedEngine(database))
    ingest = Ingest(services)
    async with database.begin() as tx:
        await tx.sources.put(KAFKA)
        await tx.source_states.claim("me", {KAFKA.id: 1}, lease=_MINUTE)

    async def store(events: Sequence[NewEvent]) -> Sequence[Ingested]:
        if real.broken:
            real.broken = False
            raise Unavailable
        return await ingest.all(events)

    async def keep(letters: Sequence[NewDeadLetter]) -> None:
        async with database.begin() as tx:
            await tx.dead_letters.add(letters)

    async def position(source: EventSource) -> str | None:
        async with database.begin() as tx:
            return await tx.source_states.position(source.id)

    async def move(source: EventSource, text: str) -> None:
        async with database.begin() as tx:
            await tx.source_states.move("me", source.id, text)

    around = Surroundings(
        ingest=store,
        keep=keep,
        position=position,
        move=move,
        now=services.now,
        news=lambda: None,
    )
    real = RealStage(context=RunningSource(KAFKA, FakeConnector(), around), database=database)
    yield real


def messages(*keys: str) -> list[Incoming]:
    """Write messages."""
    body = json.dumps({"key": "k"}).encode()
    return [Incoming(body=body, idempotency_key=key) for key in keys]


async def test_a_context_stores_and_answers_in_order(stage: Stage) -> None:
    """Each key once, however often and wherever it comes."""
    first = await stage.context.ingest(messages("1", "2"))
    second = await stage.context.ingest(messages("2", "3"))

    assert [Fate.STORED, Fate.STORED] == [receipt.fate for receipt in first]
    assert [Fate.DUPLICATE, Fate.STORED] == [receipt.fate for receipt in second]
    assert ["1", "2", "3"] == sorted(map(str, await stage.stored()))


async def test_a_context_takes_an_empty_batch(stage: Stage) -> None:
    """It is nothing."""
    assert [] == list(await stage.context.ingest([]))


async def test_a_context_that_could_not_store_says_so(stage: Stage) -> None:
    """The same again works."""
    stage.break_down()
    with pytest.raises(Unavailable):
        await stage.context.ingest(messages("1"))

    [receipt] = await stage.context.ingest(messages("1"))

    assert Fate.STORED == receipt.fate
    assert ["1"] == await stage.stored()


async def test_a_context_keeps_a_position(stage: Stage) -> None:
    """There is none at first."""
    assert await stage.context.position() is None

    await stage.context.move("7")

    assert "7" == await stage.context.position()


async def test_a_context_pauses_until_it_is_to_stop(stage: Stage) -> None:
    """And takes what a connector tells at any time."""
    stage.context.connected(partitions=3)
    stage.context.lagging(5)
    stage.context.failing(Reason.CONNECT_FAILED, "no answer")
    assert not stage.context.stopping
    assert await stage.context.pause(0)

    stage.stop()

    assert stage.context.stopping
    async with asyncio.timeout(2):
        assert not await stage.context.pause(60)


def test_installed_packages_bring_connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is broken is left out; our own kinds stay our own."""

    class Theirs(FakeConnector):
        def __init__(self) -> None:
            super().__init__("tape")

    class Usurper(FakeConnector):
        def __init__(self) -> None:
            super().__init__("cron")

    class Entry:
        def __init__(self, name: str, made: Any) -> None:
            self.name, self.value, self._made = name, name, made

        def load(self) -> Any:
            if self._made is None:
                raise ImportError
            return self._made

    entries = [Entry("broken", None), Entry("theirs", Theirs), Entry("usurper", Usurper)]
    monkeypatch.setattr(
        "taskloom.connectors.registry.entry_points", lambda group: entries if group else []
    )

    connectors = Connectors()

    assert {"cron", "kafka", "nats", "sqs", "tape"} == connectors.kinds
    assert isinstance(connectors.of("cron"), Cron)
    assert isinstance(connectors.of("tape"), Theirs)


@pytest.mark.parametrize(("kind", "library"), [("nats", "nats"), ("sqs", "aiobotocore")])
async def test_a_kind_whose_client_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, kind: str, library: str
) -> None:
    """Its sources and sinks; everything else is served."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith(f"taskloom.connectors.{kind}")]:
        monkeypatch.delitem(sys.modules, name)
    source, sink = Connectors().of(kind), sink_connectors()[kind]

    with pytest.raises(SourceFailed, match=rf"install taskloom\[{kind}\]") as failed:
        await source.run(FakeContext(KAFKA))
    with pytest.raises(SinkFailed, match=rf"install taskloom\[{kind}\]"):
        await sink.open(FakeSinkStage().sink).__aenter__()

    assert Reason.UNSUPPORTED == failed.value.reason
