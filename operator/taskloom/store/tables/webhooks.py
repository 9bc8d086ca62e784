"""The branch ``webhooks``: client apps, subscriptions, outgoing events and deliveries."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from taskloom.store.tables.columns import (
    NAMING,
    JsonText,
    created_on,
    instant,
    managed_by,
    modified_on,
)

webhook_metadata = MetaData(naming_convention=NAMING)

client_apps = Table(
    "client_apps",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("api_key", Text, nullable=False, unique=True),
    # Encrypted JSON: api_secret, signing_secret; former_ before them while those are good.
    Column("secrets", Text, nullable=False),
    Column("scopes", JsonText, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("revision", Integer, nullable=False, server_default=text("0")),  # of its rotation
    instant("issued_at"),
    instant("former_valid_until"),
    managed_by(),
    created_on(),
    modified_on(),
    Index(
        "uq_client_apps_managed_by",
        "managed_by",
        unique=True,
        postgresql_where=text("managed_by <> 'api'"),
    ),
)

webhook_subscriptions = Table(
    "webhook_subscriptions",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("client_id", Uuid, ForeignKey("client_apps.id", ondelete="CASCADE"), nullable=False),
    Column("event_keys", JsonText, nullable=False),  # globs
    Column("filter", Text),
    Column("target", Text, nullable=False),  # encrypted JSON: url, headers, tls
    Column("host", Text, nullable=False),
    Column("scheme", Text, nullable=False, server_default=text("'Both'")),
    Column("delivery", JsonText, nullable=False),  # timeout, schedule, max_in_flight
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    instant("paused_until"),  # its endpoint asked to be spared
    instant("disabled_at"),
    Column("disabled_reason", Text),
    managed_by(),
    created_on(),
    modified_on(),
    Index(
        "uq_webhook_subscriptions_managed_by",
        "managed_by",
        unique=True,
        postgresql_where=text("managed_by <> 'api'"),
    ),
    Index(None, "client_id"),
)

event_sinks = Table(
    "event_sinks",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("secrets", Text),  # encrypted
    Column("event_keys", JsonText, nullable=False),  # globs
    Column("filter", Text),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    managed_by(),
    created_on(),
    UniqueConstraint("managed_by"),
)

outgoing_events = Table(
    "outgoing_events",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Uuid),
    Column("task_id", Uuid),
    Column("root_instance_id", Text),
    created_on(),
    Index(None, "event_id"),
    Index(None, "created_on"),
)

# Narrow on purpose: these rows are claimed and updated again and again.
deliveries = Table(
    "deliveries",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("outgoing_event_id", Uuid, nullable=False),
    Column("subscription_id", Uuid),  # either this
    Column("sink_id", Uuid),  # or that
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    instant("due_at", nullable=False, server_default=text("now()")),
    instant("leased_until"),
    created_on(),
    instant("finished_at"),
    UniqueConstraint("outgoing_event_id", "subscription_id"),
    UniqueConstraint(
        "outgoing_event_id", "sink_id", name="uq_deliveries_outgoing_event_id_sink_id"
    ),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    CheckConstraint("num_nonnulls(subscription_id, sink_id) = 1", name="to_one"),
    Index(
        "ix_deliveries_pending",
        "subscription_id",
        "due_at",
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "ix_deliveries_pending_sink",
        "sink_id",
        "outgoing_event_id",
        postgresql_where=text("state = 'pending' AND sink_id IS NOT NULL"),
    ),
)

# Which process produces to a sink, and how it stands.
sink_states = Table(
    "sink_states",
    webhook_metadata,
    Column("sink_id", Uuid, ForeignKey("event_sinks.id", ondelete="CASCADE"), primary_key=True),
    Column("holder", Text),
    instant("leased_until"),
    Column("state", Text, nullable=False, server_default=text("'idle'")),
    instant("since", nullable=False, server_default=text("now()")),
    Column("reason", Text),
    Column("message", Text, nullable=False, server_default=text("''")),
    instant("reported_on", nullable=False, server_default=text("now()")),
    CheckConstraint("state IN ('idle', 'starting', 'connected', 'failing')", name="state"),
)

# How deliveries went of late: kept with every attempt, as counting them would read them all.
delivery_health = Table(
    "delivery_health",
    webhook_metadata,
    Column("subscription_id", Uuid, primary_key=True),
    instant("last_success_at"),
    instant("last_failure_at"),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    Column("consecutive_failures", Integer, nullable=False, server_default=text("0")),
)

attempts = Table(
    "attempts",
    webhook_metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    instant("started_at", nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", SmallInteger),
    Column("error", Text),
    Column("response_headers", JsonText),
    Column("response_body", Text),
)
