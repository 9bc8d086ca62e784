"""Between Camunda's JSON and our values: variables, dates, what a list is asked."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.api.engine_rest.dates import is_date, read_date, write_date
from taskloom.api.engine_rest.external_tasks import FILTERS as WORK
from taskloom.api.engine_rest.faults import Fault
from taskloom.api.engine_rest.fetching import read_fetch
from taskloom.api.engine_rest.multipart import read_form
from taskloom.api.engine_rest.parameters import read_query
from taskloom.api.engine_rest.user_tasks import FILTERS as TASKS
from taskloom.api.engine_rest.variables import (
    read_variable,
    read_variables,
    write_variable,
    write_variables,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECT = {"serializationDataFormat": "application/json", "objectTypeName": "java.util.Map"}


@given(variables=st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read_again(variables: dict[str, Any]) -> None:
    """Every JSON value survives the way out and in, with the type that is told of it."""
    assert variables == read_variables(write_variables(variables))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "Null"),
        (True, "Boolean"),
        (-(1 << 31), "Integer"),
        (1 << 31, "Long"),
        (1 << 63, "Json"),
        (1.0, "Double"),
        ("x", "String"),
        ("2026-01-02T03:04:05.000+0000", "Date"),
        ("2026-13-02T03:04:05.000+0000", "String"),
        ({"a": [1]}, "Json"),
    ],
)
def test_a_value_says_its_type(value: Any, kind: str) -> None:
    """The type is the narrowest of Camunda's that holds the value."""
    assert kind == write_variable(value)["type"]


def test_json_is_text_unless_values_are_asked_for() -> None:
    """As Camunda's, Json travels as text; with deserializeValues it is JSON."""
    assert '{"a":"ü"}' == write_variable({"a": "ü"})["value"]
    assert {"a": "ü"} == write_variable({"a": "ü"}, plain=True)["value"]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"value": 1}, 1),
        ({"value": {"a": 1}}, {"a": 1}),
        ({"value": 1, "type": "double"}, 1.0),
        ({"value": 2, "type": "Short"}, 2),
        ({"value": 3.0, "type": "Long"}, 3),
        ({"value": "[1,2]", "type": "json"}, [1, 2]),
        ({"value": '{"b":1,"a":2}', "type": "Object", "valueInfo": OBJECT}, {"b": 1, "a": 2}),
        ({"value": None, "type": "Integer"}, None),
        ({"type": "Null"}, None),
        ({}, None),
    ],
)
def test_typed_values_are_read(typed: dict[str, Any], value: Any) -> None:
    """Types may be written in either case; a value without a type is what it is."""
    assert value == read_variable("v", typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"value": "x", "type": "Integer"}, "Cannot convert value 'x' of type 'Integer'"),
        ({"value": True, "type": "Integer"}, "Cannot convert"),
        ({"value": 1 << 31, "type": "Integer"}, "more than 31 bits"),
        ({"value": 1 << 15, "type": "Short"}, "more than 15 bits"),
        ({"value": 1, "type": "String"}, "it is no text"),
        ({"value": "yes", "type": "Boolean"}, "neither true nor false"),
        ({"value": "{", "type": "Json"}, "cannot be read"),
        ({"value": "rO0AB", "type": "Object"}, "only objects serialized as application/json"),
        ({"value": "2026-01-02", "type": "Date"}, "write it as"),
        ({"value": "aGk=", "type": "Bytes"}, "'Bytes' cannot be kept here"),
        ({"value": "x", "type": "Wrong"}, "Unsupported value type 'Wrong'"),
        (1, "must be an object with value and type"),
    ],
)
def test_what_cannot_be_kept_is_refused(typed: Any, said: str) -> None:
    """Nothing is kept as something else than it was sent as."""
    with pytest.raises(Fault, match=said) as refused:
        read_variables({"v": typed})

    assert (400, "InvalidRequestException") == (refused.value.status, refused.value.type)


@given(moment=st.datetimes(min_value=datetime(1000, 1, 1)))  # noqa: DTZ001 - given one below
def test_dates_survive(moment: datetime) -> None:
    """A date is written in UTC with milliseconds, and read again."""
    moment = moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)

    assert is_date(write_date(moment))
    assert moment == read_date("x", write_date(moment))


