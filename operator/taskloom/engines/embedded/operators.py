"""What JUEL's operators do with values of unlike types, as Camunda's models rely on it.

Values are JSON's, and `datetime`.  Whatever cannot be done raises `ValueError` with the reason.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from taskloom.engines.embedded.iso8601 import format_date

MAX_TEXT = 1_000_000
_LONG = 2**63
_NAMES: Sequence[tuple[type | tuple[type, ...], str]] = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a text"),
    (datetime, "a date"),
    ((list, tuple), "a list"),
)


def is_number(value: Any) -> bool:
    """Tell numbers from the rest; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def name_type(value: Any) -> str:
    """Name a value's type as a modeller knows it."""
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "an object")


def to_text(value: Any) -> str:
    """Write a value into text: nothing for null, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return format_date(value)
    return _float_text(value) if isinstance(value, float) else str(value)


def to_boolean(value: Any) -> bool:
    """Read a truth: null and empty text are false, other text is true only as ``true``."""
    match value:
        case None:
            return False
        case bool():
            return value
        case str():
            return value.lower() == "true"
    raise ValueError(f"{name_type(value)} is neither true nor false")


def to_number(value: Any) -> int | float:
    """Read a number: null and empty text are 0."""
    match value:
        case None | "":
            return 0
        case bool():
            raise ValueError("a boolean is no number")
        case int() | float():
            return value
        case str():
            text = value.strip()
            try:
                number = (
                    int(text) if text.lstrip("+-").isdigit() and text.isascii() else float(text)
                )
            except ValueError:
                raise ValueError(f"the text {value[:80]!r} is no number") from None
            return bounded(number)
    raise ValueError(f"{name_type(value)} is no number")


def bounded(number: float) -> int | float:
    """Refuse numbers that JSON or 64 bits cannot hold."""
    if isinstance(number, int):
        if not -_LONG <= number < _LONG:
            raise ValueError("the number does not fit in 64 bits")
    elif not math.isfinite(number):
        raise ValueError("the number is infinite or undefined")
    return number


def limited(text: str) -> str:
    """Refuse text that has grown out of bounds."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"the text would be longer than {MAX_TEXT:,} characters")
    return text


def equal(left: Any, right: Any) -> bool:
    """Compare as ``==`` does: text with a number as numbers, anything with a boolean as truths."""
    if left is None or right is None:
        return left is right
    if is_number(left) or is_number(right):
        return to_number(left) == to_number(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return to_boolean(left) == to_boolean(right)
    if isinstance(left, str) or isinstance(right, str):
        return to_text(left) == to_text(right)
    return bool(left == right)


def less(left: Any, right: Any) -> bool:
    """Compare as ``<`` does; null is never less nor greater."""
    if left is None or right is None:
        return False
    if is_number(left) or is_number(right):
        return to_number(left) < to_number(right)
    if isinstance(left, str) or isinstance(right, str):
        return to_text(left) < to_text(right)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left < right
    raise ValueError(f"{name_type(left)} and {name_type(right)} have no order")


def less_or_equal(left: Any, right: Any) -> bool:
    """Compare as ``<=`` does; null is equal to null only."""
    if left is None or right is None:
        return left is right
    return not less(right, left)


def divide(left: Any, right: Any) -> float:
    """Divide as ``/`` does: always into a number with a fraction, 5 / 2 = 2.5 and 4 / 2 = 2.0."""
    divisor = float(to_number(right))
    if divisor == 0:
        raise ValueError("division by zero")
    return float(bounded(float(to_number(left)) / divisor))


def remainder(left: Any, right: Any) -> int | float:
    """Take the rest of a division; it has the sign of `left`."""
    dividend, divisor = to_number(left), to_number(right)
    if divisor == 0:
        raise ValueError("division by zero")
    if isinstance(dividend, int) and isinstance(divisor, int):
        return abs(dividend) % abs(divisor) * (-1 if dividend < 0 else 1)
    return math.fmod(dividend, divisor)


def is_empty(value: Any) -> bool:
    """Tell whether there is nothing: null, an empty text, list or object."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and len(value) == 0)


def plain(value: Any) -> Any:
    """Make a value of JSON of it: dates become text."""
    match value:
        case datetime():
            return format_date(value)
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: bounded(to_number(left) + to_number(right)),
    "-": lambda left, right: bounded(to_number(left) - to_number(right)),
    "*": lambda left, right: bounded(to_number(left) * to_number(right)),
    "/": divide,
    "%": remainder,
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": less,
    ">": lambda left, right: less(right, left),
    "<=": less_or_equal,
    ">=": lambda left, right: less_or_equal(right, left),
}


def _float_text(value: float) -> str:
    # as Java prints a double, which is what a text mixed with one shows on Camunda
    exact = Decimal(repr(value))
    if value == 0 or Decimal("1e-3") <= abs(exact) < Decimal("1e7"):
        text = format(exact, "f")
        return text if "." in text else f"{text}.0"
    sign, digits, _ = exact.normalize().as_tuple()
    fraction = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{fraction}E{exact.adjusted()}"
