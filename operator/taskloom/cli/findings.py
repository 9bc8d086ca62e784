"""What the doctor finds on this machine: Python, the data folder, PostgreSQL, the port."""

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from taskloom.errors import Permanent
from taskloom.settings import Settings
from taskloom.store.embedded_postgres import check_usable

_OLDEST_PYTHON = (3, 11)
_PATIENCE = 3.0


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `remedy` says how to mend it."""

    about: str
    level: Level
    message: str
    remedy: str = ""


def machine_findings(settings: Settings) -> Iterator[Finding]:
    """Look at everything that needs no database."""
    yield _python(sys.version_info[:3])
    yield from data_dir_findings(settings.data_dir, uid=os.geteuid())
    if settings.database_url is None:
        yield _embedded_postgres()
    yield port_finding(settings.host, settings.port)


def _python(version: tuple[int, int, int]) -> Finding:
    text = ".".join(str(part) for part in version)
    if version < _OLDEST_PYTHON:
        return Finding(
            about="python",
            level=Level.WRONG,
            message=f"Python {text} is too old.",
            remedy="Install Python 3.11 or newer.",
        )
    return Finding(about="python", level=Level.OK, message=f"Python {text}.")


def data_dir_findings(data_dir: Path, *, uid: int) -> Iterator[Finding]:
    """Look at the data folder: whether it can be written, and who else could read its secrets."""
    about = "data folder"
    if not data_dir.exists():
        parent = next(p for p in data_dir.absolute().parents if p.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            message = f"{data_dir} is not there yet: the first start makes it."
            yield Finding(about=about, level=Level.NOTE, message=message)
        else:
            yield Finding(
                about=about,
                level=Level.WRONG,
                message=f"{data_dir} cannot be made: {parent} is not writable.",
                remedy="Choose another with --data-dir, or make its parent writable.",
            )
        return
    if not data_dir.is_dir():
        yield Finding(
            about=about,
            level=Level.WRONG,
            message=f"{data_dir} is no folder.",
            remedy="Choose another with --data-dir, or move it out of the way.",
        )
        return
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            about=about,
            level=Level.WRONG,
            message=f"{data_dir} cannot be read and written by this user.",
            remedy=f"chown -R {uid} {data_dir}, or run as its owner.",
        )
        return
    loose = [path for path in _secrets(data_dir) if _is_loose(path)]
    for path in loose:
        yield Finding(
            about=about,
            level=Level.WRONG,
            message=f"{path} holds a secret that other users may read.",
            remedy=f"chmod 600 {path}",
        )
    if not loose:
        yield Finding(about=about, level=Level.OK, message=f"{data_dir} can be read and written.")


def _secrets(data_dir: Path) -> Iterator[Path]:
    for name in ("encryption.keys", "jwt.secret"):
        if (data_dir / name).is_file():
            yield data_dir / name
    yield from sorted(p for p in (data_dir / "credentials").glob("*/*/*") if p.is_file())


def _is_loose(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _embedded_postgres() -> Finding:
    about = "embedded postgresql"
    try:
        check_usable()
    except Permanent as exc:
        return Finding(
            about=about,
            level=Level.WRONG,
            message=exc.message,
            remedy="Run as another user, or set TASKLOOM_DATABASE_URL.",
        )
    return Finding(about=about, level=Level.OK, message="It can run here.")


def port_finding(host: str, port: int) -> Finding:
    """Tell whether the API's port is free, or Taskloom's already."""
    about = "port"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE and _is_taskloom(host, port):
                message = f"Taskloom answers on {host}:{port}."
                return Finding(about=about, level=Level.OK, message=message)
            return Finding(
                about=about,
                level=Level.WRONG,
                message=f"{host}:{port} cannot be listened on: {exc.strerror}.",
                remedy="Stop what listens there, or choose another with --port.",
            )
    return Finding(about=about, level=Level.OK, message=f"{host}:{port} is free.")


def _is_taskloom(host: str, port: int) -> bool:
    shown = f"[{host}]" if ":" in host else host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - read, not bound
    try:
        answer = httpx.get(f"http://{shown}:{port}/healthz", timeout=_PATIENCE, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    except (httpx.HTTPError, ValueError):
        return False
