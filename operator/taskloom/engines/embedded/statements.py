"""The engine's SQL on the way of every step: what is locked first, and how a batch is written.

A batch is one statement with one parameter, a JSON document: each kind of row is a part of the
statement, and only the parts that have rows are in it.  Variables travel as text within the
document, so that nothing in them is parsed on the way.
"""
# ruff: noqa: S608 - only constants of this file are put together

from collections.abc import Mapping
from functools import lru_cache

_INSTANCE_COLUMNS = """
    id text, root_id text, caller_id text, caller_activity_id text, definition_id text,
    workflow_key text, version int, start_id text, business_key text, state text,
    variables text, activities text"""

_INSERT_INSTANCES = (
    """
    INSERT INTO engine_instances (id, root_id, caller_id, caller_activity_id, definition_id,
        workflow_key, version, start_id, business_key, state, variables, activities,
        started_at, ended_at)
    SELECT id, root_id, caller_id, caller_activity_id, definition_id,
        workflow_key, version, start_id, business_key, state, variables::json, activities::json,
        (d->>'now')::timestamptz,
        CASE WHEN state <> 'active' THEN (d->>'now')::timestamptz END
    FROM {source}, jsonb_to_recordset(d->'{part}') AS row ("""
    + _INSTANCE_COLUMNS
    + ")"
)

# An array makes PostgreSQL go by the index, where a join of a set of unknown size may not
_END_ACTIVITIES = """
    UPDATE engine_activities AS a
    SET activity_id = NULL, state = '{state}', ended_at = (d->>'now')::timestamptz
    FROM doc WHERE a.activity_id = ANY (ARRAY(
        SELECT jsonb_array_elements_text(d->'{state}') FROM doc))"""

_DELETE = """
    DELETE FROM {table} WHERE {key} = ANY (ARRAY(
        SELECT jsonb_array_elements_text(d->'{part}') FROM doc))"""

_PARTS: Mapping[str, str] = {
    "called": _INSERT_INSTANCES.format(source="doc", part="called"),
    "changed": """
    UPDATE engine_instances AS i
    SET state = row.state, activities = row.activities::json,
        variables = coalesce(row.variables::json, i.variables),
        ended_at = CASE WHEN row.state <> 'active' THEN (d->>'now')::timestamptz END
    FROM doc, jsonb_to_recordset(d->'changed')
        AS row (id text, state text, variables text, activities text)
    WHERE i.id = row.id""",
    "external": """
    INSERT INTO engine_external_tasks (id, instance_id, root_id, element_id, topic, available_at)
    SELECT id, instance_id, root_id, element_id, topic, (d->>'now')::timestamptz
    FROM doc, jsonb_to_recordset(d->'external')
        AS row (id text, instance_id text, root_id text, element_id text, topic text)""",
    "user": """
    INSERT INTO engine_user_tasks (id, instance_id, root_id, details, created_at)
    SELECT id, instance_id, root_id, details::json, (d->>'now')::timestamptz
    FROM doc, jsonb_to_recordset(d->'user')
        AS row (id text, instance_id text, root_id text, details text)""",
    "timers": """
    INSERT INTO engine_timers (instance_id, root_id, activity_id, element_id, due_at, repeat)
    SELECT instance_id, root_id, activity_id, element_id, due_at, repeat
    FROM doc, jsonb_to_recordset(d->'timers') AS row (instance_id text, root_id text,
        activity_id text, element_id text, due_at timestamptz, repeat text)""",
    "subscriptions": """
    INSERT INTO engine_subscriptions (kind, name, business_key, instance_id, root_id, activity_id,
        element_id)
    SELECT kind, name, business_key, instance_id, root_id, activity_id, element_id
    FROM doc, jsonb_to_recordset(d->'subscriptions') AS row (kind text, name text,
        business_key text, instance_id text, root_id text, activity_id text, element_id text)""",
    "activities": """
    INSERT INTO engine_activities (instance_id, root_id, activity_id, element_id, element_type,
        name, state, started_at, ended_at)
    SELECT instance_id, root_id, activity_id, element_id, element_type, name, state,
        (d->>'now')::timestamptz,
        CASE WHEN state <> 'active' THEN (d->>'now')::timestamptz END
    FROM doc, jsonb_to_recordset(d->'activities') AS row (instance_id text, root_id text,
        activity_id text, element_id text, element_type text, name text, state text)""",
    "completed": _END_ACTIVITIES.format(state="completed"),
    "cancelled": _END_ACTIVITIES.format(state="cancelled"),
    "gone_external": _DELETE.format(table="engine_external_tasks", key="id", part="gone_external"),
    "gone_user": _DELETE.format(table="engine_user_tasks", key="id", part="gone_user"),
    "gone_timed": _DELETE.format(table="engine_timers", key="activity_id", part="gone_timed"),
    "gone_subscribed": _DELETE.format(
        table="engine_subscriptions", key="activity_id", part="gone_subscribed"
    ),
    "gone_work": _DELETE.format(table="engine_incidents", key="activity_id", part="gone_work"),
    "changes": """
    INSERT INTO engine_changes (kind, instance_id, root_id, details)
    SELECT kind, instance_id, root_id, details::json
    FROM doc, jsonb_to_recordset(d->'changes')
        AS row (kind text, instance_id text, root_id text, details text)""",
}

