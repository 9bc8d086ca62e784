"""EventSources of kind nats: a durable pull consumer, acknowledged after what it gave is durable.

Each message is named by its stream, when that was made, and its sequence in it: a stream that is
made anew counts from 1 again, and what it holds is new all the same.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats import errors
from nats.js import api
from nats.js.errors import NotFoundError

from taskloom.connectors.nats.connection import NatsFailed, Servers, opened
from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSource, object_of
from taskloom.errors import Invalid, Temporary
from taskloom.ports.connector import ConnectorContext, Fate, Incoming, SourceFailed
from taskloom.resources.source_types import NatsSource

_FETCH_SECONDS = 1.0
"""How long a fetch waits for messages: how soon a stop is noticed."""
_MOST = 100
"""Messages of a fetch: as many may be held in memory, and they may be large."""
_LOOK_SECONDS = 3.0
"""Between two looks at how the consumer is, and how much waits for it."""
_AGAIN_SECONDS = 2.0
"""Between two tries to connect."""
_BLOCKED_SECONDS = 15.0
"""After how long a message that is no event is tried again, where the source stops at it."""


class Nats:
    """Reads streams."""

    kind = "nats"
    exclusive = False

    async def run(self, context: ConnectorContext) -> None:
        """Read until the context says to stop; connect again whenever the connection has ended."""
        spec = NatsSource.model_validate(context.source.spec["nats"])
        name = f"taskloom-{context.source.id}"
        while not context.stopping:
            try:
                async with opened(spec, context.source.secrets, name=name) as servers:
                    await _Reading(context, servers, spec).run()
            except NatsFailed as error:
                context.failing(error.reason, error.message)
                await context.pause(_AGAIN_SECONDS)


@dataclass(slots=True)
class _Reading:
    """A consumer while it is read, by one connection."""

    context: ConnectorContext
    servers: Servers
    spec: NatsSource
    made: str = ""
    """When the stream was made."""
    looked_at: float = field(default=float("-inf"))

    async def run(self) -> None:
        """Fetch, store, acknowledge."""
        jetstream = self.servers.jetstream
        stream = await self.servers.ask(jetstream.stream_info(self.spec.stream))
        self.made = "" if stream.created is None else f"{stream.created:%Y%m%dT%H%M%S.%f}"
        consumer = await self._consumer()
        fetching = await self.servers.ask(
            jetstream.pull_subscribe_bind(consumer=consumer, stream=self.spec.stream)
        )
        while not self.context.stopping:
            await self._look(consumer)
            messages = await self.servers.ask(
                _fetch(fetching, min(_MOST, self.context.source.spec["maxInFlight"])),
                seconds=2 * _FETCH_SECONDS + 1,
            )
            if messages:
                await self._take(messages)

    async def _consumer(self) -> str:
        """Name the consumer; make it if it is missing, and change one that was made here."""
        name = self.spec.consumer or consumer_of(self.context.source)
        jetstream = self.servers.jetstream
        wanted = consumer_config(name, self.spec, self.context.source)
        try:
            found = (
                await self.servers.ask(_found(jetstream.consumer_info(self.spec.stream, name)))
            ).config
        except _Missing:
            await self.servers.ask(jetstream.add_consumer(self.spec.stream, wanted))
            return name
        if found.deliver_subject is not None or found.ack_policy != api.AckPolicy.EXPLICIT:
            raise Invalid(
                f"spec.nats.consumer: {name} is no pull consumer with explicit acknowledgements."
            )
        changed = _changed(found, wanted)
        if self.spec.consumer is None and changed is not None:
            await self.servers.ask(jetstream.add_consumer(self.spec.stream, changed))
        return name

    async def _look(self, consumer: str) -> None:
        """Tell how the source stands, now and then."""
        now = asyncio.get_running_loop().time()
        if now - self.looked_at < _LOOK_SECONDS:
            return
        info = await self.servers.ask(
            self.servers.jetstream.consumer_info(self.spec.stream, consumer)
        )
        self.looked_at = now
        self.context.connected()
        self.context.lagging((info.num_pending or 0) + (info.num_ack_pending or 0))

    async def _take(self, messages: Sequence[Any]) -> None:
        """Store messages and acknowledge them; hold those that cannot be stored yet."""
        left = list(messages)
        async with self._holding(left):
            while left and not self.context.stopping:
                pause = await self._store(left)
                await self._pause(pause)

    async def _store(self, left: list[Any]) -> float:
        """Store what can be, and take it from what is left; tell for how long to pause then."""
        try:
            receipts = await self.context.ingest([self._incoming(each) for each in left])
        except SourceFailed:
            raise
        except Temporary as error:
            self._fail(Reason.DATABASE_UNAVAILABLE, error.message)
            return error.delay
        settled = [
            message
            for message, receipt in zip(left, receipts, strict=True)
            if receipt.fate is not Fate.BLOCKED
        ]
        blocked = next((each.reason for each in receipts if each.fate is Fate.BLOCKED), None)
        for message in settled:
            left.remove(message)
            await self.servers.ask(message.ack())
        if blocked is None:
            return 0.0
        place = left[0].metadata.sequence.stream
        self._fail(
            Reason.MESSAGE_INVALID,
            f"{self.spec.stream} stops at the message {place}, which is no event: {blocked}",
        )
        return _BLOCKED_SECONDS

    def _fail(self, reason: Reason, message: str) -> None:
        self.context.failing(reason, message)
        self.looked_at = float("-inf")  # what is told next is that it is read again

    async def _pause(self, seconds: float) -> None:
        """Pause, and notice when the connection ends meanwhile."""
        while seconds > 0 and not self.context.stopping:
            if self.servers.lost.done():
                raise self.servers.failure(None)
            await self.context.pause(min(seconds, 1.0))
            seconds -= 1.0

    @asynccontextmanager
    async def _holding(self, left: list[Any]) -> AsyncIterator[None]:
        """Keep messages from being given to others, and in the end give back what is left."""
        holding = asyncio.create_task(self._keep_hold(left))
        try:
            yield
        finally:
            holding.cancel()
            with contextlib.suppress(NatsFailed):
                for message in left:
                    await self.servers.ask(message.nak())
                await self.servers.ask(self.servers.client.flush())

    async def _keep_hold(self, left: list[Any]) -> None:
        """Say again and again that these are worked on."""
        with contextlib.suppress(NatsFailed):
            while True:
                await asyncio.sleep(self.spec.ack_wait_seconds / 3)
                for message in list(left):
                    await self.servers.ask(message.in_progress())

    def _incoming(self, message: Any) -> Incoming:
        return incoming(message, self.spec.stream, self.made)


def incoming(message: Any, stream: str, made: str) -> Incoming:
    """Turn what a consumer gave into a message of the source.

    Its headers are in lower case; beside them stand ``nats-subject``, ``nats-stream`` and
    ``nats-sequence``.  A stream is one lane.
    """
    place = message.metadata.sequence.stream
    given: Mapping[str, str] = message.headers or {}
    headers = {name.lower(): value for name, value in given.items()} | {
        "nats-subject": message.subject,
        "nats-stream": stream,
        "nats-sequence": str(place),
    }
    return Incoming(
        body=message.data or None,
        headers=headers,
        idempotency_key=f"{stream}/{made}/{place}",
        lane=stream,
    )


def consumer_of(source: EventSource) -> str:
    """Name the consumer of a source that names none; a name has no dots."""
    home = object_of(source.managed_by)
    name = f"taskloom-{source.id}" if home is None else f"taskloom-{home[0]}-{home[1]}"
    return name.replace(".", "_")


def consumer_config(name: str, spec: NatsSource, source: EventSource) -> api.ConsumerConfig:
    """Say how a consumer is made; a new one begins with what came since the source is there.

    So one that is made late, or again, misses nothing.
    """
    begin: dict[str, Any] = {"deliver_policy": api.DeliverPolicy.ALL}
    if spec.initial_position == "New":
        begin = {"deliver_policy": api.DeliverPolicy.NEW}
        if source.created_on is not None:
            begin = {
                "deliver_policy": api.DeliverPolicy.BY_START_TIME,
                "opt_start_time": source.created_on,
            }
    return api.ConsumerConfig(
        durable_name=name,
        description="Made by Taskloom for an EventSource.",
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=spec.ack_wait_seconds,
        filter_subjects=list(spec.subjects) if spec.subjects is not None else None,
        **begin,
    )


class _Missing(Exception):
    """There is no such consumer."""


def _changed(found: api.ConsumerConfig, wanted: api.ConsumerConfig) -> api.ConsumerConfig | None:
    """Say what a consumer is to be like, if that is not what it is; where it began it keeps."""
    single = [found.filter_subject] if found.filter_subject else []
    subjects = found.filter_subjects or single
    same = (subjects, found.ack_wait) == (wanted.filter_subjects or [], wanted.ack_wait)
    if same:
        return None
    return found.evolve(
        filter_subject=None, filter_subjects=wanted.filter_subjects, ack_wait=wanted.ack_wait
    )


async def _found(asked: Any) -> Any:
    try:
        return await asked
    except NotFoundError as error:
        raise _Missing from error


async def _fetch(fetching: Any, count: int) -> Sequence[Any]:
    try:
        found: Sequence[Any] = await fetching.fetch(count, timeout=_FETCH_SECONDS)
    except (TimeoutError, errors.TimeoutError):
        return []
    return found
