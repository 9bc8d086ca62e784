"""The tables, as SQLAlchemy Core sees them; ``migrations/`` makes them.

The webhook tables have a metadata of their own, as their branch of the migrations can be left out.
JSON that came from outside is kept in ``json`` columns as the text it arrived as:
key order, number forms and escapes survive.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
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
from sqlalchemy.types import UserDefinedType

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)
workflow_metadata = MetaData(naming_convention=NAMING)
webhook_metadata = MetaData(naming_convention=NAMING)


class JsonText(UserDefinedType[str]):
    """PostgreSQL ``json``, bound and fetched as text: nothing is parsed on the way."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the column type."""
        return "JSON"


def _instant(name: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **options)


def _created() -> Column[Any]:
    return _instant("created_on", nullable=False, server_default=text("now()"))


def _modified() -> Column[Any]:
    return _instant("modified_on", nullable=False, server_default=text("now()"))


def _audit() -> list[Column[Any]]:
    return [
        _created(),
        _modified(),
        Column("created_by", Text),
        Column("modified_by", Text),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        _instant("deleted_on"),
        Column("deleted_by", Text),
    ]


def _managed() -> Column[Any]:
    # "api", "file:<kind>/<namespace>/<name>" or "kubernetes:<kind>/<namespace>/<name>"
    return Column("managed_by", Text, nullable=False, server_default=text("'api'"))


events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("source", Text),
    Column("description", Text),
    Column("origin", Text, nullable=False),  # the door it came in by
    Column("idempotency_key", Text),
    Column("routing", JsonText, nullable=False, server_default=text("'[]'")),
    _created(),
    UniqueConstraint("origin", "idempotency_key"),
    Index(None, "key"),
    Index(None, "created_on"),
)

event_workflows = Table(
    "event_workflows",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("event_key", Text, nullable=False),
    Column("workflow_key", Text, nullable=False),
    Column("filter", Text),
    Column("variables", Text),
    Column("business_key", Text),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    _created(),
    Index(None, "event_key"),
    Index(
        "uq_event_workflows_managed_by",
        "managed_by",
        unique=True,
        postgresql_where=text("managed_by <> 'api'"),
    ),
    Index(
        "uq_event_workflows_api",
        "event_key",
        "workflow_key",
        unique=True,
        postgresql_where=text("managed_by = 'api'"),
    ),
)

task_workflows = Table(
    "task_workflows",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task_key", Text, nullable=False, unique=True),
    Column("workflow_key", Text, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    _created(),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False),
    Column("name", Text),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("severity", Text),
    Column("type", Text),
    _instant("start_date"),
    _instant("due_date"),
    _instant("end_date"),
    Column("assignee_id", Text),
    Column("metadata", JsonText),
    Column("external_id", Text),  # the process instance that works on it
    Column("notes", Text),
    Column("event_id", Uuid),  # the event it descends from
    Column("origin_instance_id", Text),  # the instance whose create-tasks made it
    Column("external_task_id", Text),
    *_audit(),
    CheckConstraint("status IN ('pending', 'in progress', 'completed')", name="status"),
    CheckConstraint("priority IN ('low', 'medium', 'high')", name="priority"),
    Index(None, "external_id"),
    Index(None, "event_id"),
    Index(None, "key"),
    Index(None, "created_on"),
)

user_tasks = Table(
    "user_tasks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("external_id", Text, nullable=False, unique=True),  # the engine's user task
    Column("key", Text),  # the element's id in the model
    Column("name", Text),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("severity", Text),
    Column("type", Text),
    _instant("start_date"),
    _instant("due_date"),
    _instant("end_date"),
    Column("assignee_id", Text),
    Column("candidates", JsonText),
    Column("form_key", Text),
    Column("metadata", JsonText),
    *_audit(),
    CheckConstraint(
        "status IN ('pending', 'in progress', 'completed', 'cancelled')", name="status"
    ),
    CheckConstraint("priority IN ('low', 'medium', 'high')", name="priority"),
    Index(None, "task_id"),
)

