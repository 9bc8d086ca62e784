"""The branch ``workflows``: workflows and their versions."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
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
)

workflow_metadata = MetaData(naming_convention=NAMING)

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
    managed_by(),
    *audit(),
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
    created_on(),
    UniqueConstraint("workflow_id", "version"),
)

# As `leadership`, for a workflow database of its own.
workflow_leadership = Table(
    "workflow_leadership",
    workflow_metadata,
    Column("lease", Text, primary_key=True),
    Column("term", BigInteger, nullable=False),
    instant("began_at", nullable=False, server_default=text("now()")),
)

# Which topics workers fetch that are not ours, and until when each counts as served.
fetched_topics = Table(
    "fetched_topics",
    workflow_metadata,
    Column("topic", Text, primary_key=True),
    instant("served_until", nullable=False),
)
