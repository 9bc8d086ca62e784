"""External tasks are fetched: one long poll a process, beside which a known due time is met.

A long poll is not woken by a task whose pause after a failure ends, so that is fetched for at its
time.  An abandoned poll would lock tasks for nobody: it is kept until it has answered.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from taskloom.engines.camunda.client import Client, segment
from taskloom.engines.camunda.variables import START_ID
from taskloom.errors import TaskloomError

_MARGIN = 15.0  # what an answer may take beyond the poll itself, in seconds
_GOODBYE = 2.0
_LATE = 0.02  # the engine's clock is read to the millisecond: a little later it surely is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is fetched, and for whom."""

    topics: tuple[str, ...]
    worker_id: str
    limit: int
    lock: timedelta
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)  # variables, by topic


class Fetching:
    """The one long poll of this process, and what it brought that has not been handed out."""

    def __init__(
        self, client: Client, *, spin: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._spin = spin
        self._clock = clock
        self._poll: asyncio.Task[list[dict[str, Any]]] | None = None
        self._kept: deque[dict[str, Any]] = deque()
        self._due: list[float] = []

    def expect(self, after: timedelta) -> None:
        """Note that a task falls due after that time, so that somebody looks then."""
        heapq.heappush(self._due, self._clock() + after.total_seconds() + _LATE)

    async def fetch(self, wanted: Wanted, wait: timedelta) -> list[dict[str, Any]]:
        """Lock up to so many tasks, waiting for the first if there is none."""
        if self._kept:
            return self._hand_out(wanted.limit)
        if not wait and self._poll is None:
            return await self._ask(wanted, wait)
        if self._poll is None:
            self._poll = asyncio.create_task(self._ask(wanted, wait))
        await asyncio.wait((self._poll,), timeout=self._until_due())
        if not self._poll.done():
            self._drop_due()
            return await self._ask(wanted, timedelta(0))
        poll, self._poll = self._poll, None
        self._kept.extend(poll.result())
        return self._hand_out(wanted.limit)

    async def close(self) -> None:
        """Let the poll end, some seconds at most, and free what it locked."""
        if self._poll is not None:
            await asyncio.wait((self._poll,))
            if not self._poll.cancelled() and self._poll.exception() is None:
                self._kept.extend(self._poll.result())
            self._poll = None
        while self._kept:
            path = f"/external-task/{segment(self._kept.popleft()['id'])}/unlock"
            try:
                await self._client.call("POST", path, tries=1, patience=_GOODBYE)
            except TaskloomError:
                return  # their locks end by themselves

    def _hand_out(self, limit: int) -> list[dict[str, Any]]:
        return [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]

    def _until_due(self) -> float | None:
        if not self._due:
            return None
        return max(0.0, self._due[0] - self._clock())

    def _drop_due(self) -> None:
        while self._due and self._due[0] <= self._clock():
            heapq.heappop(self._due)

    async def _ask(self, wanted: Wanted, wait: timedelta) -> list[dict[str, Any]]:
        self._drop_due()
        body: dict[str, Any] = {
            "workerId": wanted.worker_id,
            "maxTasks": wanted.limit,
            "usePriority": False,
            "sorting": [{"sortBy": "createTime", "sortOrder": "asc"}],
            "topics": [self._topic(topic, wanted) for topic in wanted.topics],
        }
        if wait:
            body["asyncResponseTimeout"] = _milliseconds(wait)
        found: Sequence[dict[str, Any]] = await self._client.demand(
            "POST",
            "/external-task/fetchAndLock",
            json_body=body,
            # what a lost answer has locked comes again when its lock ends
            again=False,
            patience=wait.total_seconds() + _MARGIN,
        )
        return list(found)

    def _topic(self, topic: str, wanted: Wanted) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "topicName": topic,
            "lockDuration": _milliseconds(wanted.lock),
            # what is JSON there is read here; what is Java's own only the engine can read
            "deserializeValues": not self._spin,
        }
        if topic in wanted.only:
            asked["variables"] = [*wanted.only[topic], START_ID]
        if self._client.tenant is not None:
            asked["tenantIdIn"] = [self._client.tenant]
        return asked


def _milliseconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds() * 1000))
