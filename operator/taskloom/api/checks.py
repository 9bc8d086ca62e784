"""Checks for /readyz that need more than a ping."""

from collections.abc import Awaitable, Callable, Sequence

from taskloom.api.services import Check
from taskloom.errors import Unavailable


def migrated(pending: Callable[[], Awaitable[Sequence[str]]]) -> Check:
    """Check that no branch of the migrations is `pending`; once that is so, ask no more."""
    done = False

    async def check() -> None:
        nonlocal done
        if done:
            return
        branches = await pending()
        if branches:
            raise Unavailable(
                f"The migrations of {', '.join(branches)} have not been run: taskloom migrate."
            )
        done = True

    return check
