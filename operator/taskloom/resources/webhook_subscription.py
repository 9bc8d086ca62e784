"""WebhookSubscription: which outgoing events are told to which URL."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import (
    Column,
    Names,
    Part,
    Resource,
    Rule,
    at_most_one,
    exactly_one,
    ready_columns,
)
from taskloom.resources.fields import (
    LIST_SET,
    Count,
    Duration,
    EventKey,
    Expression,
    Host,
    Identifier,
    Timestamp,
    Url,
    bounded,
)
from taskloom.resources.headers import Headers
from taskloom.resources.references import CaRef, ObjectRef, SecretKeySource
from taskloom.resources.status import Status


class Signature(Part):
    """How deliveries are signed."""

    scheme: Literal["TaskSignature", "StandardWebhooks", "Both"] = "Both"
    """TaskSignature sends x-task-signature, StandardWebhooks sends webhook-signature."""


class SubscriptionTls(Part):
    """TLS towards the receiver."""

    ca_bundle_ref: CaRef | None = None
    """Authorities to trust instead of the system's."""
    client_certificate_ref: ObjectRef | None = None
    """A kubernetes.io/tls Secret (tls.crt, tls.key) to show to the receiver."""


class Backoff(Part):
    """Delays that double from `initial` to `max`."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="duration(self.initial) >= duration('1s')",
            message="`initial` must be at least 1s",
            field="initial",
        ),
        Rule(
            rule="duration(self.initial) <= duration(self.max)",
            message="`initial` must be less than or equal to `max`",
            field="initial",
        ),
        Rule(
            rule="duration(self.max) <= duration('720h')",
            message="`max` must be at most 720h",
            field="max",
        ),
    )

    initial: Duration = "5s"
    """Delay before the second attempt."""
    max: Duration = "1h"
    """The longest delay."""


class Delivery(Part):
    """How hard and how fast deliveries are tried."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one("schedule", "backoff"),
        at_most_one("schedule", "maxAttempts"),
        Rule(
            rule="duration(self.timeout) > duration('0s') "
            "&& duration(self.timeout) <= duration('60s')",
            message="`timeout` must be more than 0s and at most 60s",
            field="timeout",
        ),
        Rule(
            rule="!has(self.schedule) "
            "|| self.schedule.all(delay, duration(delay) <= duration('720h'))",
            message="`schedule` must not hold delays of more than 720h",
            field="schedule",
        ),
    )

    timeout: Duration = "15s"
    """For one attempt, connecting and reading the answer included; at most 60s."""
    schedule: (
        Annotated[
            tuple[Duration, ...],
            Field(
                min_length=1, max_length=50, json_schema_extra={"x-kubernetes-list-type": "atomic"}
            ),
        ]
        | None
    ) = None
    """The delay before each attempt, the first included; unset means the schedule that fits
    the receiver's address."""
    max_attempts: Annotated[int, bounded(1, 50)] | None = None
    """How many attempts are made."""
    max_age: Duration | None = None
    """How long after the event an attempt may still be made."""
    backoff: Backoff | None = None
    """Delays that grow, instead of a schedule."""
    ordering: Literal["None", "ByKey"] = "None"
    """ByKey delivers the events of one key one after another."""
    max_in_flight: Annotated[int, bounded(1, 1000)] = 10
    """How many deliveries may be under way at once."""
    rate_per_second: Annotated[int, bounded(1, 10_000)] | None = None
    """How many attempts may begin in a second."""


class DisableAfter(Part):
    """When a receiver is given up."""

    failing_for: Duration = "120h"
    """After this long with nothing but failures, nothing more is sent."""


class WebhookSubscriptionSpec(Part):
    """Which outgoing events are told to which URL."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("url", "urlFrom"),
        Rule(
            rule=r"!has(self.url) || self.url.matches('^(?i:https?)://[^/?#\\s]+([/?#]\\S*)?$')",
            message="`url` must be an absolute http or https URL",
            field="url",
        ),
        Rule(
            rule="!has(self.url) || !self.url.matches('^[^/]*//[^/?#]*@')",
            message="`url` must not hold user information; use `urlFrom`",
            field="url",
        ),
    )

    client_app_ref: ObjectRef
    """The ClientApp whose secrets sign the deliveries."""
    event_keys: Annotated[
        tuple[EventKey, ...], Field(min_length=1, max_length=64, json_schema_extra=LIST_SET)
    ]
    """Keys of the events to send; `*` stands for any run of characters."""
    filter: Expression | None = None
    """CEL over `event` (key, payload, source); only events for which it is true are sent."""
    url: Url | None = None
    """Where to send them: https, or http where the operator's policy allows it."""
    url_from: SecretKeySource | None = None
    """Where the URL comes from, for URLs that are secret."""
    headers: Headers | None = None
    """Headers to add."""
    suspend: bool = False
    """Stops sending; events that come meanwhile are kept and sent when it ends."""
    signature: Signature = Signature()
    """How deliveries are signed."""
    tls: SubscriptionTls | None = None
    """TLS towards the receiver."""
    delivery: Delivery = Delivery()
    """How hard and how fast deliveries are tried."""
    disable_after: DisableAfter = DisableAfter()
    """When a receiver is given up."""
    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    """Delete ends the subscription with the object; Retain leaves it in the database."""


class DeliveryStatus(Part):
    """How deliveries went of late."""

    last_success_time: Timestamp | None = None
    """When one was accepted last."""
    last_failure_time: Timestamp | None = None
    """When one failed last."""
    last_status_code: Annotated[int, bounded(0, 999)] | None = None
    """HTTP status of the last answer."""
    last_error: Annotated[str, Field(max_length=512)] | None = None
    """Why the last failure failed."""
    consecutive_failures: Count | None = None
    """Failures since the last success."""
    pending: Count | None = None
    """Deliveries that wait."""
    circuit: Annotated[str, Field(max_length=32)] | None = None
    """Closed, Open or HalfOpen."""


class WebhookSubscriptionStatus(Status):
    """What became of a WebhookSubscription."""

    subscription_id: Identifier | None = None
    """Id of the subscription in the database."""
    host: Host | None = None
    """Host of the URL; never its path or query."""
    delivery: DeliveryStatus | None = None
    """How deliveries went of late; written at most every 30 seconds."""


class WebhookSubscription(Resource):
    """Which outgoing events are told to which URL, and how."""

    names: ClassVar[Names] = Names(
        kind="WebhookSubscription", plural="webhooksubscriptions", short="whsub"
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Client", path=".spec.clientAppRef.name"),
        Column(name="Host", path=".status.host"),
        *ready_columns(
            Column(
                name="Failures",
                path=".status.delivery.consecutiveFailures",
                type="integer",
                priority=1,
            )
        ),
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.clientAppRef.name",)
    status_type: ClassVar[type[Part]] = WebhookSubscriptionStatus

    kind: Literal["WebhookSubscription"]
    spec: WebhookSubscriptionSpec
