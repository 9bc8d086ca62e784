"""``make run ENGINE=…``: the same story on a real engine, black box."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskloom.testing.server import free_port
from tests.real.engines.engine import ENGINES

ROOT = Path(__file__).parents[2]
SECONDS = 180
_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def _tell(data_dir: Path, *beside: str) -> tuple[list[str], str]:
    """Run the story to its end; give what came true, and the whole output."""
    done = subprocess.run(
        [
            *beside,
            *(sys.executable, "-m", "taskloom", "story", "--once"),
            *("--data-dir", str(data_dir), "--port", str(free_port())),
            *("--receiver-port", str(free_port())),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    steps = [_IDS.sub("ID", line) for line in done.stdout.splitlines() if line.startswith("✓")]
    return steps, done.stdout


@pytest.mark.slow
def test_the_story_is_the_same_on_every_engine(tmp_path: Path) -> None:
    """Step by step what comes true on the embedded one comes true on Camunda 7 and Operaton."""
    expected, _ = _tell(tmp_path / "embedded")
    for kind in ENGINES:
        steps, out = _tell(tmp_path / kind, sys.executable, "-m", "tests.real.engines.run", kind)

        assert expected == steps
        assert 4 == out.count("webhook to 127.0.0.1 delivered")
        assert "task approve-purchase “Approve Standing desk” completed" in out


def test_unknown_engine_is_refused_with_those_there_are() -> None:
    """Nothing is started."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.real.engines.run", "zeebe", "true"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, "There is no engine zeebe: choose camunda7 or operaton.\n") == (
        done.returncode,
        done.stderr,
    )
