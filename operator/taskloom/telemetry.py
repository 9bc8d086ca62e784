"""Logs are events with fields, to standard error."""

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog

from taskloom.settings import Settings


class _StandardError:
    """Standard error as it is at the moment; a log that nobody takes stops nothing."""

    def write(self, text: str) -> None:
        """Write, if there is anywhere to write to."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logging(settings: Settings) -> None:
    """Set structlog up, and let the libraries' own logs go the same way."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    renderer: structlog.typing.Processor = (
        # A plain traceback: a rich one would print local variables, and secrets with them.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not console:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    # What is wrong with brokers is told by their sources' and sinks' states, once; the client
    # says it several times a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
