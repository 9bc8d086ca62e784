"""JSON read strictly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.json_text import (
    check_depth,
    read_elements,
    read_json,
    read_members,
    storable,
)
from taskloom.errors import Invalid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "line 1, column 1"),
        (b"{", "cannot be read"),
        (b'{"a": 1,}', "cannot be read"),
        (b"{'a': 1}", "cannot be read"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "too large"),
        (b'{"a": 1, "b": 2, "a": 3}', '"a" twice'),
        (b'{"x": {"\\u0061": 1, "a": 2}}', '"a" twice'),
        (b'"\xff"', "UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"tab\tinside"', "cannot be read"),
        (b"[" * 101 + b"]" * 101, "100 levels"),
        (b'{"a":' * 200_000, "100 levels"),
        (b'"' + b"[" * 500, "cannot be read"),
        (b"1" * 5_000, "digits"),
        (b"\xef\xbb\xbf{}", "cannot be read"),
    ],
)
def test_wrong_json_is_refused_with_what_is_wrong(text: bytes, says: str) -> None:
    """Each way in which JSON can be wrong is named."""
    with pytest.raises(Invalid) as caught:
        read_json(text)

    assert says in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "line 1, column 1"),
        (b"[]", "must be an object"),
        (b"nul", "cannot be read"),
        (b"{", "Expecting a name"),
        (b"{1: 2}", "Expecting a name"),
        (b'{"a"}', "':'"),
        (b'{"a":}', "cannot be read"),
        (b'{"a":1 "b":2}', "'}'"),
        (b'{"a":1,}', "Expecting a name"),
        (b'{"a":1}x', "Extra data"),
        (b'{"a":1', "'}'"),
        (b'{"a":1,"\\u0061":2}', '"a" twice'),
        (b'{"a":{"b":1,"b":2}}', '"b" twice'),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 101 + b"]" * 101 + b"}", "100 levels"),
    ],
)
def test_a_wrong_object_is_refused_with_what_is_wrong(text: bytes, says: str) -> None:
    """Reading members is no less strict."""
    with pytest.raises(Invalid) as caught:
        read_members(text)

    assert says in caught.value.message


def test_members_keep_their_text() -> None:
    """What is inside a member is kept as it was written."""
    text = ' { "p" : {"b": 1e2,"a":"\\ud800\\u0000" ,"1":-0} , "k":"x"}\n'
    expected = {
        "p": ({"b": 100.0, "a": "\ud800\x00", "1": 0}, text[9:46]),
        "k": ("x", '"x"'),
    }

    actual = read_members(text)

    assert expected == actual
    assert actual["p"][1].endswith('"1":-0}')


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists)))
def test_members_are_what_the_whole_is(value: dict[str, Any]) -> None:
    """Reading by members and reading at once agree."""
    text = json.dumps(value, indent=1)

    actual = read_members(text)

    assert value == {name: member for name, (member, _) in actual.items()}
    assert value == {name: json.loads(raw) for name, (_, raw) in actual.items()}


def test_json_that_is_right_is_read() -> None:
    """Unicode, escapes, numbers and brackets inside strings come through."""
    expected = {"k": ["ä", "\ud83d", 1, -0.5, None, True, "[" * 300]}

    actual = read_json('{"k": ["ä", "\\ud83d", 1, -0.5, null, true, "' + "[" * 300 + '"]}')

    assert expected == actual


def test_a_hundred_levels_are_allowed() -> None:
    """The limit itself is within the limit."""
    check_depth("[" * 100 + "]" * 100)
    check_depth("[]" * 1_000)


def test_escaped_quotes_do_not_end_a_string() -> None:
    """Brackets behind an escaped quote still count as text."""
    check_depth('"\\"' + "[" * 300 + '"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", True), ("ä😀", True), ("a\x00", False), ("ä\x00", False), ("\ud800", False)],
)
def test_what_a_text_column_holds(text: str, *, expected: bool) -> None:
    """NUL and lone surrogates cannot be stored as text."""
    assert expected == storable(text)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("[]", []),
        (" [ ] ", []),
        ("[1]", ["1"]),
        (' [ {"a" : 1.50} ,\n"],[" , [ ] ,null\t] ', ['{"a" : 1.50}', '"],["', "[ ]", "null"]),
    ],
)
def test_an_arrays_elements_keep_their_text(text: str, elements: list[str]) -> None:
    """Each as it came, without the space around it."""
    assert elements == read_elements(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("{}", "must be an array"),
        ("[1", "cannot be read"),
        ("[1,]", "cannot be read"),
        ("[1] 2", "cannot be read"),
        ("[NaN]", "NaN"),
        ('[{"a": 1, "a": 1}]', "twice"),
        ("[" * 101 + "]" * 101, "deeper than 100"),
        ("[" * 100_000, "deeper than 100"),
        (b"[\xff]", "UTF-8"),
    ],
)
def test_what_is_no_array_is_refused(text: str | bytes, said: str) -> None:
    """As strictly as any JSON."""
    with pytest.raises(Invalid, match=said):
        read_elements(text)
