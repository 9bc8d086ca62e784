"""The embedded engine and Camunda 7 walk through random models alike.

``--random-models 2000`` walks through more of them, and through others every time.
"""

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.embedded_stage import embedded_stage
from tests.conformance.loom import models
from tests.conformance.real_stage import real_stage
from tests.conformance.thread import Woven
from tests.conformance.walk import Choice, choices, walk
from tests.real.engines.engine import RealEngine

FEW = 40


def test_random_models_run_alike(
    camunda7_engine: RealEngine, stage_url: str, request: pytest.FixtureRequest
) -> None:
    """Whatever is done in whatever model: both engines tell the same of it."""
    asked = request.config.getoption("--random-models")
    tally: Counter[str] = Counter()

    @settings(
        max_examples=asked or FEW,
        derandomize=asked is None,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(models(), choices)
    def run_alike(woven: Woven, drawn: list[Choice]) -> None:
        tally["actions"] += asyncio.run(_run(camunda7_engine, stage_url, woven, drawn))

    run_alike()

    assert tally["actions"] > 3 * FEW, "The walks are too short to tell anything."


async def _run(engine: RealEngine, url: str, woven: Woven, drawn: list[Choice]) -> int:
    async with real_stage(engine) as real, embedded_stage(url) as ours:
        return await walk(woven, drawn, real, ours)
