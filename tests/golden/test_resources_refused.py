"""Manifests that the API server refuses are refused here, at the same field, in its words."""

from pathlib import Path

import pytest
import yaml

from taskloom.resources.validate import validate

CASES = sorted(Path(__file__).parent.joinpath("refused").glob("*.yaml"))


def test_there_are_cases() -> None:
    """The folder of refused manifests is found."""
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_bad_manifest_is_refused_at_the_field(case: Path) -> None:
    """The problem names the field and says what its head comment expects, and nothing else."""
    text = case.read_text(encoding="utf-8")
    first, second = text.splitlines()[:2]
    field = first.removeprefix("# field: ")
    message = second.removeprefix("# message: ")

    problems = validate(yaml.safe_load(text))

    assert isinstance(problems, list)
    assert [field] == [problem.field for problem in problems]
    assert message in problems[0].message
