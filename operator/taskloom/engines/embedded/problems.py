"""What is wrong with a BPMN file: everything is collected, so that one look mends it."""

from collections.abc import Callable

from taskloom.engines.embedded.expressions import Expression, ExpressionError, parse_expression
from taskloom.errors import Unprocessable

_SHOWN = 50


class Problems:
    """The findings of one reading."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], None] = {}

    def add(self, element_id: str, reason: str) -> None:
        """Note that an element cannot be deployed, and why."""
        self._found[element_id, reason] = None

    def expression(
        self, element_id: str, text: str, check: Callable[[str], object] | None = None
    ) -> Expression:
        """Parse an expression; `check` raises `ValueError` for a literal that cannot be right."""
        try:
            expression = parse_expression(text)
            if check is not None and expression.literal is not None:
                check(expression.literal)
        except (ExpressionError, ValueError) as exc:
            self.add(element_id, str(exc))
            return Expression(text, ("",))
        return expression

    def optional(
        self, element_id: str, text: str | None, check: Callable[[str], object] | None = None
    ) -> Expression | None:
        """Parse an expression that may be missing."""
        return None if text is None else self.expression(element_id, text, check)

    def raise_any(self) -> None:
        """Raise `Unprocessable` naming every element at fault, if there is one."""
        if not self._found:
            return
        lines = [f"{element_id}: {reason}" for element_id, reason in self._found]
        if len(lines) > _SHOWN:
            lines[_SHOWN:] = [f"and {len(lines) - _SHOWN} more"]
        first = next(iter(self._found))[0]
        raise Unprocessable("The BPMN cannot be deployed. " + "; ".join(lines) + ".", field=first)
