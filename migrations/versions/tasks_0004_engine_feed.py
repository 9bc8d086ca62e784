"""Keep how far the changes of an engine elsewhere have been read."""

import sqlalchemy as sa
from alembic import op

revision = "tasks_0004"
down_revision = "tasks_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "engine_feed",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("read_to", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("engine", "kind", name=op.f("pk_engine_feed")),
    )


def downgrade() -> None:
    op.drop_table("engine_feed")
