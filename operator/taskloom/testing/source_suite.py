"""What connectors of sources keep to, as tests to inherit; they need pytest and pytest-asyncio.

::

    class TestMine(SystemSourceSuite):
        @pytest.fixture
        async def stage(self) -> AsyncIterator[SystemStage]:
            async with MyStage() as stage:
                yield stage
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSource
from taskloom.errors import Temporary, Unavailable
from taskloom.ports.connector import Connector, Fate, Incoming, Receipt, SourceFailed
from taskloom.testing.connectors import FakeContext, came

TOLD_SECONDS = 15.0
"""Within this it is told that a system is away, and why."""
STOP_SECONDS = 5.0
"""Within this a connector returns when it is to stop."""
_RERUN_SECONDS = 0.2
_COUNT = 3


class SourceStage(ABC):
    """A connector, and a source of its kind with something to read."""

    connector: Connector
    source: EventSource
    wall_clock: bool = True
    """Whether pauses take their time; False for a connector that goes by `now` alone."""
    seconds: float = 20.0
    """Within this a message comes, one that is given again too."""
    _last: FakeContext | None = None

    @abstractmethod
    async def produce(self, *bodies: bytes) -> None:
        """Send messages, or see to it that at least so many come."""

    def context(self) -> FakeContext:
        """Give a new context; the position that the one before it kept is its own."""
        at = None if self._last is None else self._last.at
        self._last = FakeContext(self.source, wall_clock=self.wall_clock, at=at)
        return self._last


class SystemStage(SourceStage):
    """The same, of a system that keeps its messages until they are confirmed, and may be away."""

    @abstractmethod
    async def go_away(self) -> None:
        """Let the system not be reachable; its messages it keeps."""

    @abstractmethod
    async def come_back(self) -> None:
        """Let it be there again."""


@asynccontextmanager
async def running(connector: Connector, context: FakeContext) -> AsyncIterator[None]:
    """Run a connector again and again, as Taskloom does; stop it at the end."""
    task = asyncio.create_task(_keep_running(connector, context))
    try:
        yield
        context.stop()
        async with asyncio.timeout(STOP_SECONDS):
            await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_running(connector: Connector, context: FakeContext) -> None:
    while not context.stopping:
        try:
            await connector.run(context)
        except SourceFailed as error:
            context.failing(error.reason, error.message)
        except Temporary as error:
            context.failing(Reason.DATABASE_UNAVAILABLE, error.message)
        await asyncio.sleep(_RERUN_SECONDS)


def bodies(count: int, first: int = 0) -> list[bytes]:
    """Write messages of events, each another."""
    return [b'{"key": "k", "payload": {"number": %d}}' % (first + each) for each in range(count)]


def keys(messages: Sequence[Incoming]) -> list[str | None]:
    """Give the idempotency keys of messages."""
    return [message.idempotency_key for message in messages]


class SourceConnectorSuite:
    """What any connector keeps to; give it a fixture `stage`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def stage(self) -> SourceStage:
        """Set the stage."""
        raise NotImplementedError("Write a fixture `stage` in the class that inherits this one.")

    async def test_it_tells_that_it_is_connected_and_sends(self, stage: SourceStage) -> None:
        """Connected comes first; each message has a key of its own."""
        await stage.produce(*bodies(_COUNT))
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_kept(_COUNT, seconds=stage.seconds)

        assert context.told[0] == ("connected", "")
        assert None not in keys(context.kept)
        assert len(set(keys(context.kept))) == len(context.kept)

    async def test_names_of_headers_are_in_lower_case(self, stage: SourceStage) -> None:
        """As the port says; whatever the system calls them."""
        await stage.produce(*bodies(1))
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_kept(1, seconds=stage.seconds)

        names = [name for message in context.kept for name in message.headers]
        assert [name.lower() for name in names] == names

    async def test_it_returns_soon_when_it_is_to_stop(self, stage: SourceStage) -> None:
        """Of itself, not by being cancelled, and without an error."""
        context = stage.context()
        run = asyncio.ensure_future(stage.connector.run(context))
        await asyncio.sleep(0.2)

        context.stop()

        async with asyncio.timeout(STOP_SECONDS):
            await run

    async def test_what_could_not_be_stored_is_sent_again(self, stage: SourceStage) -> None:
        """By the same run or the next one, under the same keys: nothing is passed over."""
        await stage.produce(*bodies(_COUNT))
        context = stage.context()
        context.failures += [Unavailable(), Unavailable()]

        async with running(stage.connector, context):
            await context.wait_for_kept(_COUNT, seconds=stage.seconds)

        assert context.failures == []
        assert set(keys(context.given)) == set(keys(context.kept))


