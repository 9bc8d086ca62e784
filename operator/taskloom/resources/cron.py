"""Schedules in cron's five fields, as the package cronsim reads them: Debian cron's rules.

Where clocks are put forward, what falls into the hour that is left out comes right after it;
where they are put back, what has a fixed time comes once, the first time around.  Schedules that
come every hour or oftener (a star in minutes or hours) go by time that passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from taskloom.errors import Invalid

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# How far back to look for the last time, step by step: a step costs as many times as lie in it.
_LOOKS_BACK = (
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=32),
    timedelta(days=366),
    timedelta(days=366 * 30),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule:
    """When a schedule comes, as moments in UTC."""

    fields: str
    zone: ZoneInfo = field(repr=False)

    def after(self, moment: datetime) -> datetime:
        """Give the first time after a moment; `Invalid` if none comes in fifty years."""
        for time in self._times(moment):
            return time
        raise Invalid(f"`{self.fields}` never comes.")

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """Give the last time that is after a moment and not after another; None if none is."""
        for span in _LOOKS_BACK:
            start = max(after, until - span)
            found = None
            for time in self._times(start):
                if time > until:
                    break
                found = time
            if found is not None or start == after:
                return found
        return None

    def _times(self, moment: datetime) -> Iterator[datetime]:
        times = CronSim(self.fields, moment.astimezone(self.zone))
        latest = moment
        for local in times:
            time = local.astimezone(UTC)
            # Around a change of clocks it may go back over an hour that has passed.
            if time > latest:
                latest = time
                yield time


def read_schedule(text: str, time_zone: str) -> CronSchedule:
    """Read a schedule of five fields or a shorthand as ``@daily``, in a time zone by its name.

    Raises `Invalid`, its field `schedule` or `timeZone`, for what is none or never comes.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, OSError, LookupError):
        # A name may also lead out of the folder of zones, or to something that is no zone.
        raise Invalid(
            f"`{time_zone}` is no time zone: name one as Europe/Berlin or Etc/UTC.",
            field="timeZone",
        ) from None
    fields = _SHORTHANDS.get(text.strip().lower(), text)
    if len(fields.split()) != 5:
        raise Invalid(
            f"`{text}` is no schedule: write minute, hour, day of month, month and day of week, "
            f"or one of {', '.join(sorted(_SHORTHANDS))}.",
            field="schedule",
        )
    schedule = CronSchedule(fields=" ".join(fields.split()), zone=zone)
    try:
        schedule.after(datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise Invalid(f"`{text}` is no schedule: {error}.", field="schedule") from error
    except Invalid as error:
        raise Invalid(error.message, field="schedule") from error
    return schedule
