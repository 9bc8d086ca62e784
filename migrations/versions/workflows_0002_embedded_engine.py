"""Make the tables of the embedded engine."""

import sqlalchemy as sa
from alembic import op

from taskloom.store.tables import JsonText

revision = "workflows_0002"
down_revision = "workflows_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "engine_activities",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=True),
        sa.Column("element_id", sa.Text(), nullable=False),
        sa.Column("element_type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('active', 'completed', 'cancelled')", name=op.f("ck_engine_activities_state")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_activities")),
    )
    op.create_index(
        "ix_engine_activities_active",
        "engine_activities",
        ["activity_id"],
        unique=False,
        postgresql_where=sa.text("activity_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_engine_activities_root_id"), "engine_activities", ["root_id"], unique=False
    )
    op.create_table(
        "engine_changes",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("details", JsonText(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_changes")),
    )
    op.create_table(
        "engine_definitions",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workflow_key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("process_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("topics", JsonText(), nullable=False),
        sa.Column("bpmn", sa.LargeBinary(), nullable=False),
        sa.Column(
            "deployed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_definitions")),
        sa.UniqueConstraint("id", name=op.f("uq_engine_definitions_id")),
        sa.UniqueConstraint(
            "workflow_key", "version", name=op.f("uq_engine_definitions_workflow_key_version")
        ),
    )
    op.create_index(
        op.f("ix_engine_definitions_process_id"), "engine_definitions", ["process_id"], unique=False
    )
    op.create_table(
        "engine_external_tasks",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("element_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_external_tasks")),
        sa.UniqueConstraint("id", name=op.f("uq_engine_external_tasks_id")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(
        op.f("ix_engine_external_tasks_topic_seq"),
        "engine_external_tasks",
        ["topic", "seq"],
        unique=False,
    )
    op.create_table(
        "engine_incidents",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("element_id", sa.Text(), nullable=False),
        sa.Column("timer_seq", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_incidents")),
        sa.UniqueConstraint("id", name=op.f("uq_engine_incidents_id")),
    )
    op.create_index(
        op.f("ix_engine_incidents_activity_id"), "engine_incidents", ["activity_id"], unique=False
    )
    op.create_index(
        op.f("ix_engine_incidents_root_id"), "engine_incidents", ["root_id"], unique=False
    )
    op.create_table(
        "engine_instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("caller_id", sa.Text(), nullable=True),
        sa.Column("caller_activity_id", sa.Text(), nullable=True),
        sa.Column("definition_id", sa.Text(), nullable=False),
        sa.Column("workflow_key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("start_id", sa.Text(), nullable=True),
        sa.Column("business_key", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("variables", JsonText(), nullable=False),
        sa.Column("activities", JsonText(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('active', 'completed', 'terminated')", name=op.f("ck_engine_instances_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engine_instances")),
        sa.UniqueConstraint(
            "workflow_key", "start_id", name=op.f("uq_engine_instances_workflow_key_start_id")
        ),
    )
    op.create_index(
        "ix_engine_instances_active",
        "engine_instances",
        ["definition_id"],
        unique=False,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "ix_engine_instances_caller_activity_id",
        "engine_instances",
        ["caller_activity_id"],
        unique=False,
        postgresql_where=sa.text("caller_activity_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_engine_instances_root_id"), "engine_instances", ["root_id"], unique=False
    )
    op.create_table(
        "engine_timers",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("element_id", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("stopped", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_timers")),
    )
    op.create_index(
        op.f("ix_engine_timers_activity_id"), "engine_timers", ["activity_id"], unique=False
    )
    op.create_index(
        "ix_engine_timers_due",
        "engine_timers",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("NOT stopped"),
    )
    op.create_table(
        "engine_user_tasks",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("details", JsonText(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_engine_user_tasks")),
        sa.UniqueConstraint("id", name=op.f("uq_engine_user_tasks_id")),
    )
    op.create_index(
        op.f("ix_engine_user_tasks_root_id"), "engine_user_tasks", ["root_id"], unique=False
    )


def downgrade() -> None:
    op.drop_table("engine_user_tasks")
    op.drop_table("engine_timers")
    op.drop_table("engine_instances")
    op.drop_table("engine_incidents")
    op.drop_table("engine_external_tasks")
    op.drop_table("engine_definitions")
    op.drop_table("engine_changes")
    op.drop_table("engine_activities")
