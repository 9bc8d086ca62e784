"""Pieces of styled text: states, times, short JSON."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from taskloom.cli.console import printable

_STYLES = {
    **dict.fromkeys(("done", "delivered", "completed", "True", "ok", "genuine"), "green"),
    **dict.fromkeys(("ready", "pending", "active", "in progress", "Unknown", "failed"), "yellow"),
    **dict.fromkeys(("dead", "False", "error", "refused", "wrong", "incident"), "red"),
}


def styled(state: str) -> Text:
    """Colour a state by what it means."""
    return Text(printable(state), _STYLES.get(state, ""))


def short_json(value: Any, longest: int = 100) -> str:
    """Print a JSON value on one line, cut where it becomes too long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def read_instant(text: str) -> datetime:
    """Read an instant as the API writes it."""
    return datetime.fromisoformat(text)


def age(since: str, now: datetime) -> str:
    """Say how long ago something was, in the largest unit that says enough."""
    seconds = int((now.astimezone(UTC) - read_instant(since)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def span(length: timedelta) -> str:
    """Write a span of time: 12 ms, 3.40 s, 2 min 5 s."""
    milliseconds = round(length.total_seconds() * 1000)
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.2f} s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes} min {seconds} s"
