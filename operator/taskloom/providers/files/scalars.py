"""Scalars of YAML as kubectl reads them: by the rules of go-yaml 2, then as JSON.

``on`` and ``no`` are booleans, ``010`` is eight, ``1e3`` a thousand,
a date is a string, and so is ``1:30``.
"""

import base64
import binascii
import math
import re

Scalar = None | bool | int | float | str

_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOTTED = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_PREFIX = "tag:yaml.org,2002:"
_RESOLVED = frozenset({"bool", "int", "float", "null", "timestamp"})
_INT64 = range(-(2**63), 2**63)


class ScalarError(ValueError):
    """A scalar that JSON cannot say or that its tag does not fit; the message says which."""


def resolve(text: str, tag: str | None, *, plain: bool) -> Scalar:
    """Give the JSON value of a scalar."""
    short = (tag or "").removeprefix(_PREFIX)
    if tag is None:
        return _plain(text)[1] if plain else text
    if short == "binary":
        return _binary(text)
    if short not in _RESOLVED:
        return text
    kind, value = _plain(text)
    if short == "float" and kind in ("int", "float"):
        return value
    if short == "timestamp" and kind == "str" and _TIMESTAMP.fullmatch(text):
        return value
    if short != kind:
        raise ScalarError(f"cannot read `{text[:40]}` as a {short}")
    return value


def is_merge(text: str, tag: str | None, *, plain: bool) -> bool:
    """Tell whether a key merges another map into its own."""
    return text == "<<" and ((plain and tag is None) or tag == f"{_PREFIX}merge")


def key_text(value: Scalar) -> str:
    """Spell a key as JSON needs it; raises `ScalarError` for null."""
    if value is None:
        raise ScalarError("a map's key must not be null; put it in quotes if a text is meant")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _plain(text: str) -> tuple[str, Scalar]:
    if text in _NULL:
        return "null", None
    if text in _TRUE:
        return "bool", True
    if text in _FALSE:
        return "bool", False
    if _INFINITE.fullmatch(text):
        raise ScalarError(f"`{text}` is no number that JSON can say; put it in quotes")
    if text[0] == "." and _DOTTED.fullmatch(text.replace("_", "")) and text[1] != "_":
        return _float(text, text.replace("_", ""))
    if text[0] in "+-0123456789":
        return _number(text)
    return "str", text


def _number(text: str) -> tuple[str, Scalar]:
    bare = text.replace("_", "")
    match = _INTEGER.fullmatch(bare)
    if match is not None:
        sign, hexadecimal, binary, octal, decimal = match.groups()
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)):
            if digits is not None:
                value = int(digits, base) if base != 10 or len(digits) < 400 else 2**64
                value = -value if sign == "-" else value
                if value in _INT64:
                    return "int", value
                if 0 <= value < 2**64 and sign != "+":
                    return "int", float(value)
    if _FLOAT.fullmatch(bare):
        return _float(text, bare)
    return "str", text


def _float(text: str, bare: str) -> tuple[str, Scalar]:
    """Read a float; one too large stays a text, a whole one becomes an integer as in JSON."""
    value = float(bare)
    if math.isinf(value):
        return "str", text
    if value.is_integer() and int(value) in _INT64:
        return "float", int(value)
    return "float", value


def _binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.splitlines()), validate=True).decode(
            "utf-8", "replace"
        )
    except binascii.Error as error:
        raise ScalarError("a !!binary value is not valid base64") from error
