"""Manifests that the API server accepts, also at the edges, are accepted here."""

from pathlib import Path

import pytest
import yaml

from taskloom.resources.base import Resource
from taskloom.resources.validate import validate

CASES = sorted(Path(__file__).parent.joinpath("accepted").glob("*.yaml"))


def test_there_are_accepted_cases() -> None:
    """The folder of accepted manifests is found."""
    assert len(CASES) >= 4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_an_edge_is_accepted(case: Path) -> None:
    """No document of the case has a problem."""
    made = [validate(document) for document in yaml.safe_load_all(case.read_text())]

    assert [] == [problems for problems in made if not isinstance(problems, Resource)]
