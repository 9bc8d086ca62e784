"""The engine's tables, as SQLAlchemy Core sees them; ``migrations/`` makes them.

They keep no foreign keys: a step writes them in one statement, and what a definition or an
instance leaves behind is history.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from taskloom.store.tables import NAMING, JsonText

metadata = MetaData(naming_convention=NAMING)


def _sequence() -> Column[Any]:
    return Column("seq", BigInteger, Identity(), primary_key=True)


def _instant(name: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **options)


definitions = Table(
    "engine_definitions",
    metadata,
    _sequence(),
    Column("id", Text, nullable=False, unique=True),
    Column("workflow_key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("process_id", Text, nullable=False),  # the id in the BPMN file
    Column("digest", Text, nullable=False),  # SHA-256 of the file
    Column("topics", JsonText, nullable=False),
    Column("bpmn", LargeBinary, nullable=False),
    _instant("deployed_at", nullable=False, server_default=text("now()")),
    UniqueConstraint("workflow_key", "version"),
    Index(None, "process_id"),
)

instances = Table(
    "engine_instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("root_id", Text, nullable=False),
    Column("caller_id", Text),  # the instance that called it
    Column("caller_activity_id", Text),
    Column("definition_id", Text, nullable=False),
    Column("workflow_key", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("start_id", Text),  # the idempotency of starts; called instances have none
    Column("business_key", Text),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("variables", JsonText, nullable=False),  # of the process; "{}" once it has ended
    Column("activities", JsonText, nullable=False),  # where its tokens are
    _instant("started_at", nullable=False),
    _instant("ended_at"),
    CheckConstraint("state IN ('active', 'completed', 'terminated')", name="state"),
    UniqueConstraint("workflow_key", "start_id"),
    Index(None, "root_id"),
    Index(
        "ix_engine_instances_caller_activity_id",
        "caller_activity_id",
        postgresql_where=text("caller_activity_id IS NOT NULL"),
    ),
    Index(
        "ix_engine_instances_active",
        "definition_id",
        postgresql_where=text("state = 'active'"),
    ),
)

# Narrow on purpose: these rows are claimed and updated again and again.
external_tasks = Table(
    "engine_external_tasks",
    metadata,
    _sequence(),
    Column("id", Text, nullable=False, unique=True),  # the activity's id
    Column("instance_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("element_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("retries", Integer),
    Column("error", Text),  # of the last failure
    Column("error_details", Text),  # its longer story, as a stack trace
    Column("worker_id", Text),
    _instant("available_at", nullable=False),  # the lock's end, or the next try
    # neither the lock nor its owner is in an index, so that locking rewrites the row alone
    Index(None, "topic", "seq"),
    postgresql_with={"fillfactor": 80},
)

user_tasks = Table(
    "engine_user_tasks",
    metadata,
    _sequence(),
    Column("id", Text, nullable=False, unique=True),  # the activity's id
    Column("instance_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("details", JsonText, nullable=False),  # what a person is told
    _instant("created_at", nullable=False),
    Index(None, "root_id"),
)

# What is due at a time: timers, and signals on their way to those who wait for them.
# It is for an activity, for the process itself (`activity_id` is the instance's id then), or for a
# start event of a definition.
timers = Table(
    "engine_timers",
    metadata,
    _sequence(),
    Column("instance_id", Text),
    Column("root_id", Text),
    Column("activity_id", Text),
    Column("definition_id", Text),
    Column("element_id", Text, nullable=False),
    Column("repeat", Text),  # the cycle it goes on by, with its start
    Column("payload", JsonText),  # a signal's variables
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("stopped", Boolean, nullable=False, server_default=text("false")),  # has an incident
    _instant("due_at", nullable=False),  # a claimed one falls due again when its lease ends
    CheckConstraint("(instance_id IS NULL) <> (definition_id IS NULL)", name="place"),
    Index(None, "activity_id"),
    Index(
        "ix_engine_timers_definition_id",
        "definition_id",
        postgresql_where=text("definition_id IS NOT NULL"),
    ),
    Index("ix_engine_timers_due", "due_at", postgresql_where=text("NOT stopped")),
)

# Who waits for a message or a signal: an activity, a process (as above), or a start event of a
# workflow's latest definition.
subscriptions = Table(
    "engine_subscriptions",
    metadata,
    _sequence(),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("business_key", Text),
    Column("instance_id", Text),
    Column("root_id", Text),
    Column("activity_id", Text),
    Column("definition_id", Text),
    Column("element_id", Text, nullable=False),
    CheckConstraint("kind IN ('message', 'signal')", name="kind"),
    CheckConstraint("(instance_id IS NULL) <> (definition_id IS NULL)", name="place"),
    Index(None, "name", "business_key"),
    Index(None, "activity_id"),
    Index(
        "ix_engine_subscriptions_definition_id",
        "definition_id",
        postgresql_where=text("definition_id IS NOT NULL"),
    ),
)

incidents = Table(
    "engine_incidents",
    metadata,
    _sequence(),
    Column("id", Text, nullable=False, unique=True),
    Column("instance_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("activity_id", Text, nullable=False),
    Column("element_id", Text, nullable=False),
    Column("timer_seq", BigInteger),  # the timer that failed; else it is an external task
    Column("message", Text, nullable=False),
    _instant("created_at", nullable=False),
    Index(None, "activity_id"),
    Index(None, "root_id"),
)

activities = Table(
    "engine_activities",
    metadata,
    _sequence(),
    Column("instance_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("activity_id", Text),  # while it is active
    Column("element_id", Text, nullable=False),
    Column("element_type", Text, nullable=False),
    Column("name", Text),
    Column("state", Text, nullable=False),
    _instant("started_at", nullable=False),
    _instant("ended_at"),
    CheckConstraint("state IN ('active', 'completed', 'cancelled')", name="state"),
    Index(None, "root_id"),
    Index(
        "ix_engine_activities_active",
        "activity_id",
        postgresql_where=text("activity_id IS NOT NULL"),
    ),
)

changes = Table(
    "engine_changes",
    metadata,
    _sequence(),
    Column("kind", Text, nullable=False),
    Column("instance_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("details", JsonText, nullable=False),
)