def test_a_query_is_read() -> None:
    """Filters become fields and values, two on one field hold both; order and page follow."""
    query = read_query(
        {
            "taskIdIn": "a,b,c",
            "taskId": "b",
            "priority": "50",
            "unassigned": "true",
            "assigned": "false",
            "createdAfter": "2026-01-02T03:04:05.000+0000",
            "active": "true",
            "sortBy": "created",
            "sortOrder": "desc",
            "firstResult": "5",
            "maxResults": "10",
        },
        TASKS,
    )

    assert query is not None
    assert {"id": ["b"], "priority": [50]} == query.where
    assert {"assignee": False} == query.present
    assert {"created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)} == query.since
    assert (["-created_at"], 5, 10) == (query.order, query.skip, query.limit)


@pytest.mark.parametrize(
    "asked", [{"suspended": "true"}, {"taskIdIn": []}, {"taskId": "a", "taskIdIn": ["b"]}]
)
def test_a_query_that_nothing_can_match_needs_no_look(asked: dict[str, Any]) -> None:
    """There are no suspended tasks, and none with two ids."""
    assert read_query(asked, TASKS) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"nameLike": "a%"},
        {"maxResults": "-1"},
        {"sortBy": "owner", "sortOrder": "asc"},
        {"sortBy": "name"},
        {"sortBy": "name", "sortOrder": "up"},
        {"active": "perhaps"},
        {"createdAfter": "yesterday"},
        {"sorting": ["name"]},
    ],
)
def test_a_filter_that_is_not_known_is_refused(asked: dict[str, Any]) -> None:
    """What is asked for is never left out of the answer in silence."""
    with pytest.raises(Fault) as refused:
        read_query(asked, TASKS)

    assert 400 == refused.value.status


def test_locks_are_asked_for_by_their_own_names() -> None:
    """A flag that is false asks nothing."""
    query = read_query({"locked": True, "noRetriesLeft": "false", "topicName": "t"}, WORK)

    assert query is not None
    assert {"locked": (True,), "topic": ["t"]} == query.where


def test_a_fetch_is_read() -> None:
    """Each topic has its lock and conditions; one for tenants has nothing here."""
    fetch = read_fetch(
        {
            "workerId": "w",
            "maxTasks": 5,
            "usePriority": True,
            "asyncResponseTimeout": 1000,
            "sorting": [{"sortBy": "createTime", "sortOrder": "desc"}],
            "topics": [
                {
                    "topicName": "a",
                    "lockDuration": 2000,
                    "variables": ["x"],
                    "processDefinitionKey": "k",
                    "processDefinitionKeyIn": ["k", "l"],
                    "withoutTenantId": True,
                },
                {"topicName": "b", "lockDuration": 2000, "tenantIdIn": ["t"]},
            ],
        }
    )

    [wanted] = fetch.wanted
    assert (frozenset({"a"}), True, 1.0) == (
        fetch.topics,
        fetch.newest,
        fetch.patience.total_seconds(),
    )
    assert (2.0, ("k",)) == (wanted.request.lock.total_seconds(), wanted.request.workflow_keys)
    assert ("x",) == wanted.names


@pytest.mark.parametrize(
    "topic",
    [
        {"topicName": "a\x00", "lockDuration": 1},
        {"topicName": "a", "lockDuration": "1"},
        {"topicName": "a", "lockDuration": 1, "processDefinitionVersionTag": "v"},
        {"topicName": "a", "lockDuration": 1, "processVariables": [1]},
        {"topicName": 1, "lockDuration": 1},
    ],
)
def test_a_fetch_that_cannot_be_kept_is_refused(topic: dict[str, Any]) -> None:
    """Nothing is fetched by other conditions than were given."""
    with pytest.raises(Fault) as refused:
        read_fetch({"workerId": "w", "maxTasks": 1, "topics": [topic]})

    assert 400 == refused.value.status


def test_a_form_is_read() -> None:
    """Fields and files come out of a form as they were put in, bytes and all."""
    content = (
        b'--x\r\nContent-Disposition: form-data; name="deployment-name"\r\n\r\nd\r\n'
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.bpmn"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\xc3\xbc\r\n\x00\r\n--x--\r\n"
    )
    name, file = read_form("multipart/form-data; boundary=x", content)

    assert ("deployment-name", None, "d") == (name.name, name.filename, name.text)
    assert ("a.bpmn", b"\xc3\xbc\r\n\x00") == (file.filename, file.content)


@pytest.mark.parametrize(
    ("content_type", "status"), [("application/json", 415), ("multipart/form-data", 400)]
)
def test_what_is_no_form_is_refused(content_type: str, status: int) -> None:
    """A deployment is a form with a boundary."""
    with pytest.raises(Fault) as refused:
        read_form(content_type, b"{}")

    assert status == refused.value.status
