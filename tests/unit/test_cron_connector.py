"""The connector of kind cron, by a clock that is set by hand."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskloom.connectors.cron import LONGEST_PAUSE, Cron, position, read_position
from taskloom.domain.sources import EventSource
from taskloom.errors import Invalid, Unavailable
from taskloom.testing.connectors import FakeContext, source_row

TEN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def nightly(**more: Any) -> EventSource:
    """Write a source that sends every quarter of an hour."""
    return source_row({"cron": {"schedule": "*/15 * * * *", **more}}, name="nightly")


async def run(context: FakeContext, pauses: int) -> list[str | None]:
    """Run until it has paused so often; give the scheduled times sent."""
    context.most_pauses = context.pauses + pauses
    context.stopping = False
    await Cron().run(context)
    return [message.idempotency_key for message in context.kept]


def paused(minutes: int) -> int:
    """Tell how many pauses make so many minutes."""
    return int(minutes * 60 / LONGEST_PAUSE)


async def test_an_event_is_sent_at_every_scheduled_time_from_now_on() -> None:
    """Ten o'clock itself was before the source began."""
    context = FakeContext(nightly())

    sent = await run(context, paused(46))

    assert ["2026-11-24T10:15:00Z", "2026-11-24T10:30:00Z", "2026-11-24T10:45:00Z"] == sent
    assert [("connected", "")] == context.told


async def test_the_event_says_when_and_by_which_schedule() -> None:
    """Without a payload it is the time; the key is the source's name."""
    context = FakeContext(nightly(timeZone="Europe/Berlin"))

    await run(context, paused(16))

    [message] = context.kept
    assert {
        "key": "nightly",
        "payload": {"scheduledTime": "2026-11-24T10:15:00Z"},
        "source": "cron",
        "description": "*/15 * * * * Europe/Berlin",
    } == json.loads(message.body or b"")
    assert {"scheduled-time": "2026-11-24T10:15:00Z"} == message.headers


async def test_a_payload_is_sent_as_it_is_written() -> None:
    """Nothing is put into it; in the format JSON it is all there is."""
    payload = {"kind": "nightly", "note": None}
    context = FakeContext(nightly(payload=payload))
    plain = FakeContext(
        source_row(
            {
                "cron": {"schedule": "*/15 * * * *", "payload": payload},
                "format": {"type": "JSON", "key": {"literal": "k"}},
            }
        )
    )

    await run(context, paused(16))
    await run(plain, paused(16))

    assert payload == json.loads(context.kept[0].body or b"")["payload"]
    assert payload == json.loads(plain.kept[0].body or b"")


async def test_only_the_last_missed_time_is_made_up_for() -> None:
    """Three hours without anybody to run it: one event, and then as ever."""
    context = FakeContext(nightly())
    await run(context, paused(1))
    context.time += timedelta(hours=3)

    sent = await run(context, paused(15))

    assert ["2026-11-24T13:00:00Z", "2026-11-24T13:15:00Z"] == sent


async def test_nothing_missed_is_nothing_made_up_for() -> None:
    """A restart between two times sends nothing."""
    context = FakeContext(nightly())
    await run(context, paused(16))
    context.time += timedelta(minutes=5)

    sent = await run(context, paused(1))

    assert ["2026-11-24T10:15:00Z"] == sent


async def test_a_changed_schedule_begins_at_once_and_anew() -> None:
    """What the new one would have sent before it was there is not missed."""
    context = FakeContext(nightly())
    await run(context, paused(1))
    context.time += timedelta(hours=3, minutes=10)
    context.source = source_row({"cron": {"schedule": "0 * * * *"}}, name="nightly")

    sent = await run(context, paused(60))

    assert ["2026-11-24T14:00:00Z"] == sent


async def test_an_event_that_could_not_be_stored_is_sent_at_the_next_run() -> None:
    """A run ends with the error, and the position stays before that time."""
    context = FakeContext(nightly(), failures=[Unavailable()])
    with pytest.raises(Unavailable):
        await run(context, paused(16))

    sent = await run(context, paused(1))

    assert ["2026-11-24T10:15:00Z"] == sent


async def test_a_position_that_was_not_kept_leads_to_the_same_key_again() -> None:
    """Killed between event and position, it sends the same once more: a duplicate."""
    context = FakeContext(nightly())
    await run(context, paused(1))
    before = context.at
    await run(context, paused(15))
    context.at = before

    sent = await run(context, 1)

    assert ["2026-11-24T10:15:00Z"] == sent


async def test_a_clock_that_is_put_back_sends_nothing_twice() -> None:
    """The last time sent counts, not the clock."""
    context = FakeContext(nightly())
    await run(context, paused(31))
    context.time -= timedelta(hours=1)

    sent = await run(context, paused(80))

    assert [
        "2026-11-24T10:15:00Z",
        "2026-11-24T10:30:00Z",
        "2026-11-24T10:45:00Z",
    ] == sent


def test_a_position_is_read_as_it_was_written() -> None:
    """Of another schedule or zone it is none."""
    cron = {"schedule": "* * * * *", "timeZone": "Etc/UTC"}
    kept = position(cron, TEN)

    assert TEN == read_position(kept, cron)
    assert read_position(kept, {**cron, "timeZone": "Europe/Berlin"}) is None
    assert read_position(None, cron) is None
    with pytest.raises(Invalid):
        read_position('["* * * * *", "Etc/UTC", "2026-11-24T10:00:00"]', cron)
