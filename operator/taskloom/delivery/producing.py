"""One sink while it is produced to: its task, and what it tells."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from taskloom.delivery.records import record_of
from taskloom.domain.conditions import Reason
from taskloom.domain.deliveries import Attempt, DeliveryState, SinkDelivery
from taskloom.domain.retry import (
    CLUSTER,
    Action,
    Outcome,
    Verdict,
    next_attempt,
)
from taskloom.domain.sources import ConnectionState, EventSink, Standing, name_of
from taskloom.errors import Invalid, Temporary
from taskloom.ports.sink import NotProduced, Produced, Producer, Record, SinkConnector, SinkFailed
from taskloom.runtime.bell import Bell
from taskloom.runtime.cancelled import is_cancelled
from taskloom.store.database import Database

log = structlog.get_logger()

BATCH = 256
LEASE = timedelta(seconds=60)
"""How long a batch is this process's; longer than producers may take for one."""
LONGEST_PAUSE = 10.0
"""Seconds between two tries at a sink that fails."""
_FIRST_PAUSE = 0.5
_POLL = 1.0
_CHECK_SECONDS = 5.0
_TOPIC = "deliveries"
_STATES = {
    Action.FINISH: DeliveryState.DELIVERED,
    Action.RETRY: DeliveryState.PENDING,
    Action.GIVE_UP: DeliveryState.DEAD,
}
Settled = tuple[Attempt, DeliveryState, datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every sink needs; `news` is called when one stands otherwise than before."""

    database: Database
    bell: Bell
    now: Callable[[], datetime]
    news: Callable[[], None]


class RunningSink:
    """A sink that this process produces to, batch after batch, in the order events were told.

    A sink that fails costs no delivery an attempt: all wait until it is back.
    """

    def __init__(self, sink: EventSink, connector: SinkConnector, around: Surroundings) -> None:
        self._sink = sink
        self._connector = connector
        self._around = around
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._standing = Standing(state=ConnectionState.STARTING, since=around.now())
        self._log = log.bind(sink=name_of(sink))

    @property
    def sink(self) -> EventSink:
        """The sink as it was when this began."""
        return self._sink

    @property
    def standing(self) -> Standing:
        """What is known of it now."""
        return self._standing

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep_running(), name=f"sink {self._sink.id}")

    async def stop(self, grace: float = 25.0) -> None:
        """Let it finish the batch in hand."""
        self._stop.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=grace)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_running(self) -> None:
        """Open the sink again and again; whatever it ends by is told, and ends nothing else."""
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            try:
                async with self._connector.open(self._sink) as producer:
                    self._turn_to(ConnectionState.CONNECTED)
                    pause = _FIRST_PAUSE
                    await self._produce(producer)
            except SinkFailed as error:
                self._turn_to(ConnectionState.FAILING, error.reason, error.message)
            except Temporary as error:
                self._turn_to(ConnectionState.FAILING, Reason.DATABASE_UNAVAILABLE, error.message)
            except Invalid as error:
                self._turn_to(ConnectionState.FAILING, Reason.INVALID_SPEC, error.message)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                # A client's own task was, and it let us have it.
                message = "the connector was cut off by its client"
                self._turn_to(ConnectionState.FAILING, Reason.CONNECTOR_FAILED, message)
            except Exception as error:  # noqa: BLE001 - it is told, and ends nothing else
                self._log.exception("sink.failed")
                # Its text may hold anything, a password too.
                message = f"the connector broke with {type(error).__name__}; its log says more"
                self._turn_to(ConnectionState.FAILING, Reason.CONNECTOR_FAILED, message)
            if not self._stop.is_set():
                await self._pause(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _produce(self, producer: Producer) -> None:
        """Produce what is due, and look after the connection while nothing is."""
        clock = asyncio.get_running_loop().time
        checked = clock()
        async with self._around.database.begin() as tx:
            await tx.sink_deliveries.take_over(self._sink.id)
        while not self._stop.is_set():
            async with self._around.database.begin() as tx:
                batch = await tx.sink_deliveries.claim(self._sink.id, BATCH, LEASE)
            if batch:
                await self._deliver(producer, batch)
                checked = clock()
                continue
            if clock() - checked >= _CHECK_SECONDS:
                await producer.check()
                checked = clock()
            await self._wait_for_work()

    async def _deliver(self, producer: Producer, batch: Sequence[SinkDelivery]) -> None:
        """Produce a batch, and settle what follows for each in one transaction."""
        started_at, clock = self._around.now(), time.perf_counter()
        records: list[Record] = []
        results: dict[int, Produced | NotProduced] = {}
        for place, delivery in enumerate(batch):
            try:
                records.append(record_of(self._sink, delivery))
            except Invalid as error:
                results[place] = NotProduced(message=error.message, permanent=True)
        try:
            produced = iter(await producer.send(records) if records else ())
        except BaseException:
            await self._put_back(batch)
            raise
        milliseconds = int((time.perf_counter() - clock) * 1000)
        settled = []
        for place, delivery in enumerate(batch):
            result = results[place] if place in results else next(produced)
            settled.append(settle(delivery, result, started_at, milliseconds, self._around.now()))
        await self._record(settled)

    async def _record(self, settled: Sequence[Settled]) -> None:
        async with self._around.database.begin() as tx:
            await tx.deliveries.settle(settled)
        dead = [attempt.error for attempt, state, _ in settled if state is DeliveryState.DEAD]
        if dead:
            self._log.warning("sink.dead", deliveries=len(dead), reason=dead[0])

    async def _put_back(self, batch: Sequence[SinkDelivery]) -> None:
        """Let a batch wait for the sink to be back; if that fails, its lease ends by itself."""
        with contextlib.suppress(Temporary):
            async with self._around.database.begin() as tx:
                await tx.sink_deliveries.put_back([delivery.id for delivery in batch])

    async def _wait_for_work(self) -> None:
        """Wait for a delivery, for a while, or to be stopped."""
        ring: Awaitable[bool] = self._around.bell.wait(_TOPIC, _POLL)
        waits = {asyncio.ensure_future(ring), asyncio.ensure_future(self._stop.wait())}
        _, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in others:
            wait.cancel()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _turn_to(
        self, state: ConnectionState, reason: Reason | None = None, message: str = ""
    ) -> None:
        """Tell another state; only a change of it counts as news."""
        before = self._standing
        same = (before.state, before.reason) == (state, reason)
        since = before.since if same else self._around.now()
        self._standing = replace(before, state=state, reason=reason, message=message, since=since)
        if same:
            return
        if state is ConnectionState.FAILING:
            self._log.warning("sink.failing", reason=reason, message=message)
        else:
            self._log.info("sink.connected")
        self._around.news()


def settle(
    delivery: SinkDelivery,
    result: Produced | NotProduced,
    started_at: datetime,
    milliseconds: int,
    now: datetime,
) -> Settled:
    """Decide what follows from an attempt: done, dead, or due again by the schedule."""
    produced = isinstance(result, Produced)
    if isinstance(result, Produced):
        verdict = Verdict(outcome=Outcome.DELIVERED, reason="produced")
    else:
        outcome = Outcome.ABORT if result.permanent else Outcome.RETRY
        verdict = Verdict(outcome=outcome, reason=result.message)
    decision = next_attempt(CLUSTER, delivery.attempt, now, verdict, 0.5)
    attempt = Attempt(
        delivery_id=delivery.id,
        number=delivery.attempt,
        started_at=started_at,
        milliseconds=milliseconds,
        status=None,
        error=None if isinstance(result, Produced) else _storable(result.message),
        response_headers=None,
        response_body=result.place if isinstance(result, Produced) else None,
    )
    assert produced == (decision.action is Action.FINISH), "what is produced is done"
    return attempt, _STATES[decision.action], decision.at


def _storable(text: str) -> str:
    """Give what a text column can hold: a connector's words may hold anything."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
