"""One source while it runs: its task, what it tells, and the context its connector is given."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from taskloom.domain.conditions import Reason
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import ConnectionState, EventSource, Standing
from taskloom.errors import Invalid, TaskloomError, Unavailable
from taskloom.flow.admit import PassedOver, admit, dead_letter, spec_of
from taskloom.flow.ingest import Ingested
from taskloom.ports.connector import Connector, Fate, Incoming, Receipt, SourceFailed
from taskloom.resources.event_source import EventSourceSpec
from taskloom.runtime.cancelled import is_cancelled

log = structlog.get_logger()

LONGEST_PAUSE = 15.0
"""Seconds between two runs of a connector that fails."""
GRACE = 10.0
"""Seconds that a connector has to finish what is in hand."""
_FIRST_PAUSE = 1.0
_WELL_AFTER = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every running source needs: the door events go in by, and what it keeps in the database.

    `keep` keeps messages that are no events.
    `news` is called when a source's state has changed.
    """

    ingest: Callable[[Sequence[NewEvent]], Awaitable[Sequence[Ingested]]]
    keep: Callable[[Sequence[NewDeadLetter]], Awaitable[None]]
    position: Callable[[EventSource], Awaitable[str | None]]
    move: Callable[[EventSource, str], Awaitable[None]]
    now: Callable[[], datetime]
    news: Callable[[], None]


