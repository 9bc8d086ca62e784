"""``taskloom story``, which `make run` runs: the whole story on one machine, black box."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskloom.testing.server import free_port

ROOT = Path(__file__).parents[2]
SECONDS = 120


def _start(data_dir: Path, *arguments: str, port: int, receiver_port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "taskloom", "story", "--data-dir", str(data_dir)),
            *("--port", str(port), "--receiver-port", str(receiver_port), *arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def _run(data_dir: Path, *arguments: str, port: int, receiver_port: int) -> tuple[int, str, str]:
    process = _start(data_dir, *arguments, port=port, receiver_port=receiver_port)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


@pytest.mark.slow
def test_the_story_comes_true_twice(tmp_path: Path) -> None:
    """On an empty folder and on the state that was left, with status 0 and the trace as a tree."""
    for _ in range(2):
        code, out, err = _run(tmp_path, "--once", port=free_port(), receiver_port=free_port())

        assert code == 0, out + err
        assert "The whole story came true." in out
        assert 4 == out.count("both its signatures are genuine")
        assert 4 == out.count("webhook to 127.0.0.1 delivered")
        assert 2 == out.count("is completed over REST")
        assert "task approve-purchase “Approve Standing desk” completed" in out


def test_it_goes_on_serving_until_interrupted(tmp_path: Path) -> None:
    """Without --once it serves on; Ctrl-C ends it with status 0."""
    process = _start(tmp_path, port=free_port(), receiver_port=free_port())
    assert process.stderr is not None
    for line in process.stderr:
        if "goes on serving" in line:
            break
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)

    assert process.returncode == 0


def test_an_interrupted_story_says_so(tmp_path: Path) -> None:
    """Ctrl-C before its end is status 1, and everything is shut down in order."""
    process = _start(
        tmp_path,
        *("--event", str(_event_that_starts_nothing(tmp_path))),
        port=free_port(),
        receiver_port=free_port(),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "is durable" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "error: The story was interrupted." in err
    assert "Traceback" not in err


@pytest.mark.parametrize("taken", ["--port", "--receiver-port"])
def test_a_port_in_use_is_a_clear_error(tmp_path: Path, taken: str) -> None:
    """The message names the port and the option, and nothing is left running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ports = {"--port": free_port(), "--receiver-port": free_port()} | {taken: port}

        code, _, err = _run(
            tmp_path, "--once", port=ports["--port"], receiver_port=ports["--receiver-port"]
        )

    assert code == 1
    [error] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert str(port) in error
    assert taken in error


def test_a_story_that_does_not_come_true_fails(tmp_path: Path) -> None:
    """An event that starts nothing ends it with status 1 and the reason."""
    code, out, err = _run(
        tmp_path / "data",
        *("--once", "--event", str(_event_that_starts_nothing(tmp_path)), "--patience", "2s"),
        port=free_port(),
        receiver_port=free_port(),
    )

    assert code == 1
    assert "The story did not come true: the event led to no task" in err
    assert "came true" not in out


def _event_that_starts_nothing(folder: Path) -> Path:
    event = folder / "event.json"
    event.write_text('{"key": "purchase-requested", "payload": {"item": "Pen", "amount": 0}}')
    return event
