"""Dates, durations and cycles of timers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.engines.embedded.iso8601 import (
    due_after,
    first_of_cycle,
    format_date,
    next_of_cycle,
    parse_date,
    parse_duration,
    written_out,
)

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    """Make a moment in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc] # years to seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT1S", utc(2030, 1, 31, 12, 0, 1)),
        ("PT0.5S", NOW + timedelta(milliseconds=500)),
        ("PT1,5S", NOW + timedelta(milliseconds=1500)),
        ("PT90M", utc(2030, 1, 31, 13, 30)),
        ("P1D", utc(2030, 2, 1, 12)),
        ("P1M", utc(2030, 2, 28, 12)),
        ("P1M1D", utc(2030, 3, 1, 12)),
        ("P1Y2M3DT4H5M6S", utc(2031, 4, 3, 16, 5, 6)),
        ("P2W", utc(2030, 2, 14, 12)),
        ("-PT1H", utc(2030, 1, 31, 11)),
        (" PT1S ", utc(2030, 1, 31, 12, 0, 1)),
        ("2030-02-01T00:00/PT1H", utc(2030, 2, 1, 1)),
        ("PT1H/2030-02-01T00:00", utc(2030, 2, 1)),
        ("PT0S", NOW),
    ],
)
def test_duration_ends_by_the_calendar(text: str, expected: datetime) -> None:
    """Months and years follow the calendar, the rest is exact."""
    assert expected == due_after(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1", "1D", "P1S", "PT1D", "P1.5D", "pt1s", "PT1S x", "P1H", "P-1D",
     "5 minutes", "P9999Y", "PT999999999999H", "P1Y/", "/P1D", "PT٣S"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r".+"):
        due_after(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T09:00:00Z", utc(2030, 1, 31, 9)),
        ("2030-01-31T09:00:00", utc(2030, 1, 31, 9)),
        ("2030-01-31T09:00", utc(2030, 1, 31, 9)),
        ("2030-01-31", utc(2030, 1, 31)),
        ("2030-01-31T09:00:00+02:00", utc(2030, 1, 31, 7)),
        ("2030-01-31T09:00:00.000+0000", utc(2030, 1, 31, 9)),
        ("2030-01-31T09:00:00.123456789Z", utc(2030, 1, 31, 9, 0, 0, 123456)),
        ("20300131T090000Z", utc(2030, 1, 31, 9)),
    ],
)
def test_date_without_zone_is_in_utc(text: str, expected: datetime) -> None:
    """Dates are read with their zone, or in UTC."""
    assert expected == parse_date(text)


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "2030-02-30", "2030-13-01", "2030-1-1", "2030-01-31 09:00", "2030-W01-1",
     "2030-01-31T25:00", "2030-01-31T09:00:00[Europe/Berlin]", "1893456000"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_date(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R3/PT10M", utc(2030, 1, 31, 12, 10)),
        ("R/PT10M", utc(2030, 1, 31, 12, 10)),
        ("R/2030-02-01T00:00/P1D", utc(2030, 2, 1)),
        ("R/2030-01-01T00:00/P1D", utc(2030, 2, 1)),
        ("R40/2030-01-01T00:00/P1D", utc(2030, 2, 1)),
        ("R/2029-12-31T00:00/P1M", utc(2030, 2, 28)),
        ("R3/PT1H/2031-01-01T00:00", utc(2030, 1, 31, 13)),
        ("R3/P10Y/2031-01-01T00:00", utc(2031, 1, 1)),
    ],
)
def test_cycle_gives_its_next_time(text: str, expected: datetime) -> None:
    """An intermediate or interrupting timer fires at the first time that is to come."""
    assert expected == first_of_cycle(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["", "R3", "R3/", "R0/PT1S", "3/PT1S", "0 0 * * * ?", "R/2030-01-01T00:00/PT0S", "Rx/PT1S",
     "R3/2029-01-01T00:00/P1D", "R3/2029-01-01T00:00/P1M", "R/PT1S/PT1S"],
)  # fmt: skip
def test_what_is_no_cycle_to_come_is_refused(text: str) -> None:
    """Anything else, and a cycle that is over, is refused."""
    with pytest.raises(ValueError, match=r".+"):
        first_of_cycle(text, NOW)


@given(st.datetimes(timezones=st.just(UTC)))
def test_written_dates_are_read_back(moment: datetime) -> None:
    """What is written is read as the same millisecond."""
    read = parse_date(format_date(moment))

    assert timedelta(0) <= moment - read < timedelta(milliseconds=1)


@given(
    st.integers(0, 50), st.integers(0, 30), st.integers(0, 100), st.integers(0, 100_000),
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
                 timezones=st.just(UTC)),
)  # fmt: skip
def test_durations_never_go_backwards(
    years: int, months: int, days: int, seconds: int, moment: datetime
) -> None:
    """The end of a duration is not before its beginning, and its exact part is exact."""
    whole = parse_duration(f"P{years}Y{months}M{days}DT{seconds}S")
    exact = parse_duration(f"P{days}DT{seconds}S")

    assert whole.after(moment) >= moment
    assert timedelta(days=days, seconds=seconds) == exact.after(moment) - moment
    assert moment == exact.before(exact.after(moment))


# -- cycles that repeat ----------------------------------------------------------------------


def times_of(cycle: str, *, late: timedelta = timedelta(0)) -> list[datetime]:
    """List the first times of a cycle that is set now, each fired so much too late."""
    written, due = written_out(cycle, NOW), first_of_cycle(cycle, NOW)
    times = [due]
    while len(times) < 5:
        following = next_of_cycle(written, due + late)
        if following is None:
            break
        due = following
        times.append(due)
    return times


@pytest.mark.parametrize(
    ("cycle", "expected"),
    [
        ("R2/PT10M", [utc(2030, 1, 31, 12, 10), utc(2030, 1, 31, 12, 20)]),
        ("R1/PT10M", [utc(2030, 1, 31, 12, 10)]),
        ("R1/2030-02-01T00:00Z/P1D", [utc(2030, 2, 1), utc(2030, 2, 2)]),
        ("R0003/P1M", [utc(2030, 2, 28, 12), utc(2030, 3, 31, 12), utc(2030, 4, 30, 12)]),
        ("R/PT12H/2030-02-01T12:00", [utc(2030, 2, 1), utc(2030, 2, 1, 12)]),
        ("R2/2030-01-31T11:30/PT20M", [utc(2030, 1, 31, 12, 10)]),
    ],
)
def test_cycle_has_its_times(cycle: str, expected: list[datetime]) -> None:
    """So many after the beginning, which counts itself where it is written out; by the calendar."""
    assert expected == times_of(cycle)


def test_cycle_without_end_goes_on() -> None:
    """Without a number there is always a next time."""
    assert 5 == len(times_of("R/PT1S"))


def test_late_cycle_keeps_its_pace() -> None:
    """What has passed meanwhile is not made up for, and counts."""
    late = timedelta(minutes=25)

    assert [utc(2030, 1, 31, 12, 10), utc(2030, 1, 31, 12, 40)] == times_of("R5/PT10M", late=late)


@pytest.mark.parametrize("cycle", ["R/2030-01-31T12:00/PT0S", "R2/2030-01-31T12:00/-PT1S", "PT1S"])
def test_cycle_that_does_not_go_on_is_refused(cycle: str) -> None:
    """It would fire for ever at the same moment, or is none."""
    with pytest.raises(ValueError, match=r"without time between|no cycle"):
        next_of_cycle(cycle, NOW)
