"""Tables of resources, with the columns that kubectl shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskloom.cli.console import printable
from taskloom.cli.resource_table import find_kind, is_well, look_up, table_of_all, table_of_kind
from taskloom.cli.texts import age, short_json, span
from taskloom.errors import Invalid
from taskloom.resources.kinds import KINDS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def _resource(ready: str | None = "True", **more: Any) -> dict[str, Any]:
    conditions = (
        []
        if ready is None
        else [{"type": "Ready", "status": ready, "reason": "SomeReason", "message": "why"}]
    )
    return {
        "kind": "Workflow",
        "namespace": "default",
        "name": "order",
        "generation": 1,
        "place": "order.yaml:3",
        "createdOn": "2026-11-24T11:00:00.000Z",
        "spec": {},
        "status": {"conditions": conditions, "externalIdentifier": "order", "currentVersion": 3},
        **more,
    }


def _plain(table: tuple[list[str], list[list[Any]]]) -> list[dict[str, str]]:
    columns, rows = table
    return [dict(zip(columns, map(str, row), strict=True)) for row in rows]


@pytest.mark.parametrize("text", ["Workflow", "workflows", "WORKFLOW", "bpwf"])
def test_a_kind_has_several_names(text: str) -> None:
    """Kind, plural and short name, in any case."""
    assert find_kind(text) is KINDS["Workflow"]


def test_an_unknown_kind_lists_the_known_ones() -> None:
    """What may be asked for is said."""
    with pytest.raises(Invalid, match=r"workflows \(bpwf\)"):
        find_kind("pods")


def test_a_kinds_table_has_its_printer_columns() -> None:
    """A message shows only where something is wrong."""
    [row] = _plain(table_of_kind(KINDS["Workflow"], [_resource()], NOW))

    assert (row["Key"], row["Version"], row["Ready"], row["Age"]) == ("order", "3", "True", "60m")
    assert "Message" not in row

    [row] = _plain(table_of_kind(KINDS["Workflow"], [_resource("False")], NOW))

    assert row["Message"] == "why (order.yaml:3)"


def test_the_table_of_all_says_what_is_wrong_and_where() -> None:
    """Good ones have no message, and one that was never looked at says so."""
    rows = _plain(table_of_all([_resource(), _resource("False"), _resource(None)], NOW))

    assert ["", "why (order.yaml:3)", "it has not been reconciled yet (order.yaml:3)"] == [
        row["message"] for row in rows
    ]


def test_suspended_on_purpose_is_well() -> None:
    """Exit code 1 is for what is wrong."""
    resource = _resource("False")
    assert not is_well(resource)

    resource["status"]["conditions"][0]["reason"] = "Suspended"
    assert is_well(resource)


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_printer_column_can_be_looked_up(kind: Any) -> None:
    """Also on an object that has no status yet."""
    resource: dict[str, Any] = {"spec": {}, "status": {}}

    assert all(look_up(resource, column.path) is None for column in kind.columns)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(milliseconds=12), "12 ms"),
        (timedelta(seconds=3.4), "3.40 s"),
        (timedelta(minutes=2, seconds=5), "2 min 5 s"),
    ],
)
def test_spans_have_a_fitting_unit(length: timedelta, expected: str) -> None:
    """Milliseconds, seconds, minutes."""
    assert expected == span(length)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-11-24T12:00:05Z", "0s"),  # a clock that is ahead
        ("2026-11-24T11:58:01Z", "119s"),
        ("2026-11-24T10:00:01Z", "119m"),
        ("2026-11-23T10:00:00Z", "26h"),
        ("2026-11-01T12:00:00Z", "23d"),
    ],
)
def test_ages_are_short(since: str, expected: str) -> None:
    """The largest unit of which there are two."""
    assert expected == age(since, NOW)


def test_long_json_is_cut() -> None:
    """One line that fits."""
    assert short_json({"a": "ü"}) == '{"a": "ü"}'
    assert short_json("x" * 200, 10) == '"xxxxxxxx…'


def test_control_characters_are_written_out() -> None:
    """A terminal does nothing because of an event's text."""
    assert printable("a\x1b[1m\r\u202eü\n") == "a\\x1b[1m\\r\\u202eü\n"
