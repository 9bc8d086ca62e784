"""Events on their way to the cluster: few, never twice, and never in the way of anything else."""

import asyncio
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from taskloom.errors import Forbidden, TaskloomError, Temporary
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.notices import Notice
from taskloom.providers.kubernetes.objects import EVENTS

log = structlog.get_logger()

CONTROLLER = "taskloom.dev/controller"
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many Events may be written: so many at once, and so many a second after that.

    Half of them are kept for warnings.  The same one is not written again within `silence` seconds.
    """

    burst: int = 100
    rate: float = 5.0
    silence: float = 3600.0


class Announcer:
    """Writes Events; what is beyond the allowance, or fails, is dropped."""

    def __init__(
        self,
        cluster: Cluster,
        me: str = "taskloom",
        *,
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._cluster = cluster
        self._me = me
        self._allowance = allowance or Allowance()
        self._clock = clock
        self._now = now
        self._count = count
        self._left = float(self._allowance.burst)
        self._filled_at = clock()
        self._said: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._queue: deque[Notice] = deque()
        self._waiting = asyncio.Event()
        self._refused = False

    def announce(self, notice: Notice) -> None:
        """Take something to be told; it takes no time."""
        now = self._clock()
        self._forget(now)
        if notice.identity in self._said:
            return
        full = len(self._queue) >= self._allowance.burst
        if full or not self._take(now, warning=notice.warning):
            self._drop(notice, "too many")
            return
        self._said[notice.identity] = now
        self._queue.append(notice)
        self._waiting.set()

    async def write(self) -> None:
        """Write what was taken, one after another, until cancelled."""
        while True:
            await self._waiting.wait()
            while self._queue:
                await self._write(self._queue.popleft())
            self._waiting.clear()

    async def _write(self, notice: Notice) -> None:
        body = event_body(notice, self._me, self._now())
        for last in (False, True):
            try:
                await self._cluster.create(EVENTS, notice.key[1], body)
            except Temporary as error:
                if last:
                    self._drop(notice, error.message)
                else:
                    await asyncio.sleep(error.delay)
            except Forbidden as error:
                self._complain(error)
                self._drop(notice, error.message)
                return
            except TaskloomError as error:
                self._drop(notice, error.message)
                return
            else:
                self._count("written")
                return

    def _complain(self, error: Forbidden) -> None:
        """Say once that the right is missing; a namespace that goes away takes no Events either."""
        if not self._refused and "terminat" not in error.message:
            self._refused = True
            log.warning("kubernetes.events-forbidden", error=error.message)

    def _drop(self, notice: Notice, why: str) -> None:
        self._count("dropped")
        kind, namespace, name = notice.key
        log.debug(
            "kubernetes.event-dropped",
            kind=kind,
            namespace=namespace,
            name=name,
            reason=notice.reason,
            why=why,
        )

    def _take(self, now: float, *, warning: bool) -> bool:
        allowance = self._allowance
        self._left = min(allowance.burst, self._left + (now - self._filled_at) * allowance.rate)
        self._filled_at = now
        if self._left < (1 if warning else 1 + allowance.burst / 2):
            return False
        self._left -= 1
        return True

    def _forget(self, now: float) -> None:
        while self._said:
            identity, at = next(iter(self._said.items()))
            if len(self._said) <= _REMEMBERED and now - at < self._allowance.silence:
                return
            del self._said[identity]


def event_body(notice: Notice, me: str, now: datetime) -> dict[str, Any]:
    """Write the Event that tells a notice."""
    kind, namespace, name = notice.key
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "name": f"{name[:200].rstrip('-.')}.{uuid.uuid4().hex[:16]}",
            "namespace": namespace,
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": me[:128],
        "action": "Reconcile",
        "type": "Warning" if notice.warning else "Normal",
        "reason": notice.reason,
        "note": notice.note,
        "regarding": {
            "apiVersion": notice.api_version,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "uid": notice.uid,
        },
    }