INSTANCE = """i.id, i.root_id, i.caller_id, i.caller_activity_id, i.definition_id,
    i.workflow_key, i.version, i.start_id, i.business_key, i.state, i.variables, i.activities"""

# Everything below one root is changed under the lock of the root's row, which is taken first:
# so a caller and the instances it called can never wait for each other.
LOCK = {
    "root": f"SELECT {INSTANCE}, i.id AS at FROM engine_instances AS i WHERE i.id = %s FOR UPDATE",
    "external": f"SELECT {INSTANCE}, t.instance_id AS at, t.element_id, t.worker_id, t.topic"
    " FROM engine_external_tasks AS t JOIN engine_instances AS i ON i.id = t.root_id"
    " WHERE t.id = %s FOR UPDATE OF i, t",
    "user": f"SELECT {INSTANCE}, t.instance_id AS at"
    " FROM engine_user_tasks AS t JOIN engine_instances AS i ON i.id = t.root_id"
    " WHERE t.id = %s FOR UPDATE OF i, t",
    "timer": f"SELECT {INSTANCE}, t.instance_id AS at, t.activity_id, t.element_id, t.attempts,"
    " t.repeat, t.payload FROM engine_timers AS t JOIN engine_instances AS i ON i.id = t.root_id"
    " WHERE t.seq = %s AND NOT t.stopped FOR UPDATE OF i, t",
    "subscription": f"SELECT {INSTANCE}, t.instance_id AS at, t.activity_id, t.element_id"
    " FROM engine_subscriptions AS t JOIN engine_instances AS i ON i.id = t.root_id"
    " WHERE t.seq = %s FOR UPDATE OF i, t",
    "incident": f"SELECT {INSTANCE}, t.instance_id AS at, t.activity_id, t.timer_seq"
    " FROM engine_incidents AS t JOIN engine_instances AS i ON i.id = t.root_id"
    " WHERE t.id = %s FOR UPDATE OF i, t",
}
LOAD = f"SELECT {INSTANCE} FROM engine_instances AS i WHERE i.id = %s AND i.state = 'active'"
LOAD_CALLED = (
    f"SELECT {INSTANCE} FROM engine_instances AS i"
    " WHERE i.caller_activity_id = %s AND i.state = 'active'"
)


@lru_cache(maxsize=256)
def write_statement(parts: tuple[str, ...]) -> str:
    """Put the writing statement together for the kinds of rows there are."""
    if "root" not in parts:
        clauses = ["doc AS MATERIALIZED (SELECT %s::jsonb AS d)"]
        found = "true"
    else:
        # the other rows are written only if the start is the first with its start id
        root = _INSERT_INSTANCES.format(source="given", part="root")
        clauses = [
            "given AS MATERIALIZED (SELECT %s::jsonb AS d)",
            f"root AS ({root} ON CONFLICT (workflow_key, start_id) DO NOTHING RETURNING 1)",
            "doc AS MATERIALIZED (SELECT d FROM given WHERE EXISTS (SELECT FROM root))",
        ]
        found = "EXISTS (SELECT FROM root)"
    clauses += [f"part_{part} AS ({_PARTS[part]})" for part in parts if part != "root"]
    return f"WITH {', '.join(clauses)} SELECT {found}"


# Topic by topic down the index (topic, seq), so that a topic that nobody serves costs nothing
FETCH = f"""
WITH due AS (
    SELECT found.seq FROM unnest(%s::text[]) AS wanted (topic)
    CROSS JOIN LATERAL (
        SELECT seq FROM engine_external_tasks AS e
        WHERE e.topic = wanted.topic AND e.available_at <= %s
            AND (e.retries IS NULL OR e.retries > 0)
        ORDER BY e.seq LIMIT %s FOR UPDATE SKIP LOCKED) AS found
    ORDER BY found.seq LIMIT %s),
taken AS (
    UPDATE engine_external_tasks AS t SET worker_id = %s, available_at = %s
    FROM due WHERE t.seq = due.seq
    RETURNING t.seq, t.id, t.instance_id, t.element_id, t.topic, t.retries)
SELECT {INSTANCE}, t.id AS task_id, t.element_id, t.topic, t.retries
FROM taken AS t JOIN engine_instances AS i ON i.id = t.instance_id ORDER BY t.seq
"""
