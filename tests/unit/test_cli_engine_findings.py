"""What the doctor says of an engine elsewhere."""

import pytest

from taskloom.cli.engine_findings import engine_findings, judge_engine
from taskloom.cli.findings import Level
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.testing.bookmark import MemoryBookmark


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("7.23.0", Level.OK),
        ("7.20.0-ee", Level.OK),
        ("7.19.3", Level.WRONG),
        ("1.0.3", Level.OK),
        ("2.1.0", Level.OK),
    ],
)
def test_old_versions_are_told(version: str, level: Level) -> None:
    """Camunda counts from 7, its forks from 1."""
    [finding] = judge_engine(version, spin=True)

    assert level is finding.level
    assert version in finding.message


def test_engine_without_spin_is_noted() -> None:
    """It works, within limits."""
    _, finding = judge_engine("1.0.3", spin=False)

    assert (Level.NOTE, True) == (finding.level, "no Spin" in finding.message)


async def test_engine_that_does_not_answer_is_wrong() -> None:
    """It is said where it was looked for."""
    connection = Connection(url="http://127.0.0.1:9/engine-rest")
    async with CamundaEngine(connection, MemoryBookmark()) as engine:
        [finding] = await engine_findings(engine)

    assert Level.WRONG is finding.level
    assert "http://127.0.0.1:9/engine-rest does not answer" in finding.message
