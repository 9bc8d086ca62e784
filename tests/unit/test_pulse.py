"""Whether a part answers, and what is stuck."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from taskloom.errors import Unavailable
from taskloom.runtime.pulse import Pulse
from taskloom.runtime.vitals import Vitals


@dataclass
class Part:
    """A part that answers, fails or is silent, as it is told."""

    errors: list[Exception] = field(default_factory=list)
    silence: asyncio.Event | None = None
    asked: int = 0

    async def ask(self) -> None:
        """Answer, or do not."""
        self.asked += 1
        if self.silence is not None:
            await self.silence.wait()
        if self.errors:
            raise self.errors[0]


@contextlib.asynccontextmanager
async def watched(part: Part, patience: float = 5.0) -> AsyncIterator[Pulse]:
    """Watch a part within the block."""
    pulse = Pulse(part.ask, every=0.001, patience=patience)
    task = asyncio.create_task(pulse.watch())
    try:
        yield pulse
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_part_that_answers_is_well() -> None:
    """No error is told, and no silence."""
    part = Part()
    async with watched(part) as pulse:
        await until(lambda: part.asked > 3)

        assert ("", 0.0) == (pulse.error, pulse.silent_for)


async def test_a_part_that_refuses_is_told_until_it_answers() -> None:
    """What it says is kept, and its silence counts from the first failure."""
    part = Part(errors=[Unavailable("It is down.")])
    async with watched(part) as pulse:
        await until(lambda: pulse.silent_for > 0.01)
        assert "It is down." == pulse.error
        part.errors.clear()
        await until(lambda: not pulse.error)


async def test_an_unexpected_error_is_no_answer_and_no_end() -> None:
    """Whatever an answer fails by, it is asked again."""
    part = Part(errors=[ValueError("broken")])
    async with watched(part) as pulse:
        await until(lambda: pulse.error == "ValueError")
        part.errors.clear()
        await until(lambda: not pulse.error)


async def test_a_part_that_was_stopped_is_found_by_its_silence() -> None:
    """A question that is not answered in time counts as a failure, and is given up."""
    part = Part(silence=asyncio.Event())
    async with watched(part, patience=0.01) as pulse:
        await until(lambda: bool(pulse.error))
        assert "within 0.01 seconds" in pulse.error
        part.silence = None
        await until(lambda: not pulse.error)


def test_what_shows_no_sign_of_life_is_stuck() -> None:
    """It is named with its silence, until it lives again or ends."""
    now = 0.0
    vitals = Vitals(lambda: now)
    vitals.beat("one", within=10)
    vitals.beat("two", within=30)
    now = 10.0
    assert {} == vitals.stuck()
    now = 20.0
    assert {"one": "no sign of life for 20 seconds"} == vitals.stuck()
    vitals.beat("one", within=10)
    assert {} == vitals.stuck()
    now = 60.0
    vitals.end("one")
    vitals.end("two")
    assert {} == vitals.stuck()
