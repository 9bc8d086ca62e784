"""Writes records to the end of a file, one JSON object a line."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from taskloom.domain.sources import EventSink
from taskloom.errors import Invalid
from taskloom.ports.sink import Produced, Record, SinkFailed


class LineSinks:
    """Opens sinks of kind ``lines``."""

    kind = "lines"

    @asynccontextmanager
    async def open(self, sink: EventSink) -> AsyncIterator["LineProducer"]:
        """See that the file can be written to."""
        path = sink.spec["custom"].get("config", {}).get("path")
        if not isinstance(path, str):
            raise Invalid("spec.custom.config.path must name a file.")
        producer = LineProducer(Path(path))
        await producer.check()
        yield producer


class LineProducer:
    """Appends to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, records: Sequence[Record]) -> Sequence[Produced]:
        """Return once all of them are on the disk; a record's place is the byte it begins at."""
        lines = [line_of(record) for record in records]
        try:
            end = await asyncio.to_thread(append, self._path, b"".join(lines))
        except OSError as error:
            raise SinkFailed(f"{self._path} cannot be written: {error.strerror}") from error
        ends = [end - sum(map(len, lines[at:])) for at in range(len(lines))]
        return [Produced(place=str(place)) for place in ends]

    async def check(self) -> None:
        """Write nothing."""
        await self.send([])


def line_of(record: Record) -> bytes:
    """Write a record down; its id is there for readers that drop what they have."""
    written = {
        "id": str(record.id),
        "key": record.key,
        "headers": dict(record.headers),
        "body": record.body.decode(),
    }
    return json.dumps(written).encode() + b"\n"


def append(path: Path, text: bytes) -> int:
    """Append to a file, and tell how many bytes it has then."""
    with path.open("ab") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
