"""The watch on a folder: it tells of changes, once a burst, whatever becomes of the folder."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskloom.providers.files.watch import watch_folder

PATIENCE = 10.0


@pytest.fixture(params=[False, True], ids=["notified", "polling"])
async def force_polling(request: pytest.FixtureRequest) -> bool:
    """Watch with the kernel's notifications and without."""
    return bool(request.param)


async def watching(
    folder: Path, stop: asyncio.Event, *, force_polling: bool
) -> AsyncIterator[None]:
    """Watch with short pauses, past the first word."""
    changes = watch_folder(
        folder, stop, debounce_ms=50, poll_seconds=0.1, force_polling=force_polling
    )
    await asyncio.wait_for(anext(changes), PATIENCE)
    return changes


async def told(changes: AsyncIterator[None]) -> None:
    """Wait for the next word."""
    await asyncio.wait_for(anext(changes), PATIENCE)


async def test_changes_are_told(tmp_path: Path, *, force_polling: bool) -> None:
    """A new file, an atomic replacement and a deletion are each told."""
    stop = asyncio.Event()
    changes = await watching(tmp_path, stop, force_polling=force_polling)

    (tmp_path / "a.yaml").write_text("a: 1")
    await told(changes)
    (tmp_path / "part.tmp").write_text("a: 2")
    (tmp_path / "part.tmp").replace(tmp_path / "a.yaml")
    await told(changes)
    (tmp_path / "a.yaml").unlink()
    await told(changes)
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await told(changes)


async def test_a_folder_may_come_and_go(tmp_path: Path, *, force_polling: bool) -> None:
    """A folder that does not exist yet, vanishes and comes back is told each time."""
    stop = asyncio.Event()
    folder = tmp_path / "later"
    changes = await watching(folder, stop, force_polling=force_polling)

    for _ in range(2):
        folder.mkdir()
        (folder / "a.yaml").write_text("a: 1")
        await told(changes)
        shutil.rmtree(folder)
        await told(changes)
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await told(changes)


async def test_what_is_no_manifest_is_not_told(tmp_path: Path) -> None:
    """Editors' files come and go in silence."""
    stop = asyncio.Event()
    changes = await watching(tmp_path, stop, force_polling=False)
    (tmp_path / ".a.yaml.swp").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    waiting = asyncio.ensure_future(anext(changes))
    done, _ = await asyncio.wait([waiting], timeout=0.5)

    assert not done
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await waiting
