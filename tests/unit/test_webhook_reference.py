"""The reference of webhooks says what the code does."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from taskloom.domain.retry import CLUSTER, STANDARD, Schedule

PAGE = (Path(__file__).parents[2] / "docs/reference/webhooks.md").read_text()
UNITS = {"s": 1, "m": 60, "h": 3600}


def read_delays(text: str) -> list[timedelta]:
    """Read delays as the page writes them: `0s, 5m, then 1h 23 times`."""
    delays: list[timedelta] = []
    for number, unit, times in re.findall(r"(\d+)([smh])(?: (\d+) times)?", text):
        delays += [timedelta(seconds=int(number) * UNITS[unit])] * int(times or 1)
    return delays


@pytest.mark.parametrize(("name", "schedule"), [("cluster", CLUSTER), ("standard", STANDARD)])
def test_the_page_lists_the_schedules(name: str, schedule: Schedule) -> None:
    """The table of schedules is the data."""
    [row] = re.findall(rf"^\| {name} \|.*\| (.*) \|$", PAGE, re.MULTILINE)

    assert list(schedule.delays) == read_delays(row)


def test_the_page_names_every_header_of_ours() -> None:
    """No header is sent that the page does not explain."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-attempt", "webhook-signature"):
        assert f"| `{name}` |" in PAGE
    for name in ("x-task-timestamp", "x-task-signature", "traceparent"):
        assert f"| `{name}` |" in PAGE
