"""The data folder of one machine: its lock, its keys, its secrets, its database."""

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

from taskloom.errors import Conflict, Permanent
from taskloom.settings import Settings, reveal
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.sealing import keys_in


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, so that two processes never take each other's work for abandoned."""
    with _lock_file(data_dir) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Conflict(
                f"Another taskloom (pid {file.read().strip() or 'unknown'}) uses the data folder "
                f"{data_dir}: stop it, or choose another with --data-dir."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _lock_file(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (data_dir / "lock").open("a+")
    except OSError as exc:
        raise Permanent(
            f"The data folder {data_dir} cannot be used: {exc.strerror}. "
            "Make it a folder that this user may write to, or choose another with --data-dir."
        ) from exc


@contextlib.asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """Give the task database's URL, running the embedded server if none is given."""
    given = reveal(settings.database_url)
    if given is not None:
        yield given
        return
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    await server.start()
    watching = asyncio.create_task(server.keep_running())
    try:
        yield server.url
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await server.stop()


def encryption_keys(settings: Settings) -> list[str]:
    """Give the keys that seal secrets, newest first."""
    given = reveal(settings.encryption_keys)
    if given is not None:
        return [key.strip() for key in given.split(",") if key.strip()]
    return keys_in(settings.data_dir / "encryption.keys")


def jwt_secret(settings: Settings) -> str:
    """Give the secret of HS256 tokens."""
    return reveal(settings.jwt_secret) or local_jwt_secret(settings.data_dir)


def local_jwt_secret(data_dir: Path) -> str:
    """Read the data folder's own secret of HS256 tokens, made when it is not there."""
    path = data_dir / "jwt.secret"
    with contextlib.suppress(FileExistsError):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()
