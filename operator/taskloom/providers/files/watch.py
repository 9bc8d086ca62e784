"""Tells when a folder of manifests may have changed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from watchfiles import awatch

from taskloom.providers.files.read import SUFFIXES

log = structlog.get_logger()

Stamp = tuple[tuple[str, int, int, int], ...]


async def watch_folder(
    folder: Path,
    stop: asyncio.Event,
    *,
    debounce_ms: int = 300,
    poll_seconds: float = 2.0,
    force_polling: bool = False,
) -> AsyncIterator[None]:
    """Yield at once, then for every burst of changes below `folder`, until `stop` is set.

    Read the folder at each yield: what changes while it is read is told by the next one.

    Notifications from the kernel make it quick.
    A look every `poll_seconds` makes it certain: for folders that do not exist yet or vanish,
    for network file systems, links that lead outside, and when the kernel has no watches left.
    """
    changed = asyncio.Event()
    notifier = None
    if not force_polling:
        notifier = asyncio.create_task(_notify(folder, changed, stop, poll_seconds))
    try:
        before = await asyncio.to_thread(stamp, folder)
        yield
        while not stop.is_set():
            await _wait_any((changed, stop), poll_seconds)
            changed.clear()
            if stop.is_set():
                return
            after = await asyncio.to_thread(stamp, folder)
            if after == before:
                continue
            before = await _settle(folder, after, stop, debounce_ms / 1000)
            yield
    finally:
        if notifier is not None:
            notifier.cancel()
            await asyncio.gather(notifier, return_exceptions=True)


def stamp(folder: Path) -> Stamp:
    """Describe all manifests below a folder: path, size, time of change, inode."""
    found: list[tuple[str, int, int, int]] = []
    entered: set[tuple[int, int]] = set()
    stack = [folder]
    while stack:
        here = stack.pop()
        try:
            info = here.stat()
            entries = list(here.iterdir())
        except OSError as error:
            found.append((str(here), -(error.errno or 1), 0, 0))
            continue
        if (info.st_dev, info.st_ino) in entered:
            continue
        entered.add((info.st_dev, info.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    stack.append(entry)
                elif entry.name.endswith(SUFFIXES):
                    seen = entry.stat()
                    found.append((str(entry), seen.st_size, seen.st_mtime_ns, seen.st_ino))
            except OSError as error:
                found.append((str(entry), -(error.errno or 1), 0, 0))
    return tuple(sorted(found))


async def _settle(folder: Path, seen: Stamp, stop: asyncio.Event, pause: float) -> Stamp:
    """Wait until nothing has changed for `pause` seconds, at most twenty times as long."""
    for _ in range(20):
        await _wait_any((stop,), pause)
        again = await asyncio.to_thread(stamp, folder)
        if again == seen or stop.is_set():
            return again
        seen = again
    return seen


async def _notify(folder: Path, changed: asyncio.Event, stop: asyncio.Event, pause: float) -> None:
    """Set `changed` on the kernel's word; where it gives none, the look every while must do."""
    complained = False
    while not stop.is_set():
        if await asyncio.to_thread(folder.is_dir):
            try:
                async for _ in awatch(folder, stop_event=stop, debounce=50, recursive=True):
                    changed.set()
            except (OSError, RuntimeError) as error:
                if not complained:
                    log.warning("files.no-notifications", folder=str(folder), error=str(error))
                complained = True
        await _wait_any((stop,), pause)


async def _wait_any(events: tuple[asyncio.Event, ...], seconds: float) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
