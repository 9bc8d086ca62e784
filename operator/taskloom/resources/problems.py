"""What is wrong with a manifest, field by field, in the API server's words."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One field that is wrong, by its path: ``spec.eventKeys[0]``."""

    field: str
    message: str
    shapeless: bool = False
    """Whether the value is too far from the schema for its rules to be asked."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def describe(problems: Iterable[FieldProblem]) -> str:
    """Put problems into one sentence."""
    return "; ".join(str(problem) for problem in problems)
