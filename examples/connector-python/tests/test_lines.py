"""What Taskloom asks of every connector, asked of these: ``pytest examples/connector-python``."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from lines import LineSinks, LineSources

from taskloom.testing.connectors import source_row
from taskloom.testing.sink_suite import Arrived, SinkConnectorSuite, SinkStage
from taskloom.testing.sinks import sink_row
from taskloom.testing.source_suite import SystemSourceSuite, SystemStage


class File:
    """A file in a folder that may be away."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder / "here", folder / "away"
        self._folder.mkdir()
        self.path = self._folder / "file.jsonl"
        self.path.touch()
        self.spec = {"custom": {"kind": "lines", "config": {"path": str(self.path)}}}

    def go_away(self) -> None:
        """Rename the folder."""
        self._folder.rename(self._away)

    def come_back(self) -> None:
        """Rename it back."""
        self._away.rename(self._folder)


class LineStage(SystemStage):
    """A file to read."""

    connector = LineSources()

    def __init__(self, file: File) -> None:
        self.file = file
        self.source = source_row(file.spec)

    async def produce(self, *bodies: bytes) -> None:
        """Write lines."""
        with self.file.path.open("ab") as file:
            file.writelines(body + b"\n" for body in bodies)

    async def go_away(self) -> None:
        """Let it not be there."""
        self.file.go_away()

    async def come_back(self) -> None:
        """Let it be there again."""
        self.file.come_back()


class TestLineSources(SystemSourceSuite):
    """The suite of sources."""

    @pytest.fixture
    def stage(self, tmp_path: Path) -> SystemStage:
        """Set the stage."""
        return LineStage(File(tmp_path))


class FileStage(SinkStage):
    """A file to write."""

    connector = LineSinks()

    def __init__(self, file: File) -> None:
        self.file = file
        self.sink = sink_row(file.spec)

    async def arrived(self, count: int) -> Sequence[Arrived]:
        """Read the file."""
        lines = [json.loads(line) for line in self.file.path.read_text().splitlines()]
        assert count <= len(lines)
        return [Arrived(body=line["body"].encode(), headers=line["headers"]) for line in lines]

    async def go_away(self) -> None:
        """Let it not be there."""
        self.file.go_away()

    async def come_back(self) -> None:
        """Let it be there again."""
        self.file.come_back()


class TestLineSinks(SinkConnectorSuite):
    """The suite of sinks."""

    @pytest.fixture
    def stage(self, tmp_path: Path) -> SinkStage:
        """Set the stage."""
        return FileStage(File(tmp_path))
