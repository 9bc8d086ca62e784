"""A port that kubectl forwards, with a kubectl of our own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taskloom.cli.cluster.installation import forwarded
from taskloom.errors import Permanent, Unavailable

Put = Callable[[str], None]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Give a function that puts a script on the PATH as kubectl."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(script: str) -> None:
        program = tmp_path / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return put


async def test_the_near_end_is_found_and_the_port_is_closed(kubectl: Put, tmp_path: Path) -> None:
    """The program lives as long as the block."""
    ended = tmp_path / "ended"
    kubectl(
        f"trap 'touch {ended}; exit 0' TERM\n"
        "echo 'Forwarding from 127.0.0.1:41234 -> 8080'\n"
        "while :; do sleep 0.05; done"
    )

    async with forwarded(["kubectl", "port-forward"]) as url:
        assert not exists(ended)

    assert "http://127.0.0.1:41234" == url
    assert exists(ended)


def exists(path: Path) -> bool:
    """Tell whether a file is there."""
    return path.exists()


async def test_a_complaint_of_kubectl_is_passed_on(kubectl: Put) -> None:
    """Its last line says what is wrong."""
    kubectl("echo 'error: unable to forward port: no pod runs' >&2; exit 1")

    with pytest.raises(Unavailable, match="no pod runs"):
        async with forwarded(["kubectl", "port-forward"]):
            pass


async def test_without_kubectl_another_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL can be given."""
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(Permanent, match="--url"):
        async with forwarded(["kubectl"]):
            pass
