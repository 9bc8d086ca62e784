"""Deliver to sinks, too: a delivery is to a subscription or to a sink, and a sink has a state."""

import sqlalchemy as sa
from alembic import op

revision = "webhooks_0004"
down_revision = "webhooks_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE deliveries
            ALTER COLUMN subscription_id DROP NOT NULL,
            ADD COLUMN sink_id uuid,
            ADD CONSTRAINT uq_deliveries_outgoing_event_id_sink_id
                UNIQUE (outgoing_event_id, sink_id),
            ADD CONSTRAINT ck_deliveries_to_one
                CHECK (num_nonnulls(subscription_id, sink_id) = 1)
        """
    )
    op.create_index(
        "ix_deliveries_pending_sink",
        "deliveries",
        ["sink_id", "outgoing_event_id"],
        postgresql_where=sa.text("state = 'pending' AND sink_id IS NOT NULL"),
    )
    op.execute(
        """
        CREATE TABLE sink_states (
            sink_id uuid NOT NULL,
            holder text,
            leased_until timestamptz,
            state text DEFAULT 'idle' NOT NULL,
            since timestamptz DEFAULT now() NOT NULL,
            reason text,
            message text DEFAULT '' NOT NULL,
            reported_on timestamptz DEFAULT now() NOT NULL,
            CONSTRAINT pk_sink_states PRIMARY KEY (sink_id),
            CONSTRAINT fk_sink_states_sink_id FOREIGN KEY (sink_id)
                REFERENCES event_sinks (id) ON DELETE CASCADE,
            CONSTRAINT ck_sink_states_state
                CHECK (state IN ('idle', 'starting', 'connected', 'failing'))
        )
        """
    )


def downgrade() -> None:
    op.drop_table("sink_states")
    op.drop_index("ix_deliveries_pending_sink", "deliveries")
    op.execute(
        "DELETE FROM attempts WHERE delivery_id IN "
        "(SELECT id FROM deliveries WHERE sink_id IS NOT NULL)"
    )
    op.execute("DELETE FROM deliveries WHERE sink_id IS NOT NULL")
    op.execute(
        """
        ALTER TABLE deliveries
            DROP CONSTRAINT ck_deliveries_to_one,
            DROP CONSTRAINT uq_deliveries_outgoing_event_id_sink_id,
            DROP COLUMN sink_id,
            ALTER COLUMN subscription_id SET NOT NULL
        """
    )