class SystemSourceSuite(SourceConnectorSuite):
    """What connectors to a system of messages keep to; give it a fixture `stage`."""

    @pytest.fixture
    def stage(self) -> SystemStage:
        """Set the stage."""
        raise NotImplementedError("Write a fixture `stage` in the class that inherits this one.")

    async def test_bodies_come_as_they_were_sent(self, stage: SystemStage) -> None:
        """Byte by byte; what is in them is not the connector's business."""
        sent = [*bodies(2), "{ not JSON: größer ".encode()]
        await stage.produce(*sent)
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_kept(len(sent), seconds=stage.seconds)

        assert sorted(sent) == sorted(message.body or b"" for message in context.kept)

    @pytest.mark.parametrize("fate", [Fate.STORED, Fate.DEAD_LETTERED, Fate.DROPPED, Fate.FILTERED])
    async def test_what_has_a_fate_is_not_given_again(self, stage: SystemStage, fate: Fate) -> None:
        """Whatever the fate, but blocked: the next run goes on with what came after."""
        await stage.produce(*bodies(_COUNT))
        first = stage.context()
        first.fate_of = lambda _message: fate
        async with running(stage.connector, first):
            assert await came(lambda: len(set(keys(first.given))) >= _COUNT, stage.seconds)
        await stage.produce(*bodies(1, first=_COUNT))

        second = stage.context()
        async with running(stage.connector, second):
            await second.wait_for_kept(1, seconds=stage.seconds)

        assert bodies(1, first=_COUNT) == [message.body for message in second.given]

    async def test_what_is_blocked_is_given_again(self, stage: SystemStage) -> None:
        """Until it is let through."""
        [poison] = bodies(1)
        await stage.produce(poison)
        first = stage.context()
        first.fate_of = lambda _message: Fate.BLOCKED
        async with running(stage.connector, first):
            assert await came(lambda: bool(first.given), stage.seconds)
            await first.wait_for_told(Reason.MESSAGE_INVALID, seconds=TOLD_SECONDS)

        second = stage.context()
        async with running(stage.connector, second):
            await second.wait_for_kept(1, seconds=stage.seconds)

        assert [poison] == [message.body for message in second.kept]

    async def test_nothing_is_confirmed_before_it_is_durable(self, stage: SystemStage) -> None:
        """A run in which nothing could be stored leaves all to the next one."""
        await stage.produce(*bodies(_COUNT))
        first = stage.context()
        first.failures += [Unavailable()] * 1000
        async with running(stage.connector, first):
            assert await came(lambda: bool(first.given), stage.seconds)

        second = stage.context()
        async with running(stage.connector, second):
            await second.wait_for_kept(_COUNT, seconds=stage.seconds)

        assert set(keys(first.given)) <= set(keys(second.kept))

    async def test_a_run_that_is_cut_off_loses_nothing(self, stage: SystemStage) -> None:
        """It is cancelled while messages are being stored."""
        await stage.produce(*bodies(_COUNT))
        first = _Hanging(stage.source, wall_clock=stage.wall_clock)
        run = asyncio.ensure_future(stage.connector.run(first))
        assert await came(lambda: bool(first.given), stage.seconds)
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run

        second = stage.context()
        async with running(stage.connector, second):
            await second.wait_for_kept(_COUNT, seconds=stage.seconds)

        assert set(keys(first.given)) <= set(keys(second.kept))

    async def test_a_system_that_is_away_is_told_and_read_when_it_is_back(
        self, stage: SystemStage
    ) -> None:
        """It need not be there when the source begins."""
        await stage.produce(*bodies(_COUNT))
        await stage.go_away()
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_told(Reason.CONNECT_FAILED, seconds=TOLD_SECONDS)
            await stage.come_back()
            await context.wait_for_kept(_COUNT, seconds=stage.seconds)
            await context.wait_for_told("connected", seconds=TOLD_SECONDS)

    async def test_a_system_that_goes_away_is_told_and_read_when_it_is_back(
        self, stage: SystemStage
    ) -> None:
        """Without anybody's doing, and without a loss."""
        await stage.produce(*bodies(_COUNT))
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_kept(_COUNT, seconds=stage.seconds)
            await stage.go_away()
            await context.wait_for_told(Reason.CONNECT_FAILED, seconds=TOLD_SECONDS)
            await stage.come_back()
            await stage.produce(*bodies(_COUNT, first=_COUNT))
            await context.wait_for_kept(2 * _COUNT, seconds=stage.seconds)
            await context.wait_for_told("connected", seconds=TOLD_SECONDS)

        assert set(bodies(2 * _COUNT)) == {message.body for message in context.kept}

    async def test_it_stops_soon_while_the_system_is_away(self, stage: SystemStage) -> None:
        """Who is away is not waited for."""
        context = stage.context()

        async with running(stage.connector, context):
            await context.wait_for_told("connected", seconds=TOLD_SECONDS)
            await stage.go_away()
            await context.wait_for_told(Reason.CONNECT_FAILED, seconds=TOLD_SECONDS)

        await stage.come_back()


class _Hanging(FakeContext):
    """Never comes to an end of storing."""

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        self.given.extend(batch)
        await asyncio.sleep(3600)
        return []
