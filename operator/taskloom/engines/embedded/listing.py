"""The engine's rows as lists: filtered, ordered and paged as a client of the engine asks."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded import tables
from taskloom.engines.embedded.records import storable
from taskloom.ports.engine import InstanceState
from taskloom.ports.hosted_engine import (
    ActivityRow,
    DefinitionRow,
    IncidentRow,
    InstanceRow,
    Kind,
    Place,
    Query,
    UserTaskRow,
    VariableRow,
    WorkItem,
)

Row = TypeVar("Row")
_i = tables.instances.c
_PLACE = {
    "instance_id": _i.id,
    "root_id": _i.root_id,
    "definition_id": _i.definition_id,
    "workflow_key": _i.workflow_key,
    "business_key": _i.business_key,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is listed: from where, its fields by name, and what orders rows that are equal else."""

    rows: FromClause
    fields: Mapping[str, ColumnElement[Any]]
    last: ColumnElement[Any]


async def list_rows(
    connection: AsyncConnection, source: Source, query: Query, read: Callable[[Any], Row]
) -> list[Row]:
    """List the rows of a query."""
    fields = source.fields
    chosen = _select(source, query)
    for name in query.order:
        column = fields[name.removeprefix("-")]
        chosen = chosen.order_by(column.desc() if name.startswith("-") else column.asc())
    chosen = chosen.order_by(source.last).offset(query.skip).limit(query.limit)
    return [read(row) for row in await connection.execute(chosen)]


async def count_rows(connection: AsyncConnection, source: Source, query: Query) -> int:
    """Count the rows of a query, whatever its page."""
    counted = select(func.count()).select_from(_select(source, query).subquery())
    return int((await connection.execute(counted)).scalar_one())


def source_of(kind: Kind, now: datetime) -> Source:
    """Say where rows of a kind are; `now` tells which locks hold."""
    return _work(now) if kind is Kind.WORK else _SOURCES[kind]()


def _work(now: datetime) -> Source:
    t, a = tables.external_tasks, tables.activities.c
    placed = _placed(t)
    held = and_(t.c.worker_id.is_not(None), t.c.available_at > now)
    return Source(
        rows=placed.rows.outerjoin(tables.activities, a.activity_id == t.c.id),
        fields={
            **placed.fields,
            "created_at": func.coalesce(a.started_at, _i.started_at),
            "locked": held,
            "has_retries": or_(t.c.retries.is_(None), t.c.retries > 0),
        },
        last=t.c.seq,
    )


def _definitions() -> Source:
    t = tables.definitions
    newer = t.alias()
    outdated = select(newer.c.seq).where(
        newer.c.workflow_key == t.c.workflow_key, newer.c.version > t.c.version
    )
    fields = {name: t.c[name] for name in ("id", "workflow_key", "version", "deployed_at")}
    return Source(rows=t, fields={**fields, "latest": ~outdated.exists()}, last=t.c.seq)


def _instances() -> Source:
    names = ("version", "state", "caller_id", "started_at", "ended_at")
    fields = {**_PLACE, **{name: _i[name] for name in names}, "top": _i.caller_id.is_(None)}
    return Source(rows=tables.instances, fields=fields, last=_i.id)


def _activities() -> Source:
    placed = _placed(tables.activities)
    return replace(placed, fields={**placed.fields, "number": tables.activities.c.seq})


def _incidents() -> Source:
    placed, timer = _placed(tables.incidents), tables.incidents.c.timer_seq
    work = func.coalesce(cast(timer, Text), tables.incidents.c.activity_id)
    return replace(placed, fields={**placed.fields, "timer": timer, "work": work})


def _user_tasks() -> Source:
    placed, details = _placed(tables.user_tasks), tables.user_tasks.c.details
    names = {"element": "element_id", "name": "name", "assignee": "assignee"}
    texts = {
        field: func.json_extract_path_text(details, name, type_=Text)
        for name, field in names.items()
    }
    priority = cast(func.json_extract_path_text(details, "priority"), Integer)
    return Source(
        rows=placed.rows,
        fields={**placed.fields, **texts, "priority": priority},
        last=placed.last,
    )


