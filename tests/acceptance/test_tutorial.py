"""The tutorial does what it says, from its first line to its last."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskloom.testing.server import free_port

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-workflow.md"
PART = re.compile(
    r"Save this as `(?P<file>[^`]+)`:\n\n```yaml\n(?P<yaml>.*?)```|```sh\n(?P<sh>.*?)```", re.DOTALL
)
SECONDS = 60


@contextmanager
def _serving(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "taskloom", "serve", "--files", "my-folder"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Taskloom serves at ")
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


def _steps(port: int, receiver_port: int) -> list[re.Match[str]]:
    """Read the page's parts, with ports that are free here in place of the usual ones."""
    text = PAGE.read_text().replace(":8080", f":{port}").replace(":8090", f":{receiver_port}")
    text = text.replace("taskloom listen", f"taskloom listen --port {receiver_port}")
    return list(PART.finditer(text))


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    """Each file is saved and each command run, in order; the outcomes are those that are told."""
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TASKLOOM_PORT": str(port),
        "TASKLOOM_URL": f"http://127.0.0.1:{port}",
    }
    first, *steps = _steps(port, free_port())
    assert "mkdir -p my-folder" in first["sh"]
    (tmp_path / "my-folder").mkdir()
    said: list[str] = []
    declared = 0
    with _serving(tmp_path, environment):
        for step in steps:
            if step["file"]:
                (tmp_path / step["file"]).write_text(step["yaml"])
                declared += step["yaml"].count("apiVersion:")
                _await_reconciled(tmp_path, environment, declared)
                continue
            done = subprocess.run(
                [str(shutil.which("bash")), "-euo", "pipefail", "-c", step["sh"]],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, step["sh"] + done.stdout + done.stderr
            said.append(done.stdout)

    listed, explained, traced, completed, told = said
    assert 4 == listed.count("True")
    assert "workflow leave-request would start" in explained
    assert "task decide-leave “Leave of 3 days” pending" in traced
    assert "user task “Decide about the leave” pending" in traced
    assert '"status":"completed"' in completed
    assert "genuine task-created" in told


def _await_reconciled(folder: Path, environment: dict[str, str], count: int) -> None:
    """Wait for a moment, as a reader does, until so many objects are in force."""
    until = time.monotonic() + SECONDS
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "taskloom", "get"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.count("True") == count:
            return
        assert time.monotonic() < until, done.stdout + done.stderr
