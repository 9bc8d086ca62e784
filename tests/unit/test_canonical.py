"""JSON as JavaScript prints it."""

import json
import math
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.canonical import Rendering, parse_json, render, stringify
from taskloom.errors import Invalid


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e-7", "1e-7"),
        ("0.00000123", "0.00000123"),
        ("1E-6", "0.000001"),
        ("1.50e-10", "1.5e-10"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-1e-400", "0"),
        ("1.0", "1"),
        ("100.10", "100.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740993", "9007199254740992"),
        ("-9007199254740993", "-9007199254740992"),
        ("1e400", "null"),
        ("-1e400", "null"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("1" + "0" * 308, "1e+308"),
        ("1" + "0" * 309, "null"),
        ("1" + "0" * 5000, "null"),
        ("1" + "0" * 5000 + "e-5000", "1"),
        ("0." + "0" * 5000 + "1e5001", "1"),
    ],
)
def test_numbers_print_as_ecmascript_prints_doubles(document: str, expected: str) -> None:
    """A number alone, in a list and as a member prints alike, whatever its notation was."""
    assert expected == stringify(parse_json(document))
    assert f"[{expected}]" == stringify(parse_json(f"[{document}]"))
    assert f'{{"n":{expected}}}' == stringify(parse_json(f'{{"n" : {document} }}'))


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_finite_double_prints_as_rfc8785_says(bits: int) -> None:
    """Any bit pattern of a double prints as the canonicalisation scheme of RFC 8785 prints it."""
    value = struct.unpack("<d", struct.pack("<Q", bits))[0]
    expected = rfc8785.dumps(value).decode() if math.isfinite(value) else "null"

    assert expected == stringify(value)
    assert f"[{expected}]" == stringify([value])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z]+"), inner),
    )
)
def test_printing_keeps_the_meaning_and_is_stable(value: Any) -> None:
    """What was printed reads back, numbers as doubles, and prints the same again."""
    text = stringify(value)

    assert value == json.loads(text, parse_int=float)
    assert text == stringify(parse_json(text))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"b":1,"2":2,"a":3,"10":4,"0":5}', '{"0":5,"2":2,"10":4,"b":1,"a":3}'),
        ('{"4294967295":1,"4294967294":2}', '{"4294967294":2,"4294967295":1}'),
        ('{"a":1,"01":2,"-1":3,"1.0":4,"+1":5}', '{"a":1,"01":2,"-1":3,"1.0":4,"+1":5}'),
        ('{"a":1,"\u0661":2}', '{"a":1,"\u0661":2}'),
        ('{"x":{"b":1,"1":2}}', '{"x":{"1":2,"b":1}}'),
        ('[{"b":1,"1":2}]', '[{"1":2,"b":1}]'),
    ],
)
def test_array_indices_come_first(document: str, expected: str) -> None:
    """Keys that are array indices (0 to 2^32 - 2) lead in ascending order, at every depth."""
    assert expected == stringify(parse_json(document))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
        ('{"__proto__":1,"a":2,"__proto__":3}', '{"__proto__":3,"a":2}'),
        ('{"constructor":1,"toJSON":2,"":3}', '{"constructor":1,"toJSON":2,"":3}'),
        (r'{"\u0061":1,"a":2}', '{"a":2}'),
    ],
)
def test_a_repeated_key_keeps_its_first_place_and_last_value(document: str, expected: str) -> None:
    """Every key is an ordinary one, and of members with one key the last value counts."""
    assert expected == stringify(parse_json(document))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (r'"\u0000\u001F\u0008\f\n\r\t\"\\\/"', r'"\u0000\u001f\b\f\n\r\t\"\\/"'),
        (r'"\u007f\u2028\u2029\u00e9"', '"\x7f\u2028\u2029\u00e9"'),
        (r'"\ud83d\ude00"', '"\U0001f600"'),
        (r'"\uD83D"', r'"\ud83d"'),
        (r'"\ude00\ud83d"', r'"\ude00\ud83d"'),
        (r'{"\ud800":"\udfff"}', r'{"\ud800":"\udfff"}'),
        ('"\ud83d"', r'"\ud83d"'),
        ('"\ud83d\ude00"', '"\U0001f600"'),
        ('"\ud83d\\ude00"', '"\U0001f600"'),
        ('"\\ud83d\ude00"', '"\U0001f600"'),
        ('{"\ud83d\\ude00":1,"\U0001f600":2}', '{"\U0001f600":2}'),
        (r'"a\\ud83d"', r'"a\\ud83d"'),
    ],
)
def test_strings_are_well_formed(document: str, expected: str) -> None:
    """Only quotes, backslashes, controls and halves of surrogate pairs are escaped."""
    assert expected == stringify(parse_json(document))
    assert f'{{"s":[{expected}]}}' == stringify(parse_json(f'{{"s":[{document}]}}'))


