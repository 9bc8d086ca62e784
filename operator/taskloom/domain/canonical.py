"""JSON as JavaScript prints it: what a receiver's ``JSON.stringify(JSON.parse(body))`` yields.

``x-task-signature`` is made over that text, so it must agree byte for byte:
members whose keys are array indices first and in ascending order,
numbers as doubles in ECMAScript's notation, lone surrogates escaped, everything else raw.

The accelerated codec of the standard library does the work wherever it agrees with JavaScript.
Two patterns, cheap and never too lenient, find the documents where it may not;
those take a slower way that iterates, so no document is nested too deeply.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from taskloom.domain.numerals import (
    Numeral,
    loses_digits,
    print_double,
    print_integer,
    read_integer,
    read_real,
)
from taskloom.errors import Invalid

_LARGEST_ARRAY_INDEX = 2**32 - 2

# Numbers that Python prints otherwise than JavaScript: 9007199254740993, 1.0, 1e-07.
_has_foreign_number = re.compile(r"[:,\[]-?[0-9]+(?:(?<=[0-9]{16})|\.0(?=[,\]}])|[0-9.]*e)").search
_has_index_key = re.compile(r'"[0-9]{1,10}":').search
_is_index = re.compile(r"0|[1-9][0-9]{0,9}").fullmatch
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPE_OR_SURROGATE = re.compile(r"\\.|[\ud800-\udfff]", re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """One document twice: as JavaScript prints it, and without the losses of doing so.

    `exact` differs from `printed` only in numbers that a double cannot hold;
    a receiver in JavaScript makes `printed` of either.
    """

    printed: str
    exact: str


def parse_json(text: str | bytes) -> Any:
    """Read what ``JSON.parse`` would accept; raise `Invalid` with the position for anything else.

    Integers come as `int` with all their digits, or as `Numeral` beyond the range of a double.
    """
    document = _decode(text)
    try:
        return _DECODER.decode(document)
    except json.JSONDecodeError as error:
        raise _invalid(error) from None
    except (RecursionError, ValueError):  # ValueError: NaN, or an integer of thousands of digits
        return _Reader(document).read_document()


def stringify(value: Any) -> str:
    """Print `value` as ``JSON.stringify`` does; `value` holds what `parse_json` may return."""
    if isinstance(value, dict | list):
        try:
            text = _ENCODER.encode(value)
        except (RecursionError, ValueError):  # ValueError: an infinity, or a very long integer
            return _print_iteratively(value)
        if not (_has_index_key(text) or _has_foreign_number(text)):
            return _escape_lone_surrogates(text)
    return _print_iteratively(value)


def render(text: str | bytes) -> Rendering:
    """Print a document as JavaScript does, and once more with the digits that loses."""
    value = parse_json(text)
    printed = stringify(value)
    exact = _print_iteratively(value, exact=True) if _any_loses_digits(value) else printed
    return Rendering(printed=printed, exact=exact)


class _NotANumber(ValueError):
    """Python reads NaN and Infinity, JSON does not."""


def _refuse_constant(name: str) -> Any:
    raise _NotANumber(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=read_real)
_SCALAR_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=read_real, parse_int=read_integer
)
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


def _decode(text: str | bytes) -> str:
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"The text is not valid JSON: no UTF-8 at byte {error.start}") from None
    if not _has_surrogate(text):
        return text
    # As escapes, the halves of a pair find each other however each of them was written.
    return _ESCAPE_OR_SURROGATE.sub(
        lambda match: match[0] if match[0].startswith("\\") else _escape(match), text
    )


def _invalid(error: json.JSONDecodeError) -> Invalid:
    return Invalid(f"The text is not valid JSON: {error}")


class _Reader:
    """Reads one document with a stack of its own, where the accelerated codec would recurse."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._root: list[Any] = []
        self._container: list[Any] | dict[str, Any] = self._root
        self._key = ""
        self._is_empty = False
        self._parents: list[tuple[list[Any] | dict[str, Any], str]] = []

    def read_document(self) -> Any:
        try:
            self._skip_space()
            self._begin_value()
            while self._advance():
                self._begin_value()
            self._skip_space()
            if self._at != len(self._text):
                self._fail("Extra data")
        except json.JSONDecodeError as error:
            raise _invalid(error) from None
        return self._root[0]

    def _begin_value(self) -> None:
        """Read a scalar, or open the container that starts here."""
        opening = self._text[self._at : self._at + 1]
        if opening not in ("[", "{"):
            self._store(self._read_scalar())
            return
        container: list[Any] | dict[str, Any] = [] if opening == "[" else {}
        self._store(container)
        self._parents.append((self._container, self._key))
        self._container = container
        self._is_empty = True
        self._at += 1

    def _advance(self) -> bool:
        """Close what ends here and move to the next value; false after the outermost."""
        while self._parents:
            self._skip_space()
            following = self._text[self._at : self._at + 1]
            if following == ("}" if isinstance(self._container, dict) else "]"):
                self._at += 1
                self._container, self._key = self._parents.pop()
                self._is_empty = False
                continue
            if not self._is_empty:
                self._expect(",")
            if isinstance(self._container, dict):
                self._read_key()
            return True
        return False

    def _store(self, value: Any) -> None:
        if isinstance(self._container, dict):
            self._container[self._key] = value
        else:
            self._container.append(value)
        self._is_empty = False

    def _read_key(self) -> None:
        if self._text[self._at : self._at + 1] != '"':
            self._fail("Expecting property name enclosed in double quotes")
        self._key = self._read_scalar()
        self._skip_space()
        self._expect(":")

    def _read_scalar(self) -> Any:
        try:
            value, self._at = _SCALAR_DECODER.raw_decode(self._text, self._at)
        except _NotANumber:
            self._fail("Expecting value")
        return value

    def _expect(self, delimiter: str) -> None:
        if self._text[self._at : self._at + 1] != delimiter:
            self._fail(f"Expecting '{delimiter}' delimiter")
        self._at += 1
        self._skip_space()

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match:
            self._at = match.end()

    def _fail(self, message: str) -> NoReturn:
        raise json.JSONDecodeError(message, self._text, self._at)


