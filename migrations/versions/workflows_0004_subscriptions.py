"""Let the embedded engine wait for messages and signals, and start workflows by events."""

import sqlalchemy as sa
from alembic import op

from taskloom.store.tables import JsonText

revision = "workflows_0004"
down_revision = "workflows_0003"
branch_labels = None
depends_on = None

_PLACE = "(instance_id IS NULL) <> (definition_id IS NULL)"


def upgrade() -> None:
    op.create_table(
        "engine_subscriptions",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("business_key", sa.Text(), nullable=True),
        sa.Column("instance_id", sa.Text(), nullable=True),
        sa.Column("root_id", sa.Text(), nullable=True),
        sa.Column("activity_id", sa.Text(), nullable=True),
        sa.Column("definition_id", sa.Text(), nullable=True),
        sa.Column("element_id", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('message', 'signal')", name=op.f("ck_engine_subscriptions_kind")
        ),
        sa.CheckConstraint(_PLACE, name=op.f("ck_engine_subscriptions_place")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_subscriptions")),
    )
    op.create_index(
        op.f("ix_engine_subscriptions_name_business_key"),
        "engine_subscriptions",
        ["name", "business_key"],
        unique=False,
    )
    op.create_index(
        op.f("ix_engine_subscriptions_activity_id"),
        "engine_subscriptions",
        ["activity_id"],
        unique=False,
    )
    op.create_index(
        "ix_engine_subscriptions_definition_id",
        "engine_subscriptions",
        ["definition_id"],
        unique=False,
        postgresql_where=sa.text("definition_id IS NOT NULL"),
    )
    for column in ("instance_id", "root_id", "activity_id"):
        op.alter_column("engine_timers", column, nullable=True)
    op.add_column("engine_timers", sa.Column("definition_id", sa.Text(), nullable=True))
    op.add_column("engine_timers", sa.Column("repeat", sa.Text(), nullable=True))
    op.add_column("engine_timers", sa.Column("payload", JsonText(), nullable=True))
    op.create_check_constraint(op.f("ck_engine_timers_place"), "engine_timers", _PLACE)
    op.create_index(
        "ix_engine_timers_definition_id",
        "engine_timers",
        ["definition_id"],
        unique=False,
        postgresql_where=sa.text("definition_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("DELETE FROM engine_timers WHERE instance_id IS NULL")
    op.drop_index("ix_engine_timers_definition_id", "engine_timers")
    op.drop_constraint(op.f("ck_engine_timers_place"), "engine_timers")
    for column in ("payload", "repeat", "definition_id"):
        op.drop_column("engine_timers", column)
    for column in ("instance_id", "root_id", "activity_id"):
        op.alter_column("engine_timers", column, nullable=False)
    op.drop_table("engine_subscriptions")
