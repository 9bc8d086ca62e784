"""What ``kubectl taskloom why`` says, word for word.

A case ``X.in.yaml`` is a cluster and the object asked about; ``X.out.txt`` what is said of it, at
ten o'clock.  ``pytest --update-golden`` writes the latter.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskloom.cli.cluster.choice import Reached
from taskloom.cli.cluster.diagnosis import diagnose, headline
from taskloom.cli.cluster.facts import gather_facts
from taskloom.cli.cluster.objects import read_named
from taskloom.cli.why import print_story
from taskloom.testing.hand import FakeHand

FOLDER = Path(__file__).parent / "why"
CASES = sorted(FOLDER.glob("*.in.yaml"))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def read(case: Path) -> dict[str, Any]:
    """Read a case."""
    given: dict[str, Any] = yaml.safe_load(case.read_text())
    return given


def text(file: Path) -> str:
    """Read what was said before."""
    return file.read_text()


def write(file: Path, said: str) -> None:
    """Keep what is said now."""
    file.write_text(said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.partition(".")[0])
async def test_why(
    case: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the cause first, then the commands that mend it."""
    given = read(case)
    hand = FakeHand(given["objects"], forbidden=given.get("forbidden", ()))
    reached = Reached(cluster=hand, context="test", namespace="shop")
    out = case.with_name(case.name.replace(".in.yaml", ".out.txt"))

    facts = await gather_facts(reached, read_named(given["ask"], None), NOW)
    print_story(headline(facts), diagnose(facts))
    said = capsys.readouterr().out

    if request.config.getoption("--update-golden"):
        write(out, said)
    assert text(out) == said


def test_cases_are_there() -> None:
    """The folder has not moved."""
    assert len(CASES) > 20
