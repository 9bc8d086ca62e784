"""Count the terms of those who follow a cluster, for a database of its own."""

import sqlalchemy as sa
from alembic import op

revision = "workflows_0003"
down_revision = "workflows_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_leadership",
        sa.Column("lease", sa.Text(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column(
            "began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("lease", name=op.f("pk_workflow_leadership")),
    )


def downgrade() -> None:
    op.drop_table("workflow_leadership")
