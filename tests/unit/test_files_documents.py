"""YAML as kubectl reads it; every value here was compared with kubectl 1.32."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.providers.files.documents import MAX_DEPTH, NotReadable, read_documents


def value(text: str) -> Any:
    """Read the value of `a`."""
    (document,) = read_documents(f"a: {text}")
    return document.value["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", True),
        ("off", False),
        ("yes", True),
        ("no", False),
        ("y", True),
        ("N", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("", None),
        ('""', ""),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("-010", -8),
        ("0b11", 3),
        ("0b2", "0b2"),
        ("0x", "0x"),
        ("08", 8),
        ("09.5", 9.5),
        ("0o8", "0o8"),
        ("1_000", 1000),
        ("1__0", 10),
        ("_1", "_1"),
        ("1_", 1),
        ("1_000.5", 1000.5),
        ("1e3", 1000),
        ("1e", "1e"),
        ("1.5e-3", 0.0015),
        (".5", 0.5),
        (".5_0", 0.5),
        ("._5", "._5"),
        ("5.", 5),
        ("+1", 1),
        ("-0", 0),
        ("1:30", "1:30"),
        ("1:30:45", "1:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("1.5.2", "1.5.2"),
        ("1e400", "1e400"),
        ("1.0", 1),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", 9.223372036854775808e18),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("0x1FFFFFFFFFFFFFFFF", "0x1FFFFFFFFFFFFFFFF"),
        ("0x1p4", "0x1p4"),
        ("infinity", "infinity"),
        ("=", "="),
        ("<<", "<<"),
        (".", "."),
        ("+", "+"),
        ("!!str 5", "5"),
        ("! on", "on"),
        ("!foo on", "on"),
        ("!foo {b: on}", {"b": True}),
        ('!!int "5"', 5),
        ("!!float 5", 5),
        ('!!bool "yes"', True),
        ("!!binary aGVsbG8=", "hello"),
        ("!!binary /w==", "\ufffd"),
        ("!!timestamp 2020-01-01", "2020-01-01"),
        ('!!null ""', None),
        ("!!set {x}", {"x": None}),
        ("!!python/object:os.system ls", "ls"),
        (
            "{1: b, 1.5: c, 2020-01-01: d, on: f, 010: g}",
            {"1": "b", "1.5": "c", "2020-01-01": "d", "true": "f", "8": "g"},
        ),
        ("{<<: {b: 1, c: 2}, c: 3}", {"b": 1, "c": 3}),
        ("{c: 3, <<: {b: 1, c: 2}}", {"b": 1, "c": 2}),
        ("{<<: [{b: 1}, {c: 2, b: 3}]}", {"b": 1, "c": 2}),
        ('{"<<": {b: 1}}', {"<<": {"b": 1}}),
        ("[&x {b: 1}, *x]", [{"b": 1}, {"b": 1}]),
        ("{b: 1, b: 2}", {"b": 2}),
        ("\tb", "b"),
        ("[a, b,]", ["a", "b"]),
        (r'"\x07"', "\x07"),
        ("'it''s'", "it's"),
    ],
)
def test_a_scalar_means_what_kubectl_makes_of_it(text: str, expected: object) -> None:
    """Value and type are those of `kubectl ... -o json`."""
    read = value(text)

    assert expected == read
    assert type(expected) is type(read)


@pytest.mark.parametrize(
    "text",
    [
        ".inf",
        "-.Inf",
        ".nan",
        "!!int x",
        "!!int 5.5",
        "!!float x",
        "!!null x",
        "!!bool maybe",
        "!!timestamp foo",
        '!!binary "a b"',
        "&x [*x]",
        "*unknown",
        "{[x]: 1}",
        "{? : 1}",
        "{<<: 5}",
        r'"\ud800"',
        r'"\ud83d\ude00"',
        "@b",
        "`b",
        "%b",
        "b: c",
        "- b",
        "[1, 2",
        "\x00",
        "\x07",
    ],
)
def test_what_kubectl_refuses_is_refused(text: str) -> None:
    """A text that kubectl cannot read is not readable here, and its line is told."""
    with pytest.raises(NotReadable) as caught:
        read_documents(f"first: line\na: {text}")

    assert caught.value.line >= 1


def test_documents_follow_one_another() -> None:
    """Empty documents and comments are no documents; lines count through the file."""
    text = "# one\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n"

    documents = read_documents(text)

    assert [(d.value, d.line) for d in documents] == [({"a": 1}, 3), ({"b": 2}, 8)]


def test_fields_know_their_lines() -> None:
    """A path leads to its line; an unknown one to the nearest above it."""
    (document,) = read_documents("spec:\n  keys:\n  - a\n  - b: c\n  map: {x: 1}\n")

    assert document.line_of("spec.keys[0]") == 3
    assert document.line_of("spec.keys[1].b") == 4
    assert document.line_of("spec.map[x]") == 5
    assert document.line_of("spec.nothing") == 1
    assert document.line_of("elsewhere") == 1


def test_a_key_given_twice_is_noted() -> None:
    """Kubectl takes the last; a person should hear of it."""
    (document,) = read_documents("spec:\n  a: 1\n  a: 2\n")

    assert document.doubled == (("spec.a", 3),)


def test_json_is_read_as_json() -> None:
    """Texts of JSON follow one another, escapes as JSON has them."""
    documents = read_documents(
        '{"a": "\\ud83d\\ude00", "b": 010}\n'.replace("010", "10") + '{"c": [1]}'
    )

    assert [d.value for d in documents] == [{"a": "\U0001f600", "b": 10}, {"c": [1]}]
    assert [d.line for d in documents] == [1, 2]


def test_json_means_what_go_makes_of_it() -> None:
    """Half a surrogate pair is replaced and a large integer is a double."""
    (document,) = read_documents('{"a\\ud800": "\\udc00x", "b": 18446744073709551616}')

    assert document.value == {"a\ufffd": "\ufffdx", "b": 1.8446744073709552e19}


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 400, "-1e999"])
def test_a_json_number_too_large_for_a_double_is_refused(number: str) -> None:
    """No double stands for it, so nothing is guessed."""
    with pytest.raises(NotReadable, match="too large"):
        read_documents(f'{{"a": {number}}}')


def test_a_flow_map_that_is_not_json_is_yaml() -> None:
    """A brace at the beginning does not make it JSON."""
    (document,) = read_documents("{a: on}")

    assert document.value == {"a": True}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(
            f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "a: &a " + "x" * 70_000 + "\nb: [" + ",".join(["*a"] * 1_000) + "]",
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
        "[" * 100_000 + "]" * 100_000,
        "- " * 5_000 + "a",
        "{" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
    ids=["aliases", "long-aliases", "deep", "deeper", "block", "braces", "json"],
)
def test_a_bomb_does_not_go_off(text: str) -> None:
    """What would fill the memory or the stack is refused in no time."""
    with pytest.raises(NotReadable):
        read_documents(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_every_json_text_reads_back(given_value: Any) -> None:
    """JSON in a file means what it means everywhere."""
    documents = read_documents(json.dumps({"value": given_value}))

    assert [{"value": given_value}] == [d.value for d in documents]


@given(st.text(max_size=40) | st.text("[]{}:,-&*!?|>'\"%@` \n\tab01<.~#", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a file, the answer is a list of documents or NotReadable."""
    try:
        documents = read_documents(text)
    except NotReadable:
        return
    for document in documents:
        json.dumps(document.value, allow_nan=False)
