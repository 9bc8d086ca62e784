"""Camunda's typed variables to JSON and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.engines.camunda.java_objects import NotJava, read_java
from taskloom.engines.camunda.variables import (
    START_ID,
    read_variable,
    read_variables,
    write_variable,
    write_variables,
)
from taskloom.errors import Invalid

TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)  # fmt: skip

# made by an engine from the model's own list and map
LIST = (
    "rO0ABXNyABNqYXZhLnV0aWwuQXJyYXlMaXN0eIHSHZnHYZ0DAAFJAARzaXpleHAAAAACdwQAAAACc3IADmphdmEubGFu"
    "Zy5Mb25nO4vkkMyPI98CAAFKAAV2YWx1ZXhyABBqYXZhLmxhbmcuTnVtYmVyhqyVHQuU4IsCAAB4cAAAAAAAAAACdAAB"
    "eHg="
)


@given(JSON)
def test_json_comes_back_as_it_went_where_spin_is(value: Any) -> None:
    """Whatever is JSON is read as it was written."""
    assert value == read_variable(write_variable("x", value, spin=True))


@pytest.mark.parametrize(
    ("value", "type_", "written"),
    [
        (None, "Null", None),
        (True, "Boolean", True),
        (7, "Integer", 7),
        (2**31, "Long", 2**31),
        (1.5, "Double", 1.5),
        ("text", "String", "text"),
        ("x" * 4000, "String", "x" * 4000),
        ({"z": 1}, "Object", '{"z":1}'),
        ([1], "Object", "[1]"),
        ("x" * 4001, "Object", json.dumps("x" * 4001)),
        ("\x00", "Object", r'"\u0000"'),
        (2**63, "Object", str(2**63)),
    ],
)
def test_each_value_has_the_type_that_keeps_it(value: Any, type_: str, written: Any) -> None:
    """What the engine's own types cannot keep becomes an object in JSON."""
    typed = write_variable("x", value, spin=True)

    assert (type_, written) == (typed["type"], typed["value"])


def test_objects_are_named_for_what_java_makes_of_them() -> None:
    """A map keeps its order, a list is a list."""
    typed = write_variables({"map": {}, "list": [], "big": 2**70, "long": "x" * 5000}, spin=True)

    assert {
        "map": "java.util.LinkedHashMap",
        "list": "java.util.ArrayList",
        "big": "java.math.BigInteger",
        "long": "java.lang.String",
    } == {name: each["valueInfo"]["objectTypeName"] for name, each in typed.items()}


def test_without_spin_objects_have_no_type() -> None:
    """The engine makes of them what it can, and gives them as JSON."""
    assert {"value": {"z": [1]}} == write_variable("x", {"z": [1]}, spin=False)
    assert {"value": 2**70} == write_variable("x", 2**70, spin=False)


def test_long_text_is_refused_without_spin() -> None:
    """It would not fit its column: that is said with what to do."""
    with pytest.raises(Invalid, match=r"4,001 characters.*Put it into an object, or install Spin"):
        write_variable("x", "x" * 4001, spin=False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"x", "holds bytes"),
        (float("nan"), "is nan, which JSON does not have"),
        (float("inf"), "is inf"),
        ([float("nan")], "is no JSON"),
        ({"x": b"y"}, "is no JSON"),
        (object(), "holds a object, no JSON"),
    ],
)
@pytest.mark.parametrize("spin", [True, False])
def test_what_is_no_json_is_refused_by_its_name(value: Any, said: str, *, spin: bool) -> None:
    """The variable is named, and the field."""
    with pytest.raises(Invalid, match=f"The variable name {said}") as refused:
        write_variable("name", value, spin=spin)

    assert "name" == refused.value.field


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"type": "Json", "value": '{"z":1}'}, {"z": 1}),
        ({"type": "Json", "value": {"z": 1}}, {"z": 1}),
        ({"type": "Json", "value": "no JSON"}, "no JSON"),
        ({"type": "Object", "value": [1], "valueInfo": {}}, [1]),
        ({"type": "Date", "value": "2026-11-24T10:00:00.000+0000"}, "2026-11-24T10:00:00.000+0000"),
        ({"type": "Bytes", "value": "eA=="}, "eA=="),
        (
            {"type": "File", "value": None, "valueInfo": {"filename": "a.txt", "mimeType": "x/y"}},
            {"filename": "a.txt", "mimeType": "x/y"},
        ),
        (
            {
                "type": "Object",
                "value": LIST,
                "valueInfo": {"serializationDataFormat": "application/x-java-serialized-object"},
            },
            [2, "x"],
        ),
        (
            {
                "type": "Object",
                "value": "eA==",
                "valueInfo": {"serializationDataFormat": "application/x-java-serialized-object"},
            },
            "eA==",
        ),
    ],
)
def test_every_type_is_read(typed: dict[str, Any], value: Any) -> None:
    """What the engine or another client has written is JSON for a command, too."""
    assert value == read_variable(typed)


def test_our_own_variable_is_not_shown() -> None:
    """The start id is ours."""
    assert {"x": 1} == read_variables({START_ID: {"value": "id"}, "x": {"value": 1}})


def test_what_is_no_serialized_object_is_told() -> None:
    """A text that breaks off, or is none at all, is no value."""
    for text in ("", "eA==", LIST[:-12], "!", "rO0ABXA" * 3):
        with pytest.raises(NotJava):
            read_java(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing else happens, whatever the engine gives."""
    import base64  # noqa: PLC0415 - for this test alone

    try:
        read_java(base64.b64encode(b"\xac\xed\x00\x05" + data).decode())
    except NotJava:
        return
