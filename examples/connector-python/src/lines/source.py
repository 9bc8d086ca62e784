"""Reads a file's lines; how far, Taskloom keeps."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from taskloom.domain.sources import EventSource
from taskloom.errors import Invalid
from taskloom.ports.connector import ConnectorContext, Incoming, SourceFailed

MOST = 100
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that has its end; `at` and `after` are the bytes before it, and with it."""

    body: bytes
    at: int
    after: int


class LineSources:
    """Runs sources of kind ``lines``; a file has one reader."""

    kind = "lines"
    exclusive = True

    async def run(self, context: ConnectorContext) -> None:
        """Store each line, then move on; a crash in between stores none twice, by its key."""
        path = path_of(context.source)
        at = int(await context.position() or 0)
        while not context.stopping:
            try:
                lines = await asyncio.to_thread(read_lines, path, at)
            except OSError as error:
                raise SourceFailed(f"{path} cannot be read: {error.strerror}") from error
            context.connected()
            if not lines:
                await context.pause(LOOK_SECONDS)
                continue
            await context.ingest([incoming(line) for line in lines])
            at = lines[-1].after
            await context.move(str(at))


def path_of(source: EventSource) -> Path:
    """Read the file's name in the source's own part of the spec."""
    path = source.spec["custom"].get("config", {}).get("path")
    if not isinstance(path, str):
        raise Invalid("spec.custom.config.path must name a file.")
    return Path(path)


def read_lines(path: Path, at: int) -> list[Line]:
    """Read the next lines after so many bytes; one that is still being written is left."""
    found: list[Line] = []
    with path.open("rb") as file:
        file.seek(at)
        while len(found) < MOST:
            text = file.readline()
            if not text.endswith(b"\n"):
                break
            found.append(Line(body=text.rstrip(b"\r\n"), at=at, after=at + len(text)))
            at += len(text)
    return found


def incoming(line: Line) -> Incoming:
    """Name a line by where it begins."""
    return Incoming(
        body=line.body, headers={"lines-offset": str(line.at)}, idempotency_key=str(line.at)
    )
