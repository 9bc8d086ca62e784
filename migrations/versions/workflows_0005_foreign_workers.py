"""Keep what foreign workers tell of failures, and which topics they fetch."""

import sqlalchemy as sa
from alembic import op

revision = "workflows_0005"
down_revision = "workflows_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("engine_external_tasks", sa.Column("error_details", sa.Text(), nullable=True))
    op.create_table(
        "fetched_topics",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("served_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_fetched_topics")),
    )


def downgrade() -> None:
    op.drop_table("fetched_topics")
    op.drop_column("engine_external_tasks", "error_details")