class RunningSource:
    """A source that this process runs; it is the `ConnectorContext` of its connector."""

    def __init__(
        self, source: EventSource, connector: Connector, surroundings: Surroundings
    ) -> None:
        self._source = source
        self._connector = connector
        self._around = surroundings
        self._spec: EventSourceSpec | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._standing = Standing(state=ConnectionState.STARTING, since=surroundings.now())
        self._log = log.bind(source=source.managed_by, kind=source.kind)

    @property
    def source(self) -> EventSource:
        """The source as it was when this began."""
        return self._source

    @property
    def stopping(self) -> bool:
        """Whether to finish what is in hand and return."""
        return self._stop.is_set()

    @property
    def standing(self) -> Standing:
        """What is known of it now."""
        return self._standing

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep_running(), name=f"source {self._source.id}")

    async def stop(self) -> None:
        """Let it finish what is in hand, for `GRACE` seconds."""
        self._stop.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=GRACE)
        if not self._task.done():
            self._log.warning("source.cut-short", seconds=GRACE)
            self._task.cancel()
            await asyncio.wait([self._task])

    def now(self) -> datetime:
        """Tell the time."""
        return self._around.now()

    async def pause(self, seconds: float) -> bool:
        """Wait so long; tell whether to go on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stop.wait()
        return not self.stopping

    async def ingest(self, batch: Sequence[Incoming]) -> Sequence[Receipt]:
        """Store messages as events, all of them or, as far as anybody relies on it, none."""
        if self._spec is None:
            self._spec = spec_of(self._source)
        spec = self._spec
        receipts = await self._take_all(spec, batch)
        if batch:
            self._standing = replace(self._standing, last_event_on=self.now())
        return receipts

    def connected(self, *, partitions: int | None = None) -> None:
        """Tell that the source is being read."""
        self._standing = replace(self._standing, partitions=partitions)
        self._turn_to(ConnectionState.CONNECTED)

    def failing(self, reason: Reason, message: str) -> None:
        """Tell that it is not being read."""
        self._standing = replace(self._standing, lag=None, partitions=None)
        self._turn_to(ConnectionState.FAILING, reason, message)

    def lagging(self, messages: int) -> None:
        """Tell how many messages wait."""
        self._standing = replace(self._standing, lag=messages)

    async def position(self) -> str | None:
        """Read what `move` kept last."""
        return await self._around.position(self._source)

    async def move(self, position: str) -> None:
        """Keep how far the source has been read."""
        await self._around.move(self._source, position)

    async def _take_all(
        self, spec: EventSourceSpec, batch: Sequence[Incoming]
    ) -> Sequence[Receipt]:
        """Read every message; then store what are events, and keep what are none."""
        receipts: dict[int, Receipt] = {}
        events: dict[int, NewEvent] = {}
        letters: list[NewDeadLetter] = []
        blocked: set[str] = set()
        for place, message in enumerate(batch):
            if message.lane in blocked:
                receipts[place] = Receipt(fate=Fate.BLOCKED, reason="one before it is no event")
                continue
            found = admit(self._source, spec, message)
            if isinstance(found, NewEvent):
                events[place] = found
                continue
            if isinstance(found, PassedOver):
                self._log.debug("source.message-filtered", reason=found.reason)
                receipts[place] = Receipt(fate=Fate.FILTERED, reason=found.reason)
                continue
            fate = self._fate_of_none(spec, message, found.reason)
            receipts[place] = Receipt(fate=fate, reason=found.reason)
            if fate is Fate.DEAD_LETTERED:
                letters.append(dead_letter(self._source, message, found.reason))
            elif fate is Fate.BLOCKED and message.lane is not None:
                blocked.add(message.lane)
        ingested = await self._around.ingest(list(events.values()))
        for place, one in zip(events, ingested, strict=True):
            fate = Fate.DUPLICATE if one.duplicate else Fate.STORED
            receipts[place] = Receipt(fate=fate, event_id=one.event_id)
        if letters:
            await self._around.keep(letters)
            self._log.warning(
                "source.dead-letters", messages=len(letters), reason=letters[0].reason
            )
        return [receipts[place] for place in range(len(batch))]

    def _fate_of_none(self, spec: EventSourceSpec, message: Incoming, reason: str) -> Fate:
        """Decide what becomes of a message that is no event."""
        if spec.on_invalid == "DeadLetter":
            return Fate.DEAD_LETTERED
        if spec.on_invalid == "Drop":
            self._log.warning("source.message-dropped", reason=reason)
            return Fate.DROPPED
        if message.lane is None:
            raise SourceFailed(f"a message is no event: {reason}", reason=Reason.MESSAGE_INVALID)
        return Fate.BLOCKED

    async def _keep_running(self) -> None:
        """Run the connector again and again."""
        pause = _FIRST_PAUSE
        while not self.stopping:
            started = asyncio.get_running_loop().time()
            delay = await self._run()
            if asyncio.get_running_loop().time() - started > _WELL_AFTER:
                pause = _FIRST_PAUSE
            await self.pause(max(delay, pause * random.uniform(0.8, 1.2)))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run(self) -> float:
        """Run the connector; whatever it ends by is told, and ends nothing else.

        Gives the seconds that it wants to be left alone for.
        """
        try:
            await self._connector.run(self)
        except SourceFailed as error:
            self.failing(error.reason, error.message)
            return error.delay
        except Unavailable as error:
            # Events can be stored as little as states can: it passes with the database.
            self.failing(Reason.DATABASE_UNAVAILABLE, error.message)
            return error.delay
        except TaskloomError as error:
            reason = Reason.INVALID_SPEC if isinstance(error, Invalid) else None
            self.failing(reason or Reason.CONNECTOR_FAILED, error.message)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            # A client's own task was, and it let us have it.
            self.failing(Reason.CONNECTOR_FAILED, "the connector was cut off by its client")
        except Exception as error:  # noqa: BLE001 - it is told, and ends nothing else
            self._log.exception("source.failed")
            # Its text may hold anything, a password too.
            message = f"the connector broke with {type(error).__name__}; its log says more"
            self.failing(Reason.CONNECTOR_FAILED, message)
        else:
            if not self.stopping:
                self.failing(Reason.CONNECTOR_FAILED, "the connector ended by itself")
        return 0.0

    def _turn_to(
        self, state: ConnectionState, reason: Reason | None = None, message: str = ""
    ) -> None:
        """Tell another state; only a change of it counts as news."""
        before = self._standing
        same = (before.state, before.reason) == (state, reason)
        self._standing = replace(
            before,
            state=state,
            reason=reason,
            message=message,
            since=before.since if same else self.now(),
        )
        if same:
            return
        if state is ConnectionState.FAILING:
            self._log.warning("source.failing", reason=reason, message=message)
        else:
            self._log.info("source.connected")
        self._around.news()
