"""JSON as strangers send it, read strictly.

Python's parser takes `NaN`, lets the last of two equal keys win in silence, and gives up on
deep nesting with an error of its own: each is refused here, with words the sender can act on.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Never

from taskloom.errors import Invalid

MAX_DEPTH = 100

_OPEN = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*")
_NAME = re.compile(r'[ \t\n\r]*("(?:[^"\\\x00-\x1f]|\\.)*+")[ \t\n\r]*:[ \t\n\r]*')
_AFTER = re.compile(r"[ \t\n\r]*([,}])")
_CLOSE = re.compile(r"\}[ \t\n\r]*\Z")
# strings (also one that never ends) are passed over whole, so brackets inside them do not count
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def read_json(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON value; raises `Invalid` saying what is wrong and where.

    Refused: bytes that are not UTF-8, equal keys in one object, `NaN` and `Infinity`, numbers too
    long to hold, and nesting deeper than `max_depth`.
    """
    decoded = _decode(text)
    with _faults_named(max_depth):
        check_depth(decoded, max_depth=max_depth)
        return _DECODER.decode(decoded)


def read_members(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> dict[str, tuple[Any, str]]:
    """Parse one JSON object as strictly, and keep the text of each member beside its value.

    The text is as it came: key order, forms of numbers and escapes survive in it.
    """
    decoded = _decode(text)
    with _faults_named(max_depth):
        check_depth(decoded, max_depth=max_depth)
        return _members(decoded)


def read_elements(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> list[str]:
    """Part a JSON array, read as strictly, into the texts of its elements, as they came."""
    decoded = _decode(text)
    with _faults_named(max_depth):
        check_depth(decoded, max_depth=max_depth)
        return _elements(decoded)


def check_depth(text: str, *, max_depth: int = MAX_DEPTH) -> None:
    """Raise `Invalid` if arrays and objects nest deeper than `max_depth`.

    Most texts have fewer brackets than that and are passed after two counts.
    """
    if text.count("{") + text.count("[") <= max_depth:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
                if depth > max_depth:
                    raise Invalid(_too_deep(max_depth))
            case "}" | "]":
                depth -= 1


def storable(text: str) -> bool:
    """Tell whether a text column can hold this: no NUL and no half of a surrogate pair."""
    if text.isascii():
        return "\x00" not in text
    return not any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text)


def _members(text: str) -> dict[str, tuple[Any, str]]:
    opened = _OPEN.match(text)
    if opened is None:
        _DECODER.decode(text)  # names what else may be wrong with it
        raise Invalid("The JSON must be an object.")
    members: dict[str, tuple[Any, str]] = {}
    index = opened.end()
    more = not text.startswith("}", index)
    while more:
        named = _NAME.match(text, index)
        if named is None:
            raise json.JSONDecodeError("Expecting a name in double quotes and ':'", text, index)
        name = _DECODER.decode(named[1]) if "\\" in named[1] else named[1][1:-1]
        if name in members:
            raise Invalid(_twice(name))
        start = named.end()
        value, end = _DECODER.raw_decode(text, start)
        members[name] = (value, text[start:end])
        after = _AFTER.match(text, end)
        if after is None:
            raise json.JSONDecodeError("Expecting ',' or '}'", text, end)
        more = after[1] == ","
        index = after.end() if more else after.start(1)
    ended = _CLOSE.match(text, index)
    if ended is None:
        raise json.JSONDecodeError("Extra data", text, index + 1)
    return members


def _elements(text: str) -> list[str]:
    whole = _DECODER.decode(text)  # so that what follows only has to find the borders
    if not isinstance(whole, list):
        raise Invalid("The JSON must be an array.")
    elements = []
    index = text.index("[") + 1
    for _ in whole:
        start = _past_space(text, index)
        _, end = _DECODER.raw_decode(text, start)
        elements.append(text[start:end])
        index = _past_space(text, end) + 1
    return elements


def _past_space(text: str, index: int) -> int:
    while text[index] in " \t\n\r":
        index += 1
    return index


def _decode(text: bytes | str) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Invalid(
            f"The JSON is not valid UTF-8 at byte {exc.start}: send it as UTF-8."
        ) from exc


@contextmanager
def _faults_named(max_depth: int) -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as exc:
        raise Invalid(
            f"The JSON cannot be read: {exc.msg} at line {exc.lineno}, column {exc.colno}."
        ) from exc
    except RecursionError as exc:
        raise Invalid(_too_deep(max_depth)) from exc
    except ValueError as exc:  # an integer of more than 4,300 digits
        raise Invalid("The JSON holds a number with too many digits.") from exc


def _too_deep(max_depth: int) -> str:
    return f"The JSON nests deeper than {max_depth} levels: flatten it."


def _twice(key: str) -> str:
    return f"The JSON has the key {json.dumps(key[:100])} twice in one object: keep one."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Invalid(_twice(key))
            seen.add(key)
    return result


def _no_constant(name: str) -> Never:
    raise Invalid(f"The JSON holds {name}, which is no JSON value: send null or a number.")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Invalid("The JSON holds a number too large for a double.")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)
