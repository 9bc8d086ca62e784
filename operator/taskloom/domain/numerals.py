"""Numbers as ECMAScript reads and prints them, and which ones lose digits by it."""

import math
from typing import Self

_LARGEST_EXACT_INTEGER = 2**53
_DIGITS_OF_LARGEST_DOUBLE = 309
_SURELY_EXACT_LENGTH = 16  # fifteen digits and a point always survive a double


class Numeral(float):
    """A number whose digits a double cannot hold, with the `text` it was written in."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """Take the text of a JSON number."""
        numeral = super().__new__(cls, text)
        numeral.text = text
        return numeral


def read_integer(text: str) -> int | Numeral:
    """Read a JSON number without fraction and exponent, of any length."""
    return int(text) if len(text) <= _DIGITS_OF_LARGEST_DOUBLE else Numeral(text)


def read_real(text: str) -> float:
    """Read a JSON number with a fraction or an exponent."""
    value = float(text)
    if len(text) <= _SURELY_EXACT_LENGTH and "e" not in text and "E" not in text:
        return value
    return value if _is_same_decimal(text, print_double(value)) else Numeral(text)


def print_double(value: float) -> str:
    """Print a double as ECMAScript's Number::toString does; infinities and NaN become null."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    # Both languages choose the shortest digits that read back; only the notation differs.
    text = float.__repr__(value)
    mantissa, _, exponent_text = text.partition("e")
    if not exponent_text:
        return text.removesuffix(".0")
    exponent = int(exponent_text)
    sign = "-" if value < 0 else ""
    digits = mantissa.lstrip("-").replace(".", "")
    if 0 <= exponent <= 20:
        return sign + digits.ljust(exponent + 1, "0")
    if -6 <= exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{mantissa}e{exponent:+d}"


def print_integer(value: int) -> str:
    """Print an integer as ECMAScript does after reading it as a double."""
    if -_LARGEST_EXACT_INTEGER <= value <= _LARGEST_EXACT_INTEGER:
        return int.__repr__(value)
    try:
        return print_double(float(value))
    except OverflowError:
        return "null"


def loses_digits(value: int | Numeral) -> bool:
    """Tell whether ECMAScript prints another number than was written."""
    if isinstance(value, Numeral):
        return True
    if -_LARGEST_EXACT_INTEGER <= value <= _LARGEST_EXACT_INTEGER:
        return False
    return not _is_same_decimal(str(value), print_integer(value))


def _is_same_decimal(written: str, printed: str) -> bool:
    """Tell whether two numerals are one decimal number (a zero has no sign here)."""
    return printed != "null" and _decimal(written) == _decimal(printed)


def _decimal(text: str) -> tuple[str, int]:
    """Split a numeral's magnitude into its significant digits and their power of ten."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "", 0
    # An exponent of hundreds of digits means infinity or zero: its first ones tell as much.
    power = int(exponent.lstrip("+-0")[:_DIGITS_OF_LARGEST_DOUBLE] or "0")
    scale = -power if exponent.startswith("-") else power
    return significant, scale - len(fraction) + len(digits) - len(significant)
