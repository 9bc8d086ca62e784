"""Spans of time as people write them: 500ms, 90s, 1h30m."""

import re

import typer

from taskloom.resources.fields import parse_duration

_SPAN = re.compile(r"([0-9]{1,9}(ms|s|m|h))+")


def seconds_of(text: str, option: str) -> float:
    """Read a span in seconds; anything else is a usage error of `option`."""
    if not _SPAN.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is no span of time such as 30s, 15m or 24h", param_hint=option
        )
    return parse_duration(text).total_seconds()
