"""The branch ``tasks``: events, tasks, jobs, and what is declared."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from taskloom.store.tables.columns import (
    NAMING,
    JsonText,
    audit,
    created_on,
    instant,
    managed_by,
    modified_on,
)

metadata = MetaData(naming_convention=NAMING)

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
    created_on(),
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
    managed_by(),
    created_on(),
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
    managed_by(),
    created_on(),
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
    instant("start_date"),
    instant("due_date"),
    instant("end_date"),
    Column("assignee_id", Text),
    Column("metadata", JsonText),
    Column("external_id", Text),  # the process instance that works on it
    Column("notes", Text),
    Column("event_id", Uuid),  # the event it descends from
    Column("origin_instance_id", Text),  # the instance whose create-tasks made it
    Column("external_task_id", Text),
    *audit(),
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
    instant("start_date"),
    instant("due_date"),
    instant("end_date"),
    Column("assignee_id", Text),
    Column("candidates", JsonText),
    Column("form_key", Text),
    Column("metadata", JsonText),
    *audit(),
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
    instant("due_at", nullable=False, server_default=text("now()")),
    instant("leased_until"),
    Column("error", Text),
    created_on(),
    instant("finished_at"),
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
    instant("started_at", nullable=False),
    instant("finished_at", nullable=False),
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
    Column("pool", Text, server_default=text("'default'")),  # null: pods of its own
    managed_by(),
    created_on(),
    UniqueConstraint("managed_by"),
)

# Who runs a source and how it stands; several slots where several processes share one.
source_states = Table(
    "source_states",
    metadata,
    Column("source_id", Uuid, ForeignKey("event_sources.id", ondelete="CASCADE"), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text),
    instant("leased_until"),
    Column("state", Text, nullable=False, server_default=text("'idle'")),
    instant("since", nullable=False, server_default=text("now()")),
    Column("reason", Text),
    Column("message", Text, nullable=False, server_default=text("''")),
    instant("last_event_on"),
    Column("partitions", Integer),
    Column("lag", BigInteger),
    instant("reported_on", nullable=False, server_default=text("now()")),
    Column("position", Text),  # how far it was read, in slot 0
    CheckConstraint("state IN ('idle', 'starting', 'connected', 'failing')", name="state"),
)

# Messages that are no events, with why, until somebody has looked at them.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("source_id", Uuid, nullable=False),  # which may be gone by then
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("headers", JsonText, nullable=False, server_default=text("'{}'")),
    Column("body", LargeBinary),
    Column("idempotency_key", Text),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("event_id", Uuid),  # what it became
    created_on(),
    instant("finished_at"),
    UniqueConstraint("origin", "idempotency_key"),
    CheckConstraint("state IN ('open', 'replayed', 'discarded')", name="state"),
    Index(
        "ix_dead_letters_open",
        "origin",
        "created_on",
        postgresql_where=text("state = 'open'"),
    ),
    Index(None, "created_on"),
)

commands = Table(
    "commands",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("topic", Text, nullable=False, unique=True),
    Column("target", Text, nullable=False),  # encrypted JSON: url, headers
    Column("timeout_seconds", Float, nullable=False),
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    managed_by(),
    created_on(),
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
    created_on(),
    modified_on(),
)

# Which term of those who follow a cluster is the newest, by the lease that they hold.
leadership = Table(
    "leadership",
    metadata,
    Column("lease", Text, primary_key=True),  # namespace/name
    Column("term", BigInteger, nullable=False),
    instant("began_at", nullable=False, server_default=text("now()")),
)

# How far the changes of an engine elsewhere have been read, by the engine's own clock.
engine_feed = Table(
    "engine_feed",
    metadata,
    Column("engine", Text, primary_key=True),  # its URL and tenant
    Column("kind", Text, primary_key=True),
    instant("read_to", nullable=False),
)
