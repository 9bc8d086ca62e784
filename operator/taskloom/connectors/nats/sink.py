"""EventSinks of kind nats: records are published to JetStream, which says that it has them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from uuid import UUID

from nats import errors
from nats.js import api
from nats.js import errors as js_errors

from taskloom.connectors.nats.connection import NatsFailed, Servers, opened
from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSink
from taskloom.ports.sink import NotProduced, Produced, Record, SinkFailed
from taskloom.resources.event_sink import NatsSink

_SEND_SECONDS = 20
"""After that a batch counts as not produced; what was is dropped as a duplicate."""
_TOO_LARGE = 10054
_PERMANENT: Mapping[type[Exception], str] = {
    errors.MaxPayloadError: "it is larger than the servers take",
    errors.BadHeaderError: "a header has a line break",
}
_OF_THE_SINK = (js_errors.ServiceUnavailableError, js_errors.ServerError)
"""A stream that is full, or has no leader: no record is to blame."""


class NatsSinks:
    """Opens a connection for each sink."""

    kind = "nats"

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator["NatsProducer"]:
        """Connect, and see that a stream takes the subject."""
        spec = NatsSink.model_validate(sink.spec["nats"])
        try:
            async with opened(spec, sink.secrets, name=f"taskloom-{sink.id}") as servers:
                producer = NatsProducer(servers, spec.subject, sink.id)
                await producer.check()
                yield producer
        except NatsFailed as error:
            _fail(error)


class NatsProducer:
    """An open connection to a subject."""

    def __init__(self, servers: Servers, subject: str, sink_id: UUID) -> None:
        self._servers = servers
        self._subject = subject
        self._sink_id = sink_id
        self._jetstream = servers.jetstream

    async def send(self, records: Sequence[Record]) -> Sequence[Produced | NotProduced]:
        """Publish records in their order, and wait until the stream has them all."""
        try:
            answers = await self._servers.ask(self._publish(records), seconds=_SEND_SECONDS)
        except NatsFailed as error:
            _fail(error)
        return [self._result(answer) for answer in answers]

    async def check(self) -> None:
        """See that a stream takes the subject; who may not ask that finds out by publishing."""
        try:
            await self._servers.ask(self._jetstream.find_stream_name_by_subject(self._subject))
        except NatsFailed as error:
            if isinstance(error.__cause__, js_errors.NotFoundError):
                _no_stream(self._subject)
            _fail(error)

    async def _publish(self, records: Sequence[Record]) -> Sequence[Any]:
        """Publish them all, then await the answers: a publication is written as it begins.

        (`publish_async` of this client never answers where the stream refuses a message.)
        """
        sent = [
            self._jetstream.publish(
                self._subject, record.body, timeout=_SEND_SECONDS, headers=self._headers(record)
            )
            for record in records
        ]
        return await asyncio.gather(*sent, return_exceptions=True)

    def _headers(self, record: Record) -> dict[str, str]:
        """Name the record, for JetStream to drop duplicates; what other sinks sent are none."""
        return {**record.headers, str(api.Header.MSG_ID.value): f"{record.id}/{self._sink_id}"}

    def _result(self, answer: Any) -> Produced | NotProduced:
        if isinstance(answer, api.PubAck):
            return Produced(place=f"{answer.stream}/{answer.seq}")
        if isinstance(answer, js_errors.NoStreamResponseError | errors.NoRespondersError):
            _no_stream(self._subject)
        for kind, why in _PERMANENT.items():
            if isinstance(answer, kind):
                return NotProduced(message=why, permanent=True)
        if not isinstance(answer, js_errors.APIError) or isinstance(answer, _OF_THE_SINK):
            _fail(self._servers.failure(answer))
        if answer.err_code == _TOO_LARGE:
            return NotProduced(message="it is larger than the stream takes", permanent=True)
        return NotProduced(message=f"the stream did not take it: {answer.description}")


def _no_stream(subject: str) -> NoReturn:
    raise SinkFailed(f"no stream takes the subject {subject}", reason=Reason.TOPIC_NOT_FOUND)


def _fail(error: NatsFailed) -> NoReturn:
    raise SinkFailed(error.message, reason=error.reason) from error