# What a committed transaction still has to do outside of itself.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'ready'")),
    Column("payload", JsonText, nullable=False),
    Column("event_id", Uuid),
    Column("task_id", Uuid),
    Column("instance_id", Text),  # what a start job led to
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _instant("due_at", nullable=False, server_default=text("now()")),
    _instant("leased_until"),
    Column("error", Text),
    _created(),
    _instant("finished_at"),
    CheckConstraint("state IN ('ready', 'done', 'dead')", name="state"),
    Index("ix_jobs_ready", "due_at", postgresql_where=text("state = 'ready'")),
    Index(None, "event_id"),
    Index(None, "task_id"),
    Index(None, "instance_id"),
)

# Which external tasks have had their effect: the key to doing each once.
external_task_ledger = Table(
    "external_task_ledger",
    metadata,
    Column("external_task_id", Text, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("root_instance_id", Text, nullable=False),
    Column("state", Text, nullable=False),  # done | failed | error
    Column("variables", JsonText, nullable=False, server_default=text("'{}'")),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    _instant("started_at", nullable=False),
    _instant("finished_at", nullable=False),
    Index(None, "root_instance_id"),
)

event_sources = Table(
    "event_sources",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("path", Text, unique=True),  # of an http source
    Column("spec", JsonText, nullable=False),
    Column("secrets", Text),  # encrypted
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    _created(),
    UniqueConstraint("managed_by"),
)

commands = Table(
    "commands",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("topic", Text, nullable=False, unique=True),
    Column("target", Text, nullable=False),  # encrypted JSON: url, headers
    Column("timeout_seconds", Float, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    _created(),
)

# What was declared, and what became of it: the statuses of a provider without a cluster.
resources = Table(
    "resources",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("status", JsonText, nullable=False, server_default=text("'{}'")),
    Column("place", Text),  # file and line, or the cluster
    _created(),
    _modified(),
)

workflows = Table(
    "workflows",
    workflow_metadata,
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("provider", Text, nullable=False, server_default=text("'bpmn'")),
    Column("version", Integer, nullable=False),
    Column("input_schema", JsonText),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    *_audit(),
)

workflow_versions = Table(
    "workflow_versions",
    workflow_metadata,
    Column("id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, ForeignKey("workflows.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition_id", Text, nullable=False),  # the engine's
    Column("digest", Text, nullable=False),
    Column("bpmn", Text, nullable=False),
    Column("input_schema", JsonText),
    Column("topics", JsonText, nullable=False, server_default=text("'[]'")),
    _created(),
    UniqueConstraint("workflow_id", "version"),
)

client_apps = Table(
    "client_apps",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("api_key", Text, nullable=False, unique=True),
    Column("secrets", Text, nullable=False),  # encrypted JSON: api_secret, signing_secret
    Column("scopes", JsonText, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    _managed(),
    _created(),
    _modified(),
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
    _instant("paused_until"),  # its endpoint asked to be spared
    _instant("disabled_at"),
    Column("disabled_reason", Text),
    _managed(),
    _created(),
    _modified(),
    Index(
        "uq_webhook_subscriptions_managed_by",
        "managed_by",
        unique=True,
        postgresql_where=text("managed_by <> 'api'"),
    ),
    Index(None, "client_id"),
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
    _created(),
    Index(None, "event_id"),
    Index(None, "created_on"),
)

# Narrow on purpose: these rows are claimed and updated again and again.
deliveries = Table(
    "deliveries",
    webhook_metadata,
    Column("id", Uuid, primary_key=True),
    Column("outgoing_event_id", Uuid, nullable=False),
    Column("subscription_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    _instant("due_at", nullable=False, server_default=text("now()")),
    _instant("leased_until"),
    _created(),
    _instant("finished_at"),
    UniqueConstraint("outgoing_event_id", "subscription_id"),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    Index(
        "ix_deliveries_pending",
        "subscription_id",
        "due_at",
        postgresql_where=text("state = 'pending'"),
    ),
)

attempts = Table(
    "attempts",
    webhook_metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    _instant("started_at", nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", SmallInteger),
    Column("error", Text),
    Column("response_headers", JsonText),
    Column("response_body", Text),
)
