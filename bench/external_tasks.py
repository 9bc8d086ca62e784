"""External tasks of a real engine: taken, done and completed, by Taskloom and by pycamunda.

Both work off the same number of tasks in turn, several times, on the same engine.
pycamunda has no loop of its own: workers written with it fetch one task and complete it, or fetch
its default of ten.  Ends with status 1 if Taskloom is not 2.5 times as fast as the former, or needs
more than 0.6 ms of processor time a task.  Where both cores are the engine's already, no worker can
be faster: then the ratios say how little the other one made of them.

    python -m bench.external_tasks --engine operaton --tasks 400 --rounds 5
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pycamunda.externaltask

from bench.server import machine
from taskloom.bootstrap.work import LONG_POLL, ahead
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.ports.engine import ExternalTask
from taskloom.runtime.bell import Bell
from taskloom.runtime.loop import Loop, Pace, limited
from taskloom.settings import Settings
from taskloom.testing.bookmark import MemoryBookmark
from taskloom.testing.bpmn import bpmn, external, path
from tests.real.engines.database import EngineDatabase
from tests.real.engines.engine import ENGINES, RealEngine

TOPIC, WORKER, KEY = "work", "bench", "bench"
FASTER, MILLISECONDS = 2.5, 0.6
ONE, TEN, OURS = "pycamunda, 1 a fetch", "pycamunda, 10", "taskloom"
_AT_ONCE = 8
_WARM = 4
"""How many rounds an engine needs until its compilers have done their work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one contender needed for its tasks."""

    tasks: int
    seconds: float
    processor_seconds: float
    calls: int | None = None

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds

    @property
    def milliseconds(self) -> float:
        """Processor time of Python a task."""
        return self.processor_seconds / self.tasks * 1e3


@dataclass(slots=True)
class _Tasks:
    """The engine's tasks as a queue; `done` is set when so many were completed."""

    engine: CamundaEngine
    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self, limit: int, lease: timedelta) -> Sequence[ExternalTask]:
        """Fetch and lock."""
        return await self.engine.fetch_and_lock(
            [TOPIC], WORKER, max_tasks=limit, lock=lease, wait=LONG_POLL
        )

    async def renew(self, items: Sequence[ExternalTask], lease: timedelta) -> None:
        """Extend the locks."""
        for task in items:
            await self.engine.extend_lock(task.id, WORKER, lease)

    async def complete(self, task: ExternalTask) -> None:
        """Complete a task that asks for nothing."""
        await self.engine.complete(task.id, WORKER, {})
        self.left -= 1
        if self.left == 0:
            self.done.set()


async def by_taskloom(url: str, count: int) -> Round:
    """Work tasks off by our adapter, in the loop that serves the role `worker`."""
    # One for each round, whose end frees what its last poll locked.
    async with CamundaEngine(Connection(url=url), MemoryBookmark()) as engine:
        return await _work(engine, count)


async def _work(engine: CamundaEngine, count: int) -> Round:
    tasks = _Tasks(engine, count)
    concurrency = Settings().worker_concurrency
    loop = Loop(
        "bench",
        tasks,
        limited(tasks.complete, concurrency),
        bell=Bell(),
        topic=TOPIC,
        pace=ahead(Pace(concurrency=concurrency)),
    )
    calls, processor, started = engine.client.calls, time.process_time(), time.perf_counter()
    working = asyncio.create_task(loop.run())
    await tasks.done.wait()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return Round(
        tasks=count,
        seconds=seconds,
        processor_seconds=processor,
        calls=engine.client.calls - calls,
    )


def by_pycamunda(url: str, count: int, most: int) -> Round:
    """Work tasks off by pycamunda: fetch so many, then complete one after another."""
    processor, started, left = time.process_time(), time.perf_counter(), count
    while left:
        fetch = pycamunda.externaltask.FetchAndLock(
            url, worker_id=WORKER, max_tasks=most, use_priority=False
        )
        fetch.add_topic(name=TOPIC, lock_duration=30_000)
        for task in fetch():
            pycamunda.externaltask.Complete(url, id_=task.id_, worker_id=WORKER)()
            left -= 1
    return Round(
        tasks=count,
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - processor,
    )


async def fill(url: str, count: int) -> None:
    """Start instances with a task each."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        places = asyncio.Semaphore(_AT_ONCE)

        async def start() -> None:
            async with places:
                answer = await client.post(f"/process-definition/key/{KEY}/start", json={})
                answer.raise_for_status()

        await asyncio.gather(*(start() for _ in range(count)))


async def measure(kind: Any, count: int, rounds: int) -> bool:
    """Measure, print, and tell whether both bounds hold."""
    model = bpmn('<startEvent id="s"/>', external(TOPIC), '<endEvent id="e"/>', path("s work e"))
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as folder:
        database = EngineDatabase(Path(folder) / "postgres")
        await database.start()
        async with RealEngine(kind, Path(folder), database=database.url, measured=True) as real:
            async with CamundaEngine(Connection(url=real.url), MemoryBookmark()) as engine:
                await engine.deploy(KEY, model)

            async def taskloom() -> Round:
                return await by_taskloom(real.url, count)

            async def one_at_a_time() -> Round:
                return await asyncio.to_thread(by_pycamunda, real.url, count, 1)

            async def ten_at_a_time() -> Round:
                return await asyncio.to_thread(by_pycamunda, real.url, count, 10)

            contenders: dict[str, Callable[[], Awaitable[Round]]] = {
                ONE: one_at_a_time,
                TEN: ten_at_a_time,
                OURS: taskloom,
            }
            found: dict[str, list[Round]] = {name: [] for name in contenders}
            for number in range(-_WARM, rounds):
                for name, contender in contenders.items():
                    await fill(real.url, count)
                    result = await contender()
                    if number >= 0:
                        found[name].append(result)
        await database.stop()
    return report(kind, found)


def report(kind: str, found: dict[str, list[Round]]) -> bool:
    """Print medians, and tell whether both bounds hold."""
    ours = found[OURS]
    tasks, rounds = ours[0].tasks, len(ours)
    print(f"external tasks of a real {kind}: {rounds} x {tasks}, each fetched and completed")
    print(f"  machine             {machine()}")
    ratios = {}
    for name, of in found.items():
        rate = statistics.median(each.rate for each in of)
        cpu = statistics.median(each.milliseconds for each in of)
        pairs = zip(ours, of, strict=True)
        ratios[name] = statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)
        print(
            f"  {name:19} {rate:6.0f} tasks/s {cpu:6.2f} ms CPU of Python a task"
            + ("" if of is ours else f"; taskloom {ratios[name]:.2f} times as fast")
        )
    calls = sum(each.calls or 0 for each in ours) / (tasks * rounds)
    print(f"  taskloom made       {calls:6.2f} calls a task")
    cpu = statistics.median(each.milliseconds for each in ours)
    well = ratios[ONE] >= FASTER and cpu <= MILLISECONDS
    bounds = f"{FASTER} times {ONE}, {MILLISECONDS} ms"
    print(f"  bounds {'kept' if well else 'BROKEN'}: {bounds}")
    return well


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="operaton")
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sys.exit(0 if asyncio.run(measure(options.engine, options.tasks, options.rounds)) else 1)


if __name__ == "__main__":
    main()
