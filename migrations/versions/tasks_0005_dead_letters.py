"""Keep messages that are no events."""

import sqlalchemy as sa
from alembic import op

revision = "tasks_0005"
down_revision = "tasks_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE dead_letters (
            id uuid NOT NULL,
            source_id uuid NOT NULL,
            origin text NOT NULL,
            reason text NOT NULL,
            headers json DEFAULT '{}' NOT NULL,
            body bytea,
            idempotency_key text,
            state text DEFAULT 'open' NOT NULL,
            event_id uuid,
            created_on timestamptz DEFAULT now() NOT NULL,
            finished_at timestamptz,
            CONSTRAINT pk_dead_letters PRIMARY KEY (id),
            CONSTRAINT uq_dead_letters_origin_idempotency_key UNIQUE (origin, idempotency_key),
            CONSTRAINT ck_dead_letters_state CHECK (state IN ('open', 'replayed', 'discarded'))
        )
        """
    )
    op.create_index(
        "ix_dead_letters_open",
        "dead_letters",
        ["origin", "created_on"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(op.f("ix_dead_letters_created_on"), "dead_letters", ["created_on"])


def downgrade() -> None:
    op.drop_table("dead_letters")
