"""Columns that hold what cannot be read: sealed with a lost key, or changed by hand.

Whoever compares rows with what is declared reads them so: one that cannot be read is then one that
differs, and is written anew.  Whoever works with a row must be refused instead.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target
from taskloom.errors import Permanent

T = TypeVar("T")

UNREADABLE = "(unreadable)"
"""Stands for what cannot be read; nothing that is declared is equal to it."""
NO_SECRETS = {UNREADABLE: Secret("")}
NO_TARGET = Target(url=Secret(""))

_CAUSES = (Permanent, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError)


def read_or(otherwise: T, read: Callable[[], T]) -> T:
    """Give what `read` reads, or `otherwise` if that cannot be read."""
    try:
        return read()
    except _CAUSES:
        return otherwise
