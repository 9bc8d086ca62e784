"""The tables, as SQLAlchemy Core sees them; ``migrations/`` makes them, in the same branches.

JSON that came from outside is kept in ``json`` columns as the text it arrived as:
key order, number forms and escapes survive.
"""

from taskloom.store.tables.columns import NAMING, JsonText
from taskloom.store.tables.tasks import (
    commands,
    dead_letters,
    engine_feed,
    event_sources,
    event_workflows,
    events,
    external_task_ledger,
    jobs,
    leadership,
    metadata,
    resources,
    source_states,
    task_workflows,
    tasks,
    user_tasks,
)
from taskloom.store.tables.webhooks import (
    attempts,
    client_apps,
    deliveries,
    delivery_health,
    event_sinks,
    outgoing_events,
    sink_states,
    webhook_metadata,
    webhook_subscriptions,
)
from taskloom.store.tables.workflows import (
    fetched_topics,
    workflow_leadership,
    workflow_metadata,
    workflow_versions,
    workflows,
)

__all__ = [
    "NAMING",
    "JsonText",
    "attempts",
    "client_apps",
    "commands",
    "dead_letters",
    "deliveries",
    "delivery_health",
    "engine_feed",
    "event_sinks",
    "event_sources",
    "event_workflows",
    "events",
    "external_task_ledger",
    "fetched_topics",
    "jobs",
    "leadership",
    "metadata",
    "outgoing_events",
    "resources",
    "sink_states",
    "source_states",
    "task_workflows",
    "tasks",
    "user_tasks",
    "webhook_metadata",
    "webhook_subscriptions",
    "workflow_leadership",
    "workflow_metadata",
    "workflow_versions",
    "workflows",
]
