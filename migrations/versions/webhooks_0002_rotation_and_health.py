"""Keep the rotation of client apps, and how deliveries to each subscription went."""

import sqlalchemy as sa
from alembic import op

revision = "webhooks_0002"
down_revision = "webhooks_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "client_apps",
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("client_apps", sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "client_apps", sa.Column("former_valid_until", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("UPDATE client_apps SET issued_at = created_on")
    op.create_table(
        "delivery_health",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failure_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "consecutive_failures", sa.Integer(), server_default=sa.text("0"), nullable=False
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_delivery_health")),
    )


def downgrade() -> None:
    op.drop_table("delivery_health")
    op.drop_column("client_apps", "former_valid_until")
    op.drop_column("client_apps", "issued_at")
    op.drop_column("client_apps", "revision")
