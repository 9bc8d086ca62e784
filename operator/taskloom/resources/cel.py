"""CEL, the Kubernetes field's expression language, on Google's C++ runtime.

The runtime limits an expression by itself: 32 levels of nesting, 10,000 iterations an evaluation.
What it does not survive is kept from it here: values nested thousands deep (it overflows the
stack and the process dies), integers beyond 64 bits, NUL and lone surrogates in strings.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from taskloom.errors import Invalid

MAX_EXPRESSION = 8192
"""Characters of one expression."""
MAX_DEPTH = 256
"""Levels of lists and maps in a value; the runtime's stack ends at some thousands."""
MAX_VALUES = 100_000
"""Values (scalars, lists and maps) handed to one evaluation."""
MAX_GROWING_TEXT = 65_536
"""Characters handed to an expression that could multiply them by nested comprehensions."""

_POSITION = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_COMPREHENSION = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(")
_CODE = re.compile(r"\s*\[[A-Z_]+\]$")
_INT64 = range(-(2**63), 2**63)
# NUL and lone surrogates travel as characters of a private plane, one for one.
_PRIVATE = 0x10E000
_HOSTILE = re.compile("[\x00\ud800-\udfff]")
_DISGUISED = re.compile(f"[{chr(_PRIVATE)}-{chr(_PRIVATE + 0x800)}]")
_SUSPECT = re.compile(f"{_HOSTILE.pattern}|{_DISGUISED.pattern}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A compiled expression; safe to share and to keep."""

    expression: str
    variables: tuple[str, ...]
    _compiled: Any = field(repr=False, compare=False)
    _reads: Mapping[str, "_Reads"] = field(repr=False, compare=False)
    _grows: bool = field(repr=False, compare=False)

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """Evaluate over JSON values and return a JSON value.

        Raises `Invalid` for what only shows at run time: a missing field, a type that does not
        fit, too many iterations, a result that JSON cannot say.
        """
        intake = _Intake()
        data = {
            name: intake.take(self._reads[name].pick(bindings[name]))
            for name in self.variables
            if name in bindings and name in self._reads
        }
        if self._grows and intake.characters > MAX_GROWING_TEXT:
            raise Invalid(
                f"the value is too large for an expression with several comprehensions and `+`: "
                f"{intake.characters} characters, at most {MAX_GROWING_TEXT}"
            )
        try:
            result = self._compiled.eval(data=data)
            kind = result.type().name()
            value = result.plain_value()
        except (RuntimeError, ValueError, UnicodeError) as error:
            raise Invalid(_runtime_message(str(error))) from error
        if kind == "*error*" or kind.upper() == "ERROR" or result.type() == cel.Type.ERROR:
            raise Invalid(_runtime_message(str(value)))
        return _json_value(value, disguised=intake.disguised)

    def holds(self, bindings: Mapping[str, Any]) -> bool:
        """Evaluate a condition; `Invalid` if it fails or gives anything but true or false."""
        value = self.evaluate(bindings)
        if not isinstance(value, bool):
            raise Invalid(f"the expression gives {_type_name(value)}, not true or false")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a filter let something through; `reason` says why not where an error decided."""

    matched: bool
    reason: str | None = None


def judge(program: Program | None, bindings: Mapping[str, Any]) -> Verdict:
    """Apply a filter: no filter lets all through, a failing one nothing, and says why."""
    if program is None:
        return Verdict(matched=True)
    try:
        return Verdict(matched=program.holds(bindings))
    except Invalid as error:
        return Verdict(matched=False, reason=error.message)


@lru_cache(maxsize=4096)
def compile_expression(expression: str, variables: tuple[str, ...]) -> Program:
    """Compile `expression`, which may use `variables`; the same call returns the same program.

    Raises `Invalid` that names the expression, the line and the column.
    """
    shown = expression if len(expression) <= 80 else expression[:77] + "..."
    if len(expression) > MAX_EXPRESSION:
        raise Invalid(
            f"expression `{shown}` is too long: "
            f"{len(expression)} characters, at most {MAX_EXPRESSION}"
        )
    if _HOSTILE.search(expression):
        raise Invalid("the expression holds a NUL character or half of a surrogate pair")
    try:
        compiled = _environment(variables).compile(expression)
    except RuntimeError as error:
        raise Invalid(f"expression `{shown}`: {_compile_message(str(error))}") from error
    reads = {name: _reads(expression, name) for name in variables}
    return Program(
        expression=expression,
        variables=variables,
        _compiled=compiled,
        _reads={name: found for name, found in reads.items() if found is not None},
        _grows="+" in expression and len(_COMPREHENSION.findall(expression)) > 1,
    )


@lru_cache(maxsize=64)
def _environment(variables: tuple[str, ...]) -> Any:
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


@dataclass(frozen=True, slots=True)
class _Reads:
    """Which parts of a variable an expression can read: never less than it does.

    Converting a large payload costs far more than a filter on one field of it.
    `fields` None means all; a field's own None means all of that field.
    """

    fields: Mapping[str, frozenset[str] | None] | None

    def pick(self, value: Any) -> Any:
        if self.fields is None or not isinstance(value, Mapping):
            return value
        return {
            name: _pick_fields(value[name], wanted)
            for name, wanted in self.fields.items()
            if name in value
        }


def _pick_fields(value: Any, wanted: frozenset[str] | None) -> Any:
    if wanted is None or not isinstance(value, Mapping):
        return value
    return {name: value[name] for name in wanted if name in value}


def _reads(expression: str, variable: str) -> _Reads | None:
    """Find `variable`, `variable.field` and `variable.field.field` in the text of an expression.

    A match inside a string literal only widens the answer, so literals need no parsing.
    """
    select = r"\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\()"
    fields: dict[str, frozenset[str] | None] = {}
    found = False
    for match in re.finditer(rf"\b{re.escape(variable)}\b(?:{select})?(?:{select})?", expression):
        found = True
        first, second = match.group(1), match.group(2)
        if first is None:
            return _Reads(None)
        before = fields.get(first, frozenset())
        fields[first] = None if second is None or before is None else before | {second}
    return _Reads(fields) if found else None


class _Intake:
    """Copies JSON values into what the runtime can take, counting as it goes."""

    __slots__ = ("characters", "disguised", "private", "values")

    def __init__(self) -> None:
        self.characters = 0
        self.disguised = False
        self.private = False
        self.values = 0

    def take(self, value: Any, depth: int = 0) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            raise Invalid(f"the value is too large for an expression: more than {MAX_VALUES} parts")
        if depth > MAX_DEPTH:
            raise Invalid(f"the value is nested deeper than {MAX_DEPTH} levels")
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return value if value in _INT64 else _as_double(value)
        if isinstance(value, Mapping):
            return {self._text(str(k)): self.take(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.take(item, depth + 1) for item in value]
        raise Invalid(f"an expression cannot read a value of type {type(value).__name__}")

    def _text(self, text: str) -> str:
        self.characters += len(text)
        if not _SUSPECT.search(text):
            return text
        self.private = self.private or _DISGUISED.search(text) is not None
        self.disguised = self.disguised or _HOSTILE.search(text) is not None
        if self.private and self.disguised:
            raise Invalid(
                "the value holds NUL or half of a surrogate pair, "
                "and private characters U+10E000 to U+10E800: an expression cannot read both"
            )
        return _HOSTILE.sub(_disguise, text)


def _disguise(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(_PRIVATE + (code - 0xD800 if code else 0x800))


def _reveal(match: re.Match[str]) -> str:
    offset = ord(match.group()) - _PRIVATE
    return "\x00" if offset == 0x800 else chr(0xD800 + offset)


def _as_double(value: int) -> float:
    """Read an integer beyond 64 bits as JSON's readers in Go and JavaScript do."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _json_value(value: Any, *, disguised: bool) -> Any:
    """Turn a result into JSON."""
    if isinstance(value, str):
        return _DISGUISED.sub(_reveal, value) if disguised else value
    if isinstance(value, dict):
        return {
            _key(key, disguised=disguised): _json_value(item, disguised=disguised)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json_value(item, disguised=disguised) for item in value]
    return _json_scalar(value)


def _json_scalar(value: Any) -> Any:
    """Write timestamps, durations and bytes as protobuf's JSON does."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"the expression gives {value}, which JSON cannot say")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
    raise Invalid(f"the expression gives a value of type {type(value).__name__}, not JSON")


def _key(key: Any, *, disguised: bool) -> str:
    text = key if isinstance(key, str) else json.dumps(key)
    return _DISGUISED.sub(_reveal, text) if disguised else text


def _type_name(value: Any) -> str:
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "a map"}
    return "null" if value is None else names[type(value)]


def _compile_message(text: str) -> str:
    match = _POSITION.search(text)
    if match is None:
        return _runtime_message(text)
    line, column, what = match.groups()
    what = re.sub(r"\s*\(in container ''\)", "", _CODE.sub("", what))
    what = what.partition(", expecting ")[0].partition(" expecting {")[0]
    if int(line) < 1:
        return what
    return f"line {line}, column {column}: {what}"


def _runtime_message(text: str) -> str:
    """Drop the runtime's status code: `NOT_FOUND: Key not found in map : "x"`."""
    text = _CODE.sub("", text)
    head, colon, rest = text.partition(": ")
    if colon and head.isupper():
        text = rest
    return text.replace('Key not found in map : "', 'no such field: "')
