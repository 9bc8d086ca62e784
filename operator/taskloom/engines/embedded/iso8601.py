"""Dates, durations and cycles as ISO 8601 writes them and as timers in BPMN use them."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(
    r"(?P<sign>-)?P(?!$)"
    r"(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?"
    r"(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?!$)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,9}(?:[.,]\d{1,9})?)S)?)?",
    re.ASCII,
)
_DATE = re.compile(
    r"\d{4}-?\d\d-?\d\d(?:T\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_CYCLE = re.compile(r"R(\d{0,9})/(.+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A length of time: whole months by the calendar, the rest exact."""

    months: int
    exact: timedelta

    def after(self, moment: datetime) -> datetime:
        """Give the time this long after `moment`; raises `ValueError` beyond the calendar.

        A day that its month lacks becomes the month's last.
        """
        try:
            if self.months:
                months = moment.year * 12 + moment.month - 1 + self.months
                year, month = months // 12, months % 12 + 1
                day = min(moment.day, calendar.monthrange(year, month)[1])
                moment = moment.replace(year=year, month=month, day=day)
            return moment + self.exact
        except (OverflowError, ValueError) as exc:
            raise ValueError("the time lies outside the years 1 to 9999") from exc

    def before(self, moment: datetime) -> datetime:
        """Give the time this long before `moment`; raises `ValueError` beyond the calendar."""
        return Duration(months=-self.months, exact=-self.exact).after(moment)


def parse_duration(text: str) -> Duration:
    """Read ``P1Y2M3DT4H5M6.7S`` or ``P2W``; raises `ValueError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no ISO 8601 duration: write for example PT5M")
    sign = -1 if match["sign"] else 1
    part = {name: int(match[name] or 0) for name in ("years", "months", "weeks", "days")}
    seconds = float((match["seconds"] or "0").replace(",", "."))
    try:
        exact = timedelta(
            weeks=part["weeks"],
            days=part["days"],
            hours=int(match["hours"] or 0),
            minutes=int(match["minutes"] or 0),
            seconds=seconds,
        )
    except OverflowError as exc:
        raise ValueError(f"{text!r} is too long") from exc
    return Duration(months=sign * (part["years"] * 12 + part["months"]), exact=sign * exact)


def parse_date(text: str) -> datetime:
    """Read a date or a date and time; without a zone it is in UTC; raises `ValueError`."""
    text = text.strip()
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no ISO 8601 date: write for example 2030-01-31T09:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError) as exc:
        raise ValueError(f"{text!r} is no date of the calendar") from exc


def due_after(text: str, now: datetime) -> datetime:
    """Give the end of a duration that begins `now`, or of an interval with one end written out.

    ``PT5M``, ``2030-01-31T09:00/PT5M`` and ``PT5M/2030-01-31T09:00`` (its end) are read;
    raises `ValueError`.
    """
    left, slash, right = text.strip().partition("/")
    if not slash:
        return parse_duration(left).after(now)
    if left.startswith(("P", "-P")):
        return parse_date(right)
    return parse_duration(right).after(parse_date(left))


def first_of_cycle(text: str, now: datetime) -> datetime:
    """Give the next time of a repetition such as ``R3/PT10M`` or ``R/2030-01-31T09:00/P1D``.

    A start that is written out is the first time itself, and the later ones count from it;
    raises `ValueError`, also when the last time is past.
    """
    match = _CYCLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is no ISO 8601 cycle: write for example R3/PT10M"
            " (cron expressions are not supported)"
        )
    if match[1] and int(match[1]) == 0:
        raise ValueError(f"{text!r} repeats zero times")
    left, slash, right = match[2].partition("/")
    if not slash:
        return parse_duration(left).after(now)
    if left.startswith("P"):
        # an interval that ends at a date: its first time is one duration from now, or that end
        return min(parse_duration(left).after(now), parse_date(right))
    times = int(match[1]) if match[1] else None
    return _next(parse_date(left), parse_duration(right), times, now, text)


def written_out(cycle: str, now: datetime) -> str:
    """Give a cycle that is set `now` with its start written out, as `next_of_cycle` needs it."""
    head, _, rest = cycle.strip().partition("/")
    if "/" in rest:
        return cycle.strip()
    return f"{head}/{now.astimezone(UTC).isoformat().replace('+00:00', 'Z')}/{rest}"


def next_of_cycle(cycle: str, now: datetime) -> datetime | None:
    """Give the first time of a written out cycle after `now`; None if there is none any more.

    ``R3/start/PT10M`` has, as on Camunda, the start and three more times; one that was set
    without a start has fired for the first time after one duration.  Raises `ValueError`.
    """
    match = _CYCLE.fullmatch(cycle.strip())
    left, _, right = match[2].partition("/") if match else ("", "", "")
    if match is None or not right:
        raise ValueError(f"{cycle!r} is no cycle with its start")
    if left.startswith("P"):
        every, last = parse_duration(left), parse_date(right)
        following = every.after(now)
        return following if following <= last else None
    start, every = parse_date(left), parse_duration(right)
    times = int(match[1]) if match[1] else None
    count = 1
    if not every.months and every.exact > timedelta(0):
        count = max(1, (now - start) // every.exact)
    while times is None or count <= times:
        step = Duration(months=count * every.months, exact=count * every.exact)
        moment = step.after(start)
        if moment > now:
            return moment
        if moment <= start:
            raise ValueError(f"{cycle!r} repeats without time between")
        count += 1
    return None


def _next(
    start: datetime, every: Duration, times: int | None, now: datetime, text: str
) -> datetime:
    if start >= now:
        return start
    if not every.months:
        if every.exact <= timedelta(0):
            raise ValueError(f"{text!r} repeats without time between")
        count = -((start - now) // every.exact)
        if times is not None and count > times:
            raise ValueError(f"{text!r} has its last time in the past")
        return start + count * every.exact
    for count in range(1, times + 1 if times is not None else 12 * 9999):
        step = Duration(months=count * every.months, exact=count * every.exact)
        if (moment := step.after(start)) >= now:
            return moment
    raise ValueError(f"{text!r} has its last time in the past")


def format_date(moment: datetime) -> str:
    """Write a moment in UTC, to the millisecond only where it has any: ``2030-01-31T09:00:00Z``."""
    moment = moment.astimezone(UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
