"""Make the table of event sinks."""

import sqlalchemy as sa
from alembic import op

from taskloom.store.tables import JsonText

revision = "webhooks_0003"
down_revision = "webhooks_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_sinks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spec", JsonText(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=True),
        sa.Column("event_keys", JsonText(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("suspended", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("managed_by", sa.Text(), server_default=sa.text("'api'"), nullable=False),
        sa.Column(
            "created_on",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_sinks")),
        sa.UniqueConstraint("managed_by", name=op.f("uq_event_sinks_managed_by")),
    )


def downgrade() -> None:
    op.drop_table("event_sinks")
