"""Logs go to standard error, whatever becomes of it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from taskloom.settings import Settings
from taskloom.telemetry import configure_logging


class _BrokenPipe(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    """Log JSON for one test."""
    configure_logging(Settings(log_format="json"))
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def test_a_line_is_an_event_with_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is a JSON object."""
    structlog.get_logger().info("delivery.failed", attempt=3)

    line = json.loads(capsys.readouterr().err)
    assert ("delivery.failed", 3, "info") == (line["event"], line["attempt"], line["level"])


@pytest.mark.parametrize("closed", [False, True], ids=["broken pipe", "closed"])
def test_a_log_that_nobody_takes_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, closed: bool
) -> None:
    """Where the reader of standard error has gone, logging goes on in silence."""
    log = structlog.get_logger()
    broken = _BrokenPipe()
    if closed:
        broken.close()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", broken)
        log.warning("nobody.reads")
        logging.getLogger("library").error("nobody reads")
    log.warning("somebody.reads")

    assert '"somebody.reads"' in capsys.readouterr().err
