"""Generated credentials as files: ``<data-dir>/credentials/<namespace>/<secret>/<key>``."""

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from taskloom.domain.secret import Secret
from taskloom.errors import Conflict, Invalid, Permanent

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def read_credentials(data_dir: Path, namespace: str, secret_name: str) -> dict[str, Secret]:
    """Read what was written for a Secret before; empty if nothing was."""
    folder = _folder(data_dir, namespace, secret_name)
    try:
        return {
            path.name: Secret(_read(path))
            for path in sorted(folder.iterdir())
            if _KEY.fullmatch(path.name) and not path.name.startswith(".") and path.is_file()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Permanent(f"{folder} cannot be read: {error.strerror}") from error


def write_credentials(
    data_dir: Path, namespace: str, secret_name: str, values: Mapping[str, Secret]
) -> dict[str, Secret]:
    """Write each value that is not there yet, and give back what stands there now.

    Files are made with mode 0600 in folders with mode 0700, each whole or not at all.
    What exists is adopted and never overwritten, also if another process was first.
    """
    folder = _folder(data_dir, namespace, secret_name)
    for key in values:
        if not _KEY.fullmatch(key) or key.startswith("."):
            raise Invalid(f"`{key}` cannot be the name of a credential's file", field="keys")
    try:
        _make_private(data_dir, folder)
        return {key: _write_once(folder, key, value) for key, value in values.items()}
    except OSError as error:
        raise Permanent(
            f"credentials cannot be written below {folder}: {error.strerror}. "
            "Make the data folder writable for this process."
        ) from error


def replace_credentials(
    data_dir: Path,
    namespace: str,
    secret_name: str,
    former: Mapping[str, Secret],
    values: Mapping[str, Secret],
) -> dict[str, Secret]:
    """Put each value in the place of its former one, and give back what stands there now.

    Each file is the one or the other as a whole; one that says something else stays.
    """
    folder = _folder(data_dir, namespace, secret_name)
    try:
        _make_private(data_dir, folder)
        return {key: _write_over(folder, key, former[key], new) for key, new in values.items()}
    except OSError as error:
        raise Permanent(
            f"credentials cannot be written below {folder}: {error.strerror}. "
            "Make the data folder writable for this process."
        ) from error


def remove_credentials(data_dir: Path, namespace: str, secret_name: str) -> None:
    """Delete the files of a Secret; none is no error."""
    folder = _folder(data_dir, namespace, secret_name)
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            path.unlink(missing_ok=True)
        folder.rmdir()


def _folder(data_dir: Path, namespace: str, secret_name: str) -> Path:
    for name in (namespace, secret_name):
        if not _NAME.fullmatch(name) or ".." in name:
            raise Invalid(f"`{name}` cannot be the name of a credentials folder")
    return data_dir / "credentials" / namespace / secret_name


def _make_private(data_dir: Path, folder: Path) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    current = data_dir
    for part in folder.relative_to(data_dir).parts:
        current /= part
        current.mkdir(mode=0o700, exist_ok=True)
        if current.is_symlink():
            raise Conflict(f"{current} is a link: credentials are not written through links")
        current.chmod(0o700)


def _write_once(folder: Path, key: str, value: Secret) -> Secret:
    """Make the file by linking a finished one to its name, which fails if the name is taken."""
    path = folder / key
    if not path.exists():
        with _finished(folder, key, value) as part, contextlib.suppress(FileExistsError):
            os.link(part, path)
    path.chmod(0o600)
    return Secret(_read(path))


def _write_over(folder: Path, key: str, former: Secret, value: Secret) -> Secret:
    """Rename a finished file over the former one."""
    path = folder / key
    if Secret(_read(path)) != former:
        return Secret(_read(path))
    with _finished(folder, key, value) as part:
        part.replace(path)
    _sync(folder)
    return value


@contextlib.contextmanager
def _finished(folder: Path, key: str, value: Secret) -> Iterator[Path]:
    """Write a value to a file of another name, which is gone afterwards."""
    part = folder / f".{key}.{secrets.token_hex(8)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(value.reveal())
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make a rename last: the database must not know a value that the folder forgets."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    """Read a value; an editor's newline at its end is not part of it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.removesuffix("\n").removesuffix("\r")


class CredentialFiles:
    """The credentials of a data folder, as the reconcilers ask for them."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def read(self, namespace: str, name: str) -> Mapping[str, Secret]:
        """Read the values kept under a Secret's name; empty if there are none."""
        return await asyncio.to_thread(read_credentials, self._data_dir, namespace, name)

    async def write(
        self, namespace: str, name: str, values: Mapping[str, Secret]
    ) -> Mapping[str, Secret]:
        """Keep the values that are not there yet, and give back what is kept now."""
        return await asyncio.to_thread(write_credentials, self._data_dir, namespace, name, values)

    async def replace(
        self,
        namespace: str,
        name: str,
        former: Mapping[str, Secret],
        values: Mapping[str, Secret],
    ) -> Mapping[str, Secret]:
        """Put new values in the place of former ones, and give back what is kept now."""
        return await asyncio.to_thread(
            replace_credentials, self._data_dir, namespace, name, former, values
        )

    async def remove(self, namespace: str, name: str) -> None:
        """Forget a Secret's values; none is no error."""
        await asyncio.to_thread(remove_credentials, self._data_dir, namespace, name)
