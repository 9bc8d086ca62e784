"""EventSource: where events come in."""

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
from taskloom.resources.broker import CustomConnector
from taskloom.resources.fields import (
    Count,
    EventKey,
    Expression,
    Identifier,
    Long,
    Timestamp,
    bounded,
)
from taskloom.resources.source_types import (
    CronSource,
    HttpSource,
    KafkaSource,
    NatsSource,
    SqsSource,
)
from taskloom.resources.status import Status

SOURCE_TYPES = ("kafka", "http", "sqs", "nats", "cron", "custom")


class FormatKey(Part):
    """Where an event's key comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("literal", "header", "expression"),)

    literal: EventKey | None = None
    """The same key for all."""
    header: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A header of the message or the call."""
    expression: Expression | None = None
    """CEL over `message` (body, headers; a CloudEvent's attributes, data) that gives a string."""


class Format(Part):
    """How a message is read as an event."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.type != 'JSON' || has(self.key)",
            message="`key` must be specified for JSON",
            field="key",
        ),
        Rule(
            rule="(self.type == 'Adapter') == has(self.adapter)",
            message="`adapter` must be specified for Adapter and may not be otherwise",
            field="adapter",
        ),
    )

    type: Literal["TaskEvent", "CloudEvents", "JSON", "Adapter"] = "TaskEvent"
    """TaskEvent is {key, payload, source, description}; CloudEvents is read in structured and
    binary mode; JSON is any JSON, all of it payload; Adapter is read by an installed package."""
    adapter: (
        Annotated[
            str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
        ]
        | None
    ) = None
    """The adapter, by the name that a package offers it under."""
    key: FormatKey | None = None
    """Where the event's key comes from, if not from the message's own field."""
    idempotency_key: Expression | None = None
    """CEL over `message` that gives a string: two messages with one key are one event."""


class Autoscaling(Part):
    """Replicas by lag."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.minReplicas <= self.maxReplicas",
            message="`minReplicas` must be less than or equal to `maxReplicas`",
            field="minReplicas",
        ),
    )

    min_replicas: Annotated[int, bounded(0, 1000)] = 1
    """The fewest replicas."""
    max_replicas: Annotated[int, bounded(1, 1000)] = 10
    """The most replicas."""
    target_lag: Annotated[int, bounded(1, 100_000_000)] = 1000
    """Messages that may wait for each replica."""


class Placement(Part):
    """Where the connector runs."""

    mode: Literal["Shared", "Dedicated"] = "Shared"
    """Shared runs in a common pool, Dedicated in pods of its own."""
    pool: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = "default"
    """The pool to run in."""
    replicas: Annotated[int, bounded(0, 1000)] = 1
    """How many run."""
    autoscaling: Autoscaling | None = None
    """Replicas by lag."""


class EventSourceSpec(Part):
    """Where events come in: exactly one of kafka, http, sqs, nats, cron and custom."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(*SOURCE_TYPES),
        unchanged(*SOURCE_TYPES, noun="source"),
    )

    kafka: KafkaSource | None = None
    """Kafka topics."""
    http: HttpSource | None = None
    """A path of Taskloom's own HTTP server."""
    sqs: SqsSource | None = None
    """An SQS queue."""
    nats: NatsSource | None = None
    """A stream of NATS JetStream."""
    cron: CronSource | None = None
    """A clock."""
    custom: CustomConnector | None = None
    """A source that an installed package reads."""
    format: Format = Format()
    """How a message is read as an event."""
    filter: Expression | None = None
    """CEL over `event` (key, payload, source); events for which it is not true are dropped."""
    on_invalid: Literal["DeadLetter", "Drop", "Block"] = "DeadLetter"
    """What becomes of a message that is no event."""
    max_in_flight: Annotated[int, bounded(1, 10_000)] = 64
    """How many messages may be under way at once."""
    max_message_bytes: Annotated[int, bounded(1, 10_485_760)] = 1_048_576
    """The largest message that is read as an event; http sources have a limit of their own."""
    suspend: bool = False
    """Stops taking events."""
    placement: Placement = Placement()
    """Where the connector runs."""

    @property
    def type(self) -> str:
        """Which of the kinds of source it is; a custom one is of its own kind."""
        if self.custom is not None:
            return self.custom.kind
        return next(t for t in SOURCE_TYPES if getattr(self, t) is not None)


class Assignment(Part):
    """What one replica reads."""

    pod: Annotated[str, Field(max_length=253)]
    """The replica."""
    partitions: Count | None = None
    """How many partitions it reads."""
    reporting: Timestamp | None = None
    """When it said so."""


class Lag(Part):
    """What waits at the broker."""

    total: Long | None = None
    """Messages that wait."""
    observed_at: Timestamp | None = None
    """When they were counted."""


class EventSourceStatus(Status):
    """What became of an EventSource."""

    source_id: Identifier | None = None
    """Id of the source in the database."""
    type: Annotated[str, Field(max_length=32)] | None = None
    """The kind of source."""
    replicas: Count | None = None
    """How many replicas run."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of their pods, for the scale subresource."""
    endpoint: Annotated[str, Field(max_length=2048)] | None = None
    """Where events can be sent."""
    connected_since: Timestamp | None = None
    """Since when the connection stands."""
    last_event_time: Timestamp | None = None
    """When an event came last."""
    assignment: (
        Annotated[
            tuple[Assignment, ...],
            Field(
                max_length=64,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["pod"],
                },
            ),
        ]
        | None
    ) = None
    """Which replica reads what."""
    lag: Lag | None = None
    """What waits at the broker."""


class EventSource(Resource):
    """Where events come in."""

    names: ClassVar[Names] = Names(kind="EventSource", plural="eventsources", short="evsrc")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Type", path=".status.type"),
        Column(name="Replicas", path=".status.replicas", type="integer"),
        Column(name="Lag", path=".status.lag.total", type="integer"),
        *ready_columns(
            Column(name="Last Event", path=".status.lastEventTime", type="date"),
            Column(name="Endpoint", path=".status.endpoint", priority=1),
        ),
    )
    scale: ClassVar[dict[str, str] | None] = {
        "specReplicasPath": ".spec.placement.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    status_type: ClassVar[type[Part]] = EventSourceStatus

    kind: Literal["EventSource"]
    spec: EventSourceSpec
