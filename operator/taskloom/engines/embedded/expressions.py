"""Expressions: text with ``${…}`` in it, a whitelisted subset of JUEL.

Parsed once, at deployment, into nested closures; there is no way from here to Python's own names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from taskloom.engines.embedded.grammar import ExpressionError, parse_pieces
from taskloom.engines.embedded.operators import limited, plain, to_text

__all__ = ["Expression", "ExpressionError", "Scope", "parse_expression"]


class Scope(Protocol):
    """Where an expression is evaluated: one activity of one instance, at one moment."""

    @property
    def now(self) -> datetime:
        """The moment."""
        ...

    @property
    def properties(self) -> dict[str, Any]:
        """What ``execution.…`` gives: processInstanceId, processBusinessKey, …."""
        ...

    def find(self, name: str) -> tuple[bool, Any]:
        """Look a variable up through the scopes: whether it is there, and its value."""
        ...


Evaluate = Callable[[Scope], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed text; `literal` tells that it holds no ``${…}``."""

    source: str
    pieces: tuple[str | Evaluate, ...] = field(repr=False, compare=False)

    @property
    def literal(self) -> str | None:
        """The text itself, if nothing in it needs evaluation."""
        match self.pieces:
            case ():
                return ""
            case (str() as text,):
                return text
        return None

    def evaluate(self, scope: Scope) -> Any:
        """Give the value, a value of JSON; raises `ExpressionError` saying why it has none."""
        try:
            if len(self.pieces) == 1:
                piece = self.pieces[0]
                return piece if isinstance(piece, str) else plain(piece(scope))
            return limited(
                "".join(
                    piece if isinstance(piece, str) else to_text(piece(scope))
                    for piece in self.pieces
                )
            )
        except ValueError as exc:
            raise ExpressionError(f"{self.source[:200]}: {exc}") from exc

    def evaluate_condition(self, scope: Scope) -> bool:
        """Give the truth of a condition; anything but true and false is an error."""
        value = self.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionError(f"{self.source[:200]}: a condition must be true or false")
        return value


def parse_expression(text: str) -> Expression:
    """Parse a text with ``${…}``; raises `ExpressionError` for what lies outside the subset."""
    text = text.strip()
    return Expression(text, parse_pieces(text))