def _print_iteratively(value: Any, *, exact: bool = False) -> str:
    parts: list[str] = []
    open_containers: list[tuple[Iterator[tuple[str, Any]], str]] = []
    while True:
        if isinstance(value, dict):
            parts.append("{")
            open_containers.append((_members(value), "}"))
        elif isinstance(value, list | tuple):
            parts.append("[")
            open_containers.append((_elements(value), "]"))
        else:
            parts.append(_print_scalar(value, exact=exact))
        while open_containers:
            children, closing = open_containers[-1]
            child = next(children, None)
            if child is not None:
                lead, value = child
                parts.append(lead)
                break
            parts.append(closing)
            open_containers.pop()
        else:
            return _escape_lone_surrogates("".join(parts))


def _members(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give each member as (comma, key and colon; value), array indices first."""
    indices = [key for key in value if _is_index(key) and int(key) <= _LARGEST_ARRAY_INDEX]
    keys: list[str] = list(value)
    if indices:
        first = set(indices)
        keys = [*sorted(indices, key=int), *(key for key in value if key not in first)]
    comma = ""
    for key in keys:
        yield f"{comma}{_ENCODER.encode(key)}:", value[key]
        comma = ","


def _elements(value: list[Any] | tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for element in value:
        yield comma, element
        comma = ","


def _print_scalar(value: Any, *, exact: bool) -> str:
    if exact and isinstance(value, Numeral):
        return value.text
    if isinstance(value, float):
        return print_double(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value) if exact else print_integer(value)
    return _ENCODER.encode(value)


def _any_loses_digits(value: Any) -> bool:
    values = [value]
    while values:
        value = values.pop()
        kind = type(value)
        if kind is dict:
            values.extend(value.values())
        elif kind is list:
            values.extend(value)
        elif kind in (int, Numeral) and loses_digits(value):
            return True
    return False


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _escape_lone_surrogates(text: str) -> str:
    if not _has_surrogate(text):
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATE.sub(_escape, joined)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
