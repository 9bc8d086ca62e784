"""Keep who runs a source and how it stands."""

import sqlalchemy as sa
from alembic import op

revision = "tasks_0003"
down_revision = "tasks_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "event_sources",
        sa.Column("pool", sa.Text(), server_default=sa.text("'default'"), nullable=True),
    )
    op.create_table(
        "source_states",
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'idle'"), nullable=False),
        sa.Column(
            "since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("last_event_on", sa.DateTime(timezone=True), nullable=True),
        sa.Column("partitions", sa.Integer(), nullable=True),
        sa.Column("lag", sa.BigInteger(), nullable=True),
        sa.Column(
            "reported_on",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("position", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('idle', 'starting', 'connected', 'failing')",
            name=op.f("ck_source_states_state"),
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["event_sources.id"],
            name=op.f("fk_source_states_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "slot", name=op.f("pk_source_states")),
    )


def downgrade() -> None:
    op.drop_table("source_states")
    op.drop_column("event_sources", "pool")
