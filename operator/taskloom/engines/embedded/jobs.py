"""What is due as a queue: claimed under a lease, fired each in a transaction of its own.

That is timers of instances and of start events, and signals on their way.
One that cannot fire becomes an incident: at once if it never could (an expression fails),
after a few attempts if something else went wrong.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from taskloom.engines.embedded import records
from taskloom.engines.embedded.incidents import open_incident
from taskloom.engines.embedded.iso8601 import next_of_cycle
from taskloom.engines.embedded.state import Fire
from taskloom.engines.embedded.stepping import Stepper
from taskloom.errors import TaskloomError, Temporary
from taskloom.store.driver import run
from taskloom.store.transaction import Transaction

log = structlog.get_logger()

MAX_ATTEMPTS = 3
_LEASE = timedelta(seconds=30)

_CLAIM = """
UPDATE engine_timers SET due_at = %s, attempts = attempts + 1 WHERE seq IN (
    SELECT seq FROM engine_timers WHERE NOT stopped AND due_at <= %s
    ORDER BY due_at, seq LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING seq, attempts, definition_id
"""
_RENEW = """
UPDATE engine_timers SET due_at = %s WHERE seq IN (
    SELECT seq FROM engine_timers WHERE seq = ANY(%s) AND NOT stopped FOR UPDATE SKIP LOCKED)
"""

_FOLLOW = """
INSERT INTO engine_timers
    (instance_id, root_id, activity_id, definition_id, element_id, repeat, due_at)
SELECT instance_id, root_id, activity_id, definition_id, element_id, repeat, %s
FROM engine_timers WHERE seq = %s
"""
# the definition first, as undeploying locks it before what starts it
_LOCK_START = """
SELECT t.definition_id, t.element_id, t.repeat, t.payload
FROM engine_timers AS t JOIN engine_definitions AS d ON d.id = t.definition_id
WHERE t.seq = %s AND NOT t.stopped FOR KEY SHARE OF d FOR UPDATE OF t
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimer:
    """A claimed timer; `attempts` counts the present one, `starts` tells that it is a start's."""

    number: int
    attempts: int
    starts: bool = False


class Timers:
    """The engine_timers table, as a queue for `taskloom.runtime.loop`."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    async def claim(self, limit: int, lease: timedelta) -> Sequence[DueTimer]:
        """Take up to `limit` due timers, the oldest first; they fall due again after `lease`."""
        now = self._stepper.now()
        async with self._stepper.database.begin() as tx:
            result = await run(tx.connection, _CLAIM, (now + lease, now, limit))
            timers = [
                DueTimer(
                    number=row.seq, attempts=row.attempts, starts=row.definition_id is not None
                )
                for row in result
            ]
        return sorted(timers, key=lambda timer: timer.number)

    async def renew(self, items: Sequence[DueTimer], lease: timedelta) -> None:
        """Hold claimed timers longer, counted from now."""
        until = self._stepper.now() + lease
        async with self._stepper.database.begin() as tx:
            await run(tx.connection, _RENEW, (until, [item.number for item in items]))

    async def handle(self, timer: DueTimer) -> None:
        """Fire a claimed timer, or open an incident for it."""
        try:
            async with self._stepper.database.begin() as tx:
                await self._fire(tx, timer)
        except Temporary:
            raise  # its lease ends, and it falls due again
        except Exception as exc:
            hopeless = isinstance(exc, TaskloomError) or timer.attempts >= MAX_ATTEMPTS
            if not hopeless:
                raise  # likewise
            log.warning("timer.stopped", timer=timer.number, error=str(exc))
            await self._stop(timer, str(exc))

    async def run_due(self, limit: int) -> int:
        """Fire up to `limit` due timers; return how many were claimed.

        One that cannot fire now falls due again later and holds up no other.
        """
        timers = await self.claim(limit, _LEASE)
        for timer in timers:
            try:
                await self.handle(timer)
            except Temporary as exc:
                log.warning("timer.put-off", timer=timer.number, error=exc.message)
            except Exception:
                log.exception("timer.failed", timer=timer.number, attempts=timer.attempts)
        return len(timers)

    async def next_due(self) -> datetime | None:
        """Tell when the next timer is due, or its lease ends; None if there is none."""
        async with self._stepper.database.begin() as tx:
            found = await run(
                tx.connection, "SELECT min(due_at) FROM engine_timers WHERE NOT stopped"
            )
            due: datetime | None = found.scalar()
        return due

    async def restart(self, tx: Transaction, number: int, *, retries: int) -> None:
        """Let a stopped timer fire now, with `retries` attempts before the next incident."""
        await run(
            tx.connection,
            "UPDATE engine_timers SET stopped = false, due_at = %s, attempts = %s WHERE seq = %s",
            (self._stepper.now(), MAX_ATTEMPTS - max(1, retries), number),
        )
        tx.notify("engine-jobs")

    async def _fire(self, tx: Transaction, timer: DueTimer) -> None:
        if timer.starts:
            await self._start(tx, timer)
            return
        row = await records.lock(tx.connection, "timer", timer.number)
        if row is None:
            return  # its activity is over
        trigger = Fire(
            activity_id=row.activity_id,
            element=row.element_id,
            variables=_payload(row),
            repeat=row.repeat,
        )
        await self._stepper.take(tx, row, trigger)
        await self._drop(tx, timer)

    async def _start(self, tx: Transaction, timer: DueTimer) -> None:
        """Start an instance, and set the timer for its next time."""
        row = await _lock_start(tx, timer)
        if row is None:
            return  # another version has replaced it
        await self._stepper.begin_by_event(tx, row.definition_id, row.element_id, _payload(row))
        await self._follow(tx, timer, row.repeat)
        await self._drop(tx, timer)

    async def _follow(self, tx: Transaction, timer: DueTimer, repeat: str | None) -> None:
        """Set a timer for its next time, if there is one."""
        due = None if repeat is None else next_of_cycle(repeat, self._stepper.now())
        if due is not None:
            await run(tx.connection, _FOLLOW, (due, timer.number))
            tx.notify("engine-jobs")

    async def _drop(self, tx: Transaction, timer: DueTimer) -> None:
        await run(tx.connection, "DELETE FROM engine_timers WHERE seq = %s", (timer.number,))

    async def _stop(self, timer: DueTimer, message: str) -> None:
        async with self._stepper.database.begin() as tx:
            if timer.starts:
                row = await _lock_start(tx, timer)
            else:
                row = await records.lock(tx.connection, "timer", timer.number)
            if row is None:
                return
            await self._follow(tx, timer, row.repeat)  # it holds up none of those after it
            await run(
                tx.connection,
                "UPDATE engine_timers SET stopped = true, repeat = NULL WHERE seq = %s",
                (timer.number,),
            )
            await open_incident(
                tx.connection,
                instance_id="" if timer.starts else row.at,
                root_id="" if timer.starts else row.id,
                activity_id="" if timer.starts else row.activity_id,
                element_id=row.element_id,
                message=message,
                now=self._stepper.now(),
                timer=timer.number,
            )
            tx.notify("engine-changes")


async def _lock_start(tx: Transaction, timer: DueTimer) -> Any | None:
    return (await run(tx.connection, _LOCK_START, (timer.number,))).first()


def _payload(row: Any) -> dict[str, Any]:
    return {} if row.payload is None else dict(json.loads(row.payload))
