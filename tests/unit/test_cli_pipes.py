"""A broker's console clients beside the story."""

import pytest

from taskloom.cli.pipes import reading_by, send_by
from taskloom.errors import Permanent


async def test_a_program_is_given_the_event_as_one_line() -> None:
    """So that a console producer sends one message."""
    await send_by(
        """sh -c 'test "$(cat)" = "{\\"key\\":\\"k\\",\\"payload\\":{}}"'""",
        {"key": "k", "payload": {}},
    )


async def test_a_program_that_fails_is_told_with_its_words() -> None:
    """Whoever runs the story sees why."""
    with pytest.raises(Permanent, match="`sh` did not send the event: no broker"):
        await send_by("sh -c 'cat >/dev/null; echo no broker; exit 3'", {})


async def test_a_program_that_is_not_there_is_told() -> None:
    """By its name."""
    with pytest.raises(Permanent, match="`no-such-program` cannot be run"):
        await send_by("no-such-program --now", {})


async def test_what_a_program_prints_is_waited_for() -> None:
    """Lines that are no JSON objects are its own words."""
    lines = r'echo warning; echo 7; echo "{\"key\":\"told\",\"payload\":{\"id\":7}}"; sleep 60'
    async with reading_by(f"sh -c '{lines}'") as readings:
        await readings.find("told", lambda payload: bool(payload["id"] == 7), 5)

        with pytest.raises(Permanent, match="`sh` read no told within 0 seconds"):
            await readings.find("told", lambda payload: bool(payload["id"] == 8), 0.1)