def _variables() -> Source:
    """Unfold the variables of instances; ended ones have none."""
    each = func.json_each(_i.variables).table_valued("key", "value", name="variable")
    return Source(
        rows=tables.instances.join(each, true()),
        fields={**_PLACE, "name": each.c.key, "value": cast(each.c.value, Text)},
        last=_i.id,
    )


def _placed(table: Table) -> Source:
    """Give a table's columns, and those of the instance that each row lies in."""
    return Source(
        rows=table.join(tables.instances, _i.id == table.c.instance_id),
        fields={**{column.name: column for column in table.c}, **_PLACE},
        last=table.c.seq,
    )


_SOURCES: Mapping[Kind, Callable[[], Source]] = {
    Kind.DEFINITION: _definitions,
    Kind.INSTANCE: _instances,
    Kind.USER_TASK: _user_tasks,
    Kind.ACTIVITY: _activities,
    Kind.INCIDENT: _incidents,
    Kind.VARIABLE: _variables,
}


def _select(source: Source, query: Query) -> Select[Any]:
    columns = (column.label(name) for name, column in source.fields.items())
    return select(*columns).select_from(source.rows).where(*_conditions(source.fields, query))


def _conditions(
    fields: Mapping[str, ColumnElement[Any]], query: Query
) -> list[ColumnElement[bool]]:
    conditions = [_one_of(fields[name], values) for name, values in query.where.items()]
    conditions += [fields[name] >= moment for name, moment in query.since.items()]
    conditions += [fields[name] <= moment for name, moment in query.until.items()]
    for name, there in query.present.items():
        conditions.append(fields[name].is_not(None) if there else fields[name].is_(None))
    return conditions


def _one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    given = [storable(v) if isinstance(v, str) else v for v in values if v is not None]
    among = column.in_(given)
    return or_(among, column.is_(None)) if len(given) < len(values) else and_(among)


def _place(row: Any) -> Place:
    return Place(
        instance_id=row.instance_id,
        root_id=row.root_id,
        definition_id=row.definition_id,
        workflow_key=row.workflow_key,
        business_key=row.business_key,
    )


def to_work_item(row: Any) -> WorkItem:
    """Read an external task's row."""
    return WorkItem(
        id=row.id,
        place=_place(row),
        topic=row.topic,
        element_id=row.element_id,
        worker_id=row.worker_id,
        available_at=row.available_at,
        created_at=row.created_at,
        retries=row.retries,
        error=row.error,
        error_details=row.error_details,
    )


def to_definition(row: Any) -> DefinitionRow:
    """Read a definition's row."""
    return DefinitionRow(
        id=row.id,
        workflow_key=row.workflow_key,
        version=row.version,
        deployed_at=row.deployed_at,
    )


def to_instance_row(row: Any) -> InstanceRow:
    """Read an instance's row."""
    return InstanceRow(
        place=_place(row),
        version=row.version,
        state=InstanceState(row.state),
        caller_id=row.caller_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def to_user_task(row: Any) -> UserTaskRow:
    """Read an open user task's row."""
    details = json.loads(row.details)
    return UserTaskRow(
        id=row.id,
        place=_place(row),
        element_id=details["element"],
        name=details["name"],
        description=details["description"],
        assignee=details["assignee"],
        candidate_users=tuple(details["candidate_users"]),
        candidate_groups=tuple(details["candidate_groups"]),
        form_key=details["form_key"],
        priority=details["priority"],
        due_date=details["due_date"],
        created_at=row.created_at,
    )


def to_activity(row: Any) -> ActivityRow:
    """Read a row of the history."""
    return ActivityRow(
        number=row.number,
        activity_id=row.activity_id,
        place=_place(row),
        element_id=row.element_id,
        element_type=row.element_type,
        name=row.name,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def to_incident(row: Any) -> IncidentRow:
    """Read an incident's row."""
    return IncidentRow(
        id=row.id,
        place=_place(row),
        activity_id=row.activity_id,
        element_id=row.element_id,
        timer=row.timer,
        message=row.message,
        created_at=row.created_at,
    )


def to_variable(row: Any) -> VariableRow:
    """Read a variable."""
    return VariableRow(place=_place(row), name=row.name, value=json.loads(row.value))
