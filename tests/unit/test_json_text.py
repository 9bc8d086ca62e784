"""JSON read strictly."""

import pytest

from taskloom.domain.json_text import check_depth, read_json, storable
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
