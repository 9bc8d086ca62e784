"""The chart as helm renders it, without a cluster."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.real.kubernetes.api import Json
from tests.real.kubernetes.parts import part

CHART = Path(__file__).parents[3] / "charts" / "taskloom"
VALUES = tuple(sorted((CHART / "ci").glob("*.yaml")))
RELEASE = "taskloom"


def template(*options: str, namespace: str = "default", chart: Path = CHART) -> str:
    """Render the chart; its complaint is the error's."""
    done = helm("template", RELEASE, str(chart), f"--namespace={namespace}", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def complaint(*options: str) -> str:
    """Render the chart with values that it must refuse, and give what it says."""
    done = helm("template", RELEASE, str(CHART), *options)
    assert done.returncode != 0, f"it took {options}"
    return done.stderr


def lint(*options: str) -> tuple[int, str]:
    """Lint the chart: exit code and what is said."""
    done = helm("lint", "--strict", str(CHART), *options)
    return done.returncode, done.stdout + done.stderr


def documents(rendered: str) -> list[Json]:
    """Read the objects of a rendering."""
    return [each for each in yaml.safe_load_all(rendered) if each is not None]


def of_kind(objects: Sequence[Json], kind: str) -> list[Json]:
    """Take the objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm, however it ends."""
    return subprocess.run(
        [str(part("helm")), *arguments], capture_output=True, text=True, check=False
    )
