"""The kinds of EventSource: kafka, http, sqs, nats, cron, and those of others."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import Part, Rule, exactly_one, immutable
from taskloom.resources.broker import (
    BootstrapServers,
    BrokerTls,
    KafkaTopic,
    NatsName,
    NatsServers,
    NatsSubject,
    Sasl,
    SqsQueue,
)
from taskloom.resources.fields import FREE_FORM, LIST_BY_NAME, LIST_SET, HeaderName, bounded
from taskloom.resources.references import ObjectRef, SecretKeyRef


class KafkaSource(Part):
    """Kafka topics to consume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("topics", "topicPattern"),
        immutable("consumerGroup", of="kafka."),
        Rule(
            rule="!has(self.properties) || !self.properties.exists(k, k.startsWith('sasl.') "
            "|| k.startsWith('ssl.') "
            "|| k in ['group.id', 'enable.auto.commit', 'bootstrap.servers'])",
            message="`properties` must not hold sasl.*, ssl.*, group.id, enable.auto.commit "
            "or bootstrap.servers",
            field="properties",
        ),
    )

    bootstrap_servers: BootstrapServers
    """Brokers to begin with, host:port."""
    topics: (
        Annotated[
            tuple[KafkaTopic, ...], Field(min_length=1, max_length=32, json_schema_extra=LIST_SET)
        ]
        | None
    ) = None
    """Topics to consume."""
    topic_pattern: Annotated[str, Field(min_length=1, max_length=249)] | None = None
    """Regular expression of the topics to consume."""
    consumer_group: Annotated[str, Field(min_length=1, max_length=249)] | None = None
    """The consumer group; taskloom.<namespace>.<name> by default."""
    initial_offset: Literal["Latest", "Earliest"] = "Latest"
    """Where a group without offsets begins."""
    ordering: Literal["Partition", "Key", "None"] = "Key"
    """What is kept in order."""
    sasl: Sasl | None = None
    """How to log in."""
    tls: BrokerTls | None = None
    """TLS towards the brokers."""
    properties: (
        Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=32)] | None
    ) = None
    """Client settings that have no field here."""


class Hmac(Part):
    """A signature over the body."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.scheme == 'Hex' "
            "|| (self.header == 'x-signature' && self.algorithm == 'sha256')",
            message="`header` and `algorithm` may not be specified unless `scheme` is Hex",
            field="header",
        ),
    )

    secret_key_ref: SecretKeyRef
    """The shared secret."""
    scheme: Literal["Hex", "GitHub", "Stripe", "StandardWebhooks", "TaskSignature"] = "Hex"
    """How senders sign: Hex is what `header` and `algorithm` say; GitHub's x-hub-signature-256;
    Stripe's stripe-signature; webhook-signature of Standard Webhooks; TaskSignature is
    x-task-signature and x-task-timestamp, as Taskloom signs webhooks itself."""
    header: HeaderName = "x-signature"
    """The header that carries the signature in hex; for Hex."""
    algorithm: Literal["sha256", "sha512"] = "sha256"
    """The hash; for Hex."""
    tolerance_seconds: Annotated[int, bounded(1, 86_400)] = 300
    """How far a signature's time may be from now; for the schemes that sign one."""


class HttpAuth(Part):
    """Who may post."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("clientAppRefs", "hmac", "anonymous"),)

    client_app_refs: (
        Annotated[
            tuple[ObjectRef, ...],
            Field(min_length=1, max_length=32, json_schema_extra=LIST_BY_NAME),
        ]
        | None
    ) = None
    """These ClientApps, by x-api-key and x-api-secret."""
    hmac: Hmac | None = None
    """Whoever knows a shared secret."""
    anonymous: bool | None = None
    """Anybody."""


class HttpSource(Part):
    """A path of Taskloom's own HTTP server."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[A-Za-z0-9._~/-]*$")]
    """The path below /sources: events for /orders are posted to /sources/orders,
    which `status.endpoint` names."""
    auth: HttpAuth | None = None
    """Who may post; unset means every ClientApp of this namespace with events.trigger."""
    max_body_bytes: Annotated[int, bounded(1, 10_485_760)] = 1_048_576
    """The largest body."""


class NatsSource(NatsServers):
    """A stream of NATS JetStream, read by a durable consumer."""

    stream: NatsName
    """The stream."""
    consumer: NatsName | None = None
    """The durable consumer; taskloom-<namespace>-<name> by default.  It is made if missing."""
    subjects: (
        Annotated[
            tuple[NatsSubject, ...],
            Field(min_length=1, max_length=32, json_schema_extra=LIST_SET),
        ]
        | None
    ) = None
    """Subjects to read; all of the stream's by default.  For a consumer that is made."""
    initial_position: Literal["New", "All"] = "New"
    """Where a consumer that is made begins."""
    ack_wait_seconds: Annotated[int, bounded(1, 3600)] = 30
    """After how long a message that was not confirmed is given again."""


class SqsSource(SqsQueue):
    """An SQS queue to read."""

    wait_time_seconds: Annotated[int, bounded(0, 20)] = 20
    """How long a poll waits for messages."""
    visibility_timeout_seconds: Annotated[int, bounded(0, 43_200)] | None = None
    """How long a message stays hidden while it is handled; the queue's own by default."""


class CronSource(Part):
    """Events by the clock."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!self.schedule.contains('TZ')",
            message="`schedule` must not hold TZ or CRON_TZ; use `timeZone`",
            field="schedule",
        ),
    )

    schedule: Annotated[str, Field(min_length=1, max_length=128)]
    """Five fields of cron."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "Etc/UTC"
    """IANA name of the time zone."""
    payload: Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM)] | None = None
    """The payload of each event."""
