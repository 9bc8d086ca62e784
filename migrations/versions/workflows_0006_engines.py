"""Keep which engine a version of a workflow is deployed in."""

import sqlalchemy as sa
from alembic import op

revision = "workflows_0006"
down_revision = "workflows_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workflow_versions",
        sa.Column("engine", sa.Text(), nullable=False, server_default=sa.text("'embedded'")),
    )


def downgrade() -> None:
    op.drop_column("workflow_versions", "engine")
