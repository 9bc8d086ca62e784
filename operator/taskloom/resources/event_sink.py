"""EventSink: outgoing events are produced to a broker."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import (
    Column,
    Names,
    Part,
    Resource,
    Rule,
    exactly_one,
    ready_columns,
    unchanged,
)
from taskloom.resources.broker import (
    BootstrapServers,
    BrokerTls,
    CustomConnector,
    KafkaTopic,
    NatsServers,
    NatsSubject,
    Sasl,
    SqsQueue,
)
from taskloom.resources.fields import LIST_SET, EventKey, Expression, Identifier
from taskloom.resources.status import Status

SINK_TYPES = ("kafka", "sqs", "nats", "custom")


class KafkaSink(Part):
    """A Kafka topic to produce to."""

    bootstrap_servers: BootstrapServers
    """Brokers to begin with, host:port."""
    topic: KafkaTopic
    """The topic."""
    key: Expression | None = None
    """CEL over `event` that gives the record's key; the event's key by default."""
    sasl: Sasl | None = None
    """How to log in."""
    tls: BrokerTls | None = None
    """TLS towards the brokers."""


class NatsSink(NatsServers):
    """A subject of NATS JetStream to publish to."""

    subject: NatsSubject
    """The subject; a stream must take it."""


class SinkFormat(Part):
    """How an event is written."""

    type: Literal["TaskEvent", "CloudEvents"] = "TaskEvent"
    """TaskEvent is the body that webhooks get."""


class EventSinkSpec(Part):
    """Outgoing events are produced to a broker."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(*SINK_TYPES),
        unchanged(*SINK_TYPES, noun="sink"),
    )

    kafka: KafkaSink | None = None
    """A Kafka topic."""
    sqs: SqsQueue | None = None
    """An SQS queue."""
    nats: NatsSink | None = None
    """A subject of NATS JetStream."""
    custom: CustomConnector | None = None
    """A sink that an installed package produces to."""
    event_keys: Annotated[
        tuple[EventKey, ...], Field(min_length=1, max_length=64, json_schema_extra=LIST_SET)
    ] = ("*",)
    """Keys of the events to produce; `*` stands for any run of characters."""
    filter: Expression | None = None
    """CEL over `event` (key, payload, source); only events for which it is true are produced."""
    format: SinkFormat = SinkFormat()
    """How an event is written."""
    suspend: bool = False
    """Stops producing; events that come meanwhile are kept."""

    @property
    def type(self) -> str:
        """Which of the kinds of sink it is; a custom one is of its own kind."""
        if self.custom is not None:
            return self.custom.kind
        return next(t for t in SINK_TYPES if getattr(self, t) is not None)


class EventSinkStatus(Status):
    """What became of an EventSink."""

    sink_id: Identifier | None = None
    """Id of the sink in the database."""
    type: Annotated[str, Field(max_length=32)] | None = None
    """The kind of sink."""


class EventSink(Resource):
    """Outgoing events are produced to a broker."""

    names: ClassVar[Names] = Names(kind="EventSink", plural="eventsinks", short="evsink")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Type", path=".status.type"),
        *ready_columns(),
    )
    status_type: ClassVar[type[Part]] = EventSinkStatus

    kind: Literal["EventSink"]
    spec: EventSinkSpec
