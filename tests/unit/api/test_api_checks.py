"""Checks for /readyz."""

import pytest

from taskloom.api.checks import migrated
from taskloom.errors import Unavailable


async def test_a_database_is_ready_once_it_is_migrated() -> None:
    """Pending branches are named; when there are none, it is not asked again."""
    answers: list[list[str]] = [["tasks", "webhooks"], []]
    check = migrated(lambda: _answer(answers))

    with pytest.raises(Unavailable, match="tasks, webhooks"):
        await check()
    await check()
    await check()

    assert answers == []


async def _answer(answers: list[list[str]]) -> list[str]:
    return answers.pop(0)
