"""Events by the clock.

Each has its scheduled time as its idempotency key, so however many run a schedule, it comes once.
After a time in which nobody ran it only the last one that was missed is made up for.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from taskloom.domain.sources import EventSource, object_of
from taskloom.errors import Invalid
from taskloom.ports.connector import ConnectorContext, Incoming
from taskloom.resources.cron import CronSchedule, read_schedule

LONGEST_PAUSE = 30.0
"""Seconds: a clock that is set anew is noticed after so long."""


class Cron:
    """Sources of kind cron."""

    kind = "cron"
    exclusive = True

    async def run(self, context: ConnectorContext) -> None:
        """Send an event at every scheduled time."""
        cron = context.source.spec["cron"]
        schedule = read_schedule(cron["schedule"], cron["timeZone"])
        context.connected()
        last = read_position(await context.position(), cron)
        if last is None:
            last = context.now()
            await context.move(position(cron, last))
        while not context.stopping:
            now = context.now()
            due = schedule.last(last, now)
            if due is None:
                pause = (schedule.after(max(last, now)) - now).total_seconds()
                await context.pause(min(pause, LONGEST_PAUSE))
                continue
            await context.ingest([message(context.source, schedule, due)])
            await context.move(position(cron, due))
            last = due


def message(source: EventSource, schedule: CronSchedule, due: datetime) -> Incoming:
    """Write the message of a scheduled time.

    Its payload is the source's, or the time; its key, unless the format says another, the
    source's name.
    """
    time = _written(due)
    payload = source.spec["cron"].get("payload")
    if payload is None:
        payload = {"scheduledTime": time}
    body: Any = payload
    if source.spec["format"]["type"] == "TaskEvent":
        home = object_of(source.managed_by)
        name = str(source.id) if home is None else home[1]
        body = {
            "key": name,
            "payload": payload,
            "source": "cron",
            "description": f"{schedule.fields} {schedule.zone.key}",
        }
    return Incoming(
        body=json.dumps(body).encode(),
        headers={"scheduled-time": time},
        idempotency_key=time,
    )


def position(cron: Mapping[str, Any], last: datetime) -> str:
    """Write how far a schedule has been gone through."""
    return json.dumps([cron["schedule"], cron["timeZone"], last.isoformat()])


def read_position(text: str | None, cron: Mapping[str, Any]) -> datetime | None:
    """Read what `position` wrote; None if there is none of this schedule.

    Another schedule's misses are nobody's: a changed one begins now.
    """
    if text is None:
        return None
    schedule, zone, last = msgspec.json.decode(text, type=tuple[str, str, datetime])
    if (schedule, zone) != (cron["schedule"], cron["timeZone"]):
        return None
    if last.tzinfo is None:
        raise Invalid("A position lacks its time zone.")
    return last


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
