"""A text that must not be seen."""

import hmac
from typing import Final, NoReturn, final


@final
class Secret:
    """A secret text: it prints as ``***``, compares in constant time and is not pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """Give the text itself, for the one call that needs it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_to_bytes(self._text), _to_bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: pass the object itself")


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
