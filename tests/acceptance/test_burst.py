"""Many events at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom

Serve = Callable[[Path], Awaitable[tuple[ServedTaskloom, httpx.AsyncClient]]]
EVENTS = 200
SECONDS = 10.0


@pytest.mark.slow
async def test_two_hundred_events_at_once_are_told_within_ten_seconds(
    serve: Serve, files: Path, receiver: Receiver
) -> None:
    """Every post is answered, and a webhook comes for each event."""
    _, client = await serve(files)
    events = [
        {"key": "crash.test", "payload": {"number": number}, "source": "test"}
        for number in range(EVENTS)
    ]
    started = time.monotonic()

    answers = await asyncio.gather(*(client.post("/events/trigger", json=e) for e in events))
    await receiver.wait_for(EVENTS, seconds=60)
    elapsed = time.monotonic() - started

    assert {204} == {answer.status_code for answer in answers}
    assert EVENTS == len(receiver.webhooks)
    assert elapsed < SECONDS
