"""Kinds of our own whose library is not installed: their sources and sinks say what to install."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskloom.domain.conditions import Reason
from taskloom.domain.sources import EventSink
from taskloom.ports.connector import ConnectorContext, SourceFailed
from taskloom.ports.sink import Producer, SinkFailed

_DELAY = 60.0
"""Seconds: what is installed later is there after a restart only."""


class LeftOut:
    """A `Connector` of a kind that this installation cannot run."""

    exclusive = False

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def run(self, context: ConnectorContext) -> None:
        """Say what to install."""
        raise SourceFailed(_advice(self.kind), reason=Reason.UNSUPPORTED, delay=_DELAY)


class LeftOutSink:
    """A `SinkConnector` of such a kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator[Producer]:
        """Say what to install."""
        raise SinkFailed(_advice(self.kind), reason=Reason.UNSUPPORTED, delay=_DELAY)
        yield


def _advice(kind: str) -> str:
    return (
        f"this installation has no client for {kind}: "
        f"install taskloom[{kind}] where sources and sinks run, and start it again"
    )