def test_halves_of_a_pair_in_a_value_are_joined() -> None:
    """Two code points that are one character in JavaScript print as that character."""
    expected = '["\U0001f600"]'

    assert expected == stringify(["\ud83d" + "\ude00"])


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "\ufeff{}",
        "{",
        "[1,]",
        '{"a":1,}',
        "{a:1}",
        "{'a':1}",
        '{"a" 1}',
        "[1 2]",
        "[1]]",
        "01",
        "+1",
        "-",
        ".5",
        "1.",
        "1e",
        "0x10",
        "NaN",
        "[Infinity]",
        '{"a":-Infinity}',
        "nul",
        "True",
        '"\t"',
        '"\n"',
        '"\x00"',
        r'"\x41"',
        r'"\u12"',
        r'"\u 123"',
        '"abc',
        '"\\\ud83d"',
        "[1]\u00a0",
        "\u2028[]",
        "\v[]",
        "\uff11",
        "// no\n1",
        "[" * 5000,
        "[" * 5000 + "NaN" + "]" * 5000,
        '{"a":' * 5000 + "1" + "}" * 4999,
    ],
)
def test_what_javascript_refuses_is_invalid(document: str) -> None:
    """Whatever JSON.parse throws on is refused with the place in the text."""
    with pytest.raises(Invalid, match=r"not valid JSON: .*line \d+ column \d+"):
        parse_json(document)


@pytest.mark.parametrize(
    "document", [b"\xff", b'"\xed\xa0\x80"', b'"\xc3', '"é"'.encode("latin-1")]
)
def test_bytes_that_are_not_utf8_are_invalid(document: bytes) -> None:
    """Bytes are UTF-8 or refused; no other encoding is guessed."""
    with pytest.raises(Invalid, match="no UTF-8 at byte"):
        parse_json(document)


def test_utf16_is_not_guessed() -> None:
    """A document in UTF-16, which Python's reader would take, is refused."""
    with pytest.raises(Invalid):
        parse_json('{"a":1}'.encode("utf-16-le"))


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"2":1,"a":', "}]")]
)
def test_nesting_has_no_limit(opening: str, closing: str) -> None:
    """A document nested twenty thousand levels deep is read and printed like any other."""
    document = opening * 20_000 + "1.0" + closing * 20_000
    expected = opening * 20_000 + "1" + closing * 20_000

    assert expected == stringify(parse_json(document))


def test_the_slow_reader_agrees_with_the_fast_one() -> None:
    """Empty containers, spaces and every kind of scalar read alike behind thousands of levels."""
    inner = ' { "a" : [ ] , "b" : { } , "c" : [ 1 , "x" , null , true , 1.5 , [ [ ] , { } ] ] } '
    deep = parse_json("[" * 3000 + inner + "]" * 3000)
    for _ in range(3000):
        deep = deep[0]

    assert parse_json(inner) == deep


@pytest.mark.parametrize(
    "document",
    [
        '{"a":[1,2.5,"x"],"b":1e3}',
        "[1.0,-0,0.1,1e-7,1E+2,100e-2]",
        "[0.30000000000000004,9007199254740992,1e21,12345678901234567000]",
        '{"2":1,"1":2}',
        "[0e5000, -0.0e-9999999, 10000000000000000000000]",
    ],
)
def test_one_text_serves_where_nothing_is_lost(document: str) -> None:
    """Where a double holds every number, the exact form is the printed form."""
    rendering = render(document)

    assert rendering.printed == rendering.exact


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        ("9007199254740993", "9007199254740992"),
        ("12345678901234567891", "12345678901234567000"),
        ("0.1234567890123456789", "0.12345678901234568"),
        ("1e400", "null"),
        ("-1e-400", "0"),
        ("1" + "7" * 5000, "null"),
        ("1e" + "9" * 5000, "null"),
        ("1e-" + "9" * 5000, "0"),
    ],
)
def test_numbers_too_fine_for_a_double_keep_their_digits(number: str, printed: str) -> None:
    """The exact form keeps the number as written; JavaScript reads it as the printed form."""
    expected = Rendering(
        printed=f'{{"1":"\\ud800","a":[{printed},1]}}', exact=f'{{"1":"\\ud800","a":[{number},1]}}'
    )
    rendering = render(f'{{"a":[{number}, 1.0],"1":"\\ud800"}}')

    assert expected == rendering
    assert expected.printed == stringify(parse_json(rendering.exact))


def test_what_json_cannot_hold_is_an_error() -> None:
    """A value that no document yields is refused, not guessed at."""
    with pytest.raises(TypeError):
        stringify({"a": object()})
