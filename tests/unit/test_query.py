"""The query language of the lists."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.query import read_filter, read_where
from taskloom.domain.query_tree import (
    EVERY_ROW,
    Comparison,
    Filter,
    Group,
    Operator,
    Order,
    Queryable,
    Where,
)
from taskloom.domain.query_values import Field, FieldType
from taskloom.errors import Invalid

TASKS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "name": Field(type=FieldType.TEXT),
        "size": Field(type=FieldType.INTEGER),
        "ratio": Field(type=FieldType.NUMBER),
        "deleted": Field(type=FieldType.BOOLEAN),
        "createdOn": Field(type=FieldType.DATETIME),
        "status": Field(type=FieldType.ENUM, values=("pending", "completed")),
        "metadata": Field(type=FieldType.JSON),
    },
    relations=("userTasks",),
)
ID = "0199a3c0-5d2e-7cc4-9f0a-3b2f6d1e8a77"


def where(value: Any) -> Where:
    """Read a where given as a value."""
    return read_where([("where", json.dumps(value))], TASKS)


def filter_(value: Any) -> Filter:
    """Read a filter given as a value."""
    return read_filter([("filter", json.dumps(value))], TASKS)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"name": "x"}, Comparison(field="name", operator=Operator.EQ, value="x")),
        ({"name": None}, Comparison(field="name", operator=Operator.EQ, value=None)),
        ({"name": {"neq": None}}, Comparison(field="name", operator=Operator.NEQ, value=None)),
        ({"size": {"gt": 3}}, Comparison(field="size", operator=Operator.GT, value=3)),
        ({"ratio": {"lte": 0.5}}, Comparison(field="ratio", operator=Operator.LTE, value=0.5)),
        (
            {"id": {"inq": [ID, None]}},
            Comparison(field="id", operator=Operator.INQ, value=(uuid.UUID(ID), None)),
        ),
        ({"name": {"nin": []}}, Comparison(field="name", operator=Operator.NIN, value=())),
        (
            {"size": {"between": [1, 2]}},
            Comparison(field="size", operator=Operator.BETWEEN, value=(1, 2)),
        ),
        (
            {"metadata": {"exists": False}},
            Comparison(field="metadata", operator=Operator.EXISTS, value=False),
        ),
        ({"name": {"like": "a%"}}, Comparison(field="name", operator=Operator.LIKE, value="a%")),
        (
            {"name": {"regexp": "^a/b"}},
            Comparison(field="name", operator=Operator.REGEXP, value="^a/b"),
        ),
        (
            {"name": {"regexp": "/^a/i"}},
            Comparison(field="name", operator=Operator.REGEXP, value="^a", ignore_case=True),
        ),
        (
            {"createdOn": {"gte": "2026-11-24T10:00:00+02:00"}},
            Comparison(
                field="createdOn",
                operator=Operator.GTE,
                value=datetime(2026, 11, 24, 8, tzinfo=UTC),
            ),
        ),
        (
            {"createdOn": "2026-11-24"},
            Comparison(
                field="createdOn", operator=Operator.EQ, value=datetime(2026, 11, 24, tzinfo=UTC)
            ),
        ),
        (
            {"createdOn": 1_000},
            Comparison(
                field="createdOn",
                operator=Operator.EQ,
                value=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            ),
        ),
        (
            {"size": {"gt": 1, "lt": 5}},
            Group(
                operator="and",
                conditions=(
                    Comparison(field="size", operator=Operator.GT, value=1),
                    Comparison(field="size", operator=Operator.LT, value=5),
                ),
            ),
        ),
        (
            {"or": [{"name": "a"}, {"and": [{"status": "pending"}]}]},
            Group(
                operator="or",
                conditions=(
                    Comparison(field="name", operator=Operator.EQ, value="a"),
                    Group(
                        operator="and",
                        conditions=(
                            Comparison(field="status", operator=Operator.EQ, value="pending"),
                        ),
                    ),
                ),
            ),
        ),
        ({}, EVERY_ROW),
        (None, EVERY_ROW),
    ],
)
def test_where_is_read(asked: Any, expected: Where) -> None:
    """Every form of where becomes its tree."""
    assert expected == where(asked)


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ([], "where", "object"),
        ("x", "where", "object"),
        ({"colour": 1}, "where.colour", "there are: id, name"),
        ({"name": {"equals": 1}}, "where.name.equals", "'equals'"),
        ({"name": {"equals": 1}}, "where.name.equals", "neq"),
        ({"name": {}}, "where.name", "operator"),
        ({"name": ["a"]}, "where.name", "inq"),
        ({"name": 3}, "where.name.eq", "text"),
        ({"name": "a\x00"}, "where.name.eq", "NUL"),
        ({"name": "\ud800"}, "where.name.eq", "surrogates"),
        ({"name": {"like": "a\\"}}, "where.name.like", "backslash"),
        ({"name": {"like": None}}, "where.name.like", "text"),
        ({"name": {"regexp": "/a/x"}}, "where.name.regexp", "flags"),
        ({"name": {"regexp": "a" * 1001}}, "where.name.regexp", "1,000"),
        ({"name": {"gt": None}}, "where.name.gt", "null"),
        ({"id": "banana"}, "where.id.eq", "UUID"),
        ({"id": "{" + ID[1:-1] + "}"}, "where.id.eq", "UUID"),
        ({"id": {"like": "a%"}}, "where.id.like", "does not fit"),
        ({"status": "banana"}, "where.status.eq", "one of pending, completed"),
        ({"size": "3"}, "where.size.eq", "whole number"),
        ({"size": True}, "where.size.eq", "whole number"),
        ({"size": 2**31}, "where.size.eq", "32 bits"),
        ({"deleted": {"gt": True}}, "where.deleted.gt", "does not fit"),
        ({"deleted": 1}, "where.deleted.eq", "true or false"),
        ({"createdOn": "soon"}, "where.createdOn.eq", "date"),
        ({"createdOn": 1e300}, "where.createdOn.eq", "date"),
        ({"createdOn": "0001-01-01T00:00:00+14:00"}, "where.createdOn.eq", "date"),
        ({"metadata": {"eq": {"a": 1}}}, "where.metadata.eq", "exists"),
        ({"metadata": {"inq": [1]}}, "where.metadata.inq", "does not fit"),
        ({"name": {"exists": "yes"}}, "where.name.exists", "true or false"),
        ({"size": {"between": [1]}}, "where.size.between", "two values"),
        ({"size": {"between": [1, None]}}, "where.size.between", "null"),
        ({"size": {"inq": 1}}, "where.size.inq", "list"),
        ({"size": {"inq": [1, "x"]}}, "where.size.inq[1]", "whole number"),
        ({"size": {"inq": [1] * 1001}}, "where.size.inq", "1000"),
        ({"and": []}, "where.and", "at least one"),
        ({"or": {"name": "a"}}, "where.or", "list"),
        ({"or": [{"name": {"x": 1}}]}, "where.or[0].name.x", "'x'"),
        ({"or": [{"name": "a"}] * 101}, "where.or[100].name.eq", "100 conditions"),
    ],
)
def test_a_wrong_where_is_refused_by_name(asked: Any, field: str, says: str) -> None:
    """What is wrong is named, and so is what it may be."""
    with pytest.raises(Invalid) as caught:
        where(asked)

    assert field == caught.value.field
    assert says in caught.value.message


def test_where_nests_eight_levels() -> None:
    """Eight levels are read and the ninth is refused."""
    asked: Any = {"name": "a"}
    for _ in range(7):
        asked = {"and": [asked]}
    where(asked)

    with pytest.raises(Invalid, match="deeper than 8"):
        where({"and": [asked]})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, Filter()),
        ({"limit": 5, "skip": 2}, Filter(limit=5, skip=2)),
        ({"offset": 2}, Filter(skip=2)),
        ({"fields": ["id", "name"]}, Filter(fields=frozenset({"id", "name"}))),
        ({"fields": {"id": True, "name": False}}, Filter(fields=frozenset({"id"}))),
        ({"fields": {"metadata": False}}, Filter(fields=frozenset(TASKS.fields) - {"metadata"})),
        ({"fields": {}}, Filter()),
        ({"order": "name DESC"}, Filter(order=(Order(field="name", descending=True),))),
        (
            {"order": ["name", "size asc"]},
            Filter(order=(Order(field="name"), Order(field="size"))),
        ),
        ({"include": ["userTasks"]}, Filter(include=("userTasks",))),
        ({"include": [{"relation": "userTasks", "scope": {}}]}, Filter(include=("userTasks",))),
        (
            {"where": {"name": "a"}},
            Filter(where=Comparison(field="name", operator=Operator.EQ, value="a")),
        ),
    ],
)
def test_filter_is_read(asked: Any, expected: Filter) -> None:
    """Every part of a filter is read, and what is absent has its default."""
    assert expected == filter_(asked)


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ([], "filter", "object"),
        ({"limits": 1}, "filter.limits", "'limits'"),
        ({"limit": 0}, "filter.limit", "from 1 to 10,000"),
        ({"limit": 10_001}, "filter.limit", "from 1 to 10,000"),
        ({"limit": "5"}, "filter.limit", "whole number"),
        ({"limit": 1.0}, "filter.limit", "whole number"),
        ({"skip": -1}, "filter.skip", "whole number"),
        ({"skip": 1, "offset": 1}, "filter.offset", "keep one"),
        ({"fields": ["colour"]}, "filter.fields[0]", "no field 'colour'"),
        ({"fields": [{}]}, "filter.fields[0]", "no field"),
        ({"fields": 3}, "filter.fields", "list"),
        ({"order": "colour"}, "filter.order", "no field 'colour'"),
        ({"order": "name UP"}, "filter.order", "ASC or DESC"),
        ({"order": "metadata"}, "filter.order", "no order"),
        ({"order": 3}, "filter.order", "createdOn DESC"),
        ({"include": ["comments"]}, "filter.include", "there is: userTasks"),
        ({"include": [["userTasks"]]}, "filter.include", "no relation"),
        (
            {"include": [{"relation": "userTasks", "scope": {"limit": 1}}]},
            "filter.include",
            "scope",
        ),
        ({"where": {"name": {"similar": 1}}}, "filter.where.name.similar", "'similar'"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(asked: Any, field: str, says: str) -> None:
    """What is wrong is named, and so is what it may be."""
    with pytest.raises(Invalid) as caught:
        filter_(asked)

    assert field == caught.value.field
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "no JSON"), ('{"limit":1,"limit":2}', "twice"), ('{"limit":NaN}', "NaN")],
)
def test_a_filter_that_is_no_json_is_refused(text: str, says: str) -> None:
    """The text itself is checked strictly."""
    with pytest.raises(Invalid, match=says):
        read_filter([("filter", text)], TASKS)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], Filter()),
        ([("filter", "")], Filter()),
        ([("other", "x"), ("filter[limit]", "10")], Filter(limit=10)),
        (
            [("filter[where][size][gt]", "3")],
            Filter(where=Comparison(field="size", operator=Operator.GT, value=3)),
        ),
        (
            [("filter[where][deleted]", "false")],
            Filter(where=Comparison(field="deleted", operator=Operator.EQ, value=False)),
        ),
        (
            [("filter[where][name][inq][]", "a"), ("filter[where][name][inq][]", "b")],
            Filter(where=Comparison(field="name", operator=Operator.INQ, value=("a", "b"))),
        ),
        (
            [("filter[where][name][inq]", "a")],
            Filter(where=Comparison(field="name", operator=Operator.INQ, value=("a",))),
        ),
        (
            [("filter[order][0]", "name"), ("filter[order][1]", "size DESC")],
            Filter(order=(Order(field="name"), Order(field="size", descending=True))),
        ),
        ([("filter[fields][id]", "true")], Filter(fields=frozenset({"id"}))),
        (
            [("filter[where][or][0][name]", "a"), ("filter[where][or][1][size]", "1")],
            Filter(
                where=Group(
                    operator="or",
                    conditions=(
                        Comparison(field="name", operator=Operator.EQ, value="a"),
                        Comparison(field="size", operator=Operator.EQ, value=1),
                    ),
                )
            ),
        ),
    ],
)
def test_brackets_are_read(pairs: list[tuple[str, str]], expected: Filter) -> None:
    """The bracket style means the same as JSON."""
    assert expected == read_filter(pairs, TASKS)


@pytest.mark.parametrize(
    "pairs",
    [
        [("filter", "{}"), ("filter", "{}")],
        [("filter", "{}"), ("filter[limit]", "1")],
        [("filter[limit", "1")],
        [("filter[limit]x", "1")],
        [("filter[[limit]]", "1")],
        [("filter[limit]", "1"), ("filter[limit][x]", "1")],
        [("filter[limit][x]", "1"), ("filter[limit]", "1")],
        [("filter[limit]", "1"), ("filter[limit]", "2")],
        [("filter[limit]", "9" * 5_000)],
        [("filter[limit]", "²")],
        [("filter" + "[a]" * 30, "1")],
        [("filter[where][size]", "x")],
        [("filter[where][ratio]", "nan")],
    ],
)
def test_wrong_brackets_are_refused(pairs: list[tuple[str, str]]) -> None:
    """Contradictions and broken brackets never guess."""
    with pytest.raises(Invalid):
        read_filter(pairs, TASKS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*TASKS.fields, *Operator, "and", "or", "where", "order", "fields", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def error_of(read: Callable[[], object]) -> Invalid | None:
    """Read, and return what was refused."""
    try:
        read()
    except Invalid as exc:
        return exc
    return None


@given(JSON)
def test_anything_is_read_or_refused(asked: Any) -> None:
    """Whatever JSON is sent, the answer is a filter or a named fault, never another error."""
    errors = [error_of(lambda: filter_(asked)), error_of(lambda: where(asked))]

    assert all(error is None or error.field for error in errors)


@given(st.lists(st.tuples(st.text("filter[]where0namesizeinq", max_size=25), st.text(max_size=3))))
def test_any_brackets_are_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    """Whatever the query string, the answer is a filter or a named fault, never another error."""
    error = error_of(lambda: read_filter(pairs, TASKS))

    assert error is None or error.field
