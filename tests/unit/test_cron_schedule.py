"""When schedules come."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.errors import Invalid
from taskloom.resources.cron import read_schedule

ZONES = ["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]


def utc(text: str) -> datetime:
    """Read a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: str, zone: str, start: str, count: int) -> list[str]:
    """Give the next times of a schedule as the clock on the wall shows them."""
    read, moment, found = read_schedule(schedule, zone), utc(start), []
    for _ in range(count):
        moment = read.after(moment)
        found.append(moment.astimezone(read.zone).isoformat())
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("*/15 * * * *", "2026-11-24T10:15"),
        ("30 2 * * 1-5", "2026-11-25T02:30"),
        ("0 0 1 * *", "2026-12-01T00:00"),
        ("0 9 * * mon", "2026-11-30T09:00"),
        ("0 9 * * 7", "2026-11-29T09:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("@hourly", "2026-11-24T11:00"),
        ("@daily", "2026-11-25T00:00"),
        ("@WEEKLY", "2026-11-29T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("  0   12  *  *  * ", "2026-11-24T12:00"),
    ],
)
def test_a_schedule_comes_at_its_next_time(schedule: str, expected: str) -> None:
    """Five fields, names of days, and the usual shorthands are read."""
    assert utc(expected) == read_schedule(schedule, "Etc/UTC").after(utc("2026-11-24T10:00"))


def test_what_falls_into_the_hour_left_out_comes_right_after_it() -> None:
    """Half past two does not exist on that day in Berlin: it comes at three."""
    assert [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ] == times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", 3)


def test_two_times_that_become_one_come_once() -> None:
    """Two o'clock is moved to three, where three is: one event."""
    assert ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"] == times(
        "0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00", 2
    )


def test_what_comes_twice_on_the_wall_comes_once() -> None:
    """Half past two is there twice on that day in Berlin: the first counts."""
    assert [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ] == times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2)


@pytest.mark.parametrize("start", ["2026-10-25T00:45", "2026-10-25T01:15"])
def test_nothing_comes_again_for_one_who_begins_in_the_repeated_hour(start: str) -> None:
    """Whoever looks between the two half past two, or in the second hour, is not sent back."""
    assert ["2026-10-26T02:30:00+01:00"] == times("30 2 * * *", "Europe/Berlin", start, 1)


def test_an_hourly_schedule_goes_by_time_that_passes() -> None:
    """The hour that is there twice has two events, the one left out none."""
    assert ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"] == times(
        "30 * * * *", "Europe/Berlin", "2026-10-25T00:00", 2
    )
    assert ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"] == times(
        "30 * * * *", "Europe/Berlin", "2026-03-29T00:00", 2
    )


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "a b c d e",
        "²L * * * *",
        "* * * * L",
        "0 0 30 2 *",
        "0 0 */31 * MON#5",
        "@reboot",
        "@never",
    ],
)
def test_what_is_no_schedule_or_never_comes_is_refused(schedule: str) -> None:
    """The error names the field."""
    with pytest.raises(Invalid) as refused:
        read_schedule(schedule, "Etc/UTC")

    assert "schedule" == refused.value.field


@pytest.mark.parametrize("zone", ["", "Nowhere", "Europe", "../etc/passwd", "/etc/passwd", "a\x00"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    """The error names the field, whatever the name leads to."""
    with pytest.raises(Invalid) as refused:
        read_schedule("* * * * *", zone)

    assert "timeZone" == refused.value.field


def test_the_last_missed_time_is_found_however_long_ago() -> None:
    """A minute, a day, or years: always the last one, and none before the moment given."""
    until = utc("2026-11-24T10:00:30")

    assert utc("2026-11-24T10:00") == read_schedule("* * * * *", "Etc/UTC").last(
        utc("2019-01-01"), until
    )
    assert utc("2024-02-29") == read_schedule("0 0 29 2 *", "Etc/UTC").last(
        utc("2019-01-01"), until
    )
    assert read_schedule("0 0 29 2 *", "Etc/UTC").last(utc("2024-02-29"), until) is None


@settings(deadline=None, max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    schedule=st.sampled_from(
        ["30 2 * * *", "*/20 1,2 * * *", "15 * * * *", "0 0 * * *", "5 2-3 * * 0", "59 23 L * *"]
    ),
    start=st.timedeltas(timedelta(0), timedelta(days=270)),
    days=st.integers(0, 40),
)
def test_the_last_time_is_the_last_of_those_that_come(
    zone: str, schedule: str, start: timedelta, days: int
) -> None:
    """Looking back finds what going forward does, and times only ever go forward."""
    read, after = read_schedule(schedule, zone), utc("2026-03-01") + start
    until = after + timedelta(days=days)
    expected, moment = None, read.after(after)
    while moment <= until:
        assert expected is None or moment > expected
        expected, moment = moment, read.after(moment)

    assert expected == read.last(after, until)
