"""Changes that the API server refuses are refused here, at the same field, in its words.

A case is the object before and after; its head comment names field and message.
"""

from pathlib import Path

import pytest
import yaml

from taskloom.resources.base import Resource
from taskloom.resources.validate import validate

CASES = sorted(Path(__file__).parent.joinpath("changes").glob("*.yaml"))


def test_there_are_forbidden_changes() -> None:
    """The folder of forbidden changes is found."""
    assert len(CASES) >= 10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_forbidden_change_is_refused_at_the_field(case: Path) -> None:
    """Both forms are good by themselves; only the step from one to the other is refused."""
    text = case.read_text(encoding="utf-8")
    first, second = text.splitlines()[:2]
    before, after = yaml.safe_load_all(text)

    problems = validate(after, old=before)

    assert isinstance(validate(before), Resource)
    assert isinstance(validate(after), Resource)
    assert isinstance(problems, list)
    assert [first.removeprefix("# field: ")] == [problem.field for problem in problems]
    assert second.removeprefix("# message: ") in problems[0].message
