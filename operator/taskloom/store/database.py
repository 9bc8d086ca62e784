"""A database: its pool of connections, and transactions on it."""

import contextlib
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import structlog
from psycopg.types.string import TextLoader
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from taskloom.errors import Unavailable
from taskloom.runtime.bell import Bell
from taskloom.store.sealing import Sealer
from taskloom.store.transaction import Transaction

log = structlog.get_logger()

Guard = Callable[[AsyncConnection], Awaitable[None]]
"""Lets a transaction begin, or raises."""

_CHANNEL = "taskloom"
_COMPLAINT_SECONDS = 5.0
_READ_ONLY = "25006"
# For a server that has gone without a word, in seconds (the last in milliseconds).
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Database:
    """PostgreSQL at `url`.

    `sealer` keeps the secrets in it; `broadcast` says that other processes work on the same rows,
    so that wake-ups must reach them.
    """

    def __init__(
        self,
        url: str,
        *,
        sealer: Sealer | None = None,
        bell: Bell | None = None,
        broadcast: bool = False,
        pool_size: int = 20,
    ) -> None:
        self.url = with_driver(url)
        self.bell = bell or Bell()
        self._sealer = sealer
        self._broadcast = broadcast
        self._guard: Guard | None = None
        self._engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            hide_parameters=True,  # an error is logged, and what it was about is no operator's
            connect_args=_patience(self.url),
        )
        self._complained_at = -_COMPLAINT_SECONDS
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self._engine.sync_engine, "connect", _fetch_json_as_text)

    def guarded(self, guard: Guard) -> "Database":
        """Give the same database where `guard` is the first to use each transaction."""
        other = copy.copy(self)
        other._guard = guard  # noqa: SLF001 - it is of this class
        return other

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """Open a transaction: committed at the end of the block, rolled back on an exception."""
        topics: set[str] = set()
        with self._translated():
            async with self._engine.begin() as connection:
                if self._guard is not None:
                    await self._guard(connection)
                tx = Transaction(connection, self.url, topics, self._sealer)
                yield tx
                if self._broadcast and topics:
                    for topic in sorted(topics):
                        await connection.exec_driver_sql(
                            "SELECT pg_notify(%s, %s)", (_CHANNEL, topic)
                        )
        for topic in topics:
            self.bell.ring(topic)

    @contextlib.asynccontextmanager
    async def at_once(self) -> AsyncIterator[Transaction]:
        """Open a transaction for a single statement, committed with it: two round trips less.

        Wake-ups cannot be given to it.
        """
        if self._guard is not None:
            async with self.begin() as tx:
                yield tx
            return
        with self._translated():
            async with self._autocommit.connect() as connection:
                yield Transaction(connection, self.url, set(), self._sealer)

    async def listen(self) -> None:
        """Ring this process's bells for what other processes leave; `Unavailable` if cut off."""
        conninfo = self.url.replace("postgresql+psycopg://", "postgresql://", 1)
        with self._translated():
            async with await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, **_patience(self.url)
            ) as connection:
                await connection.execute(f"LISTEN {_CHANNEL}")
                async for notification in connection.notifies():
                    self.bell.ring(notification.payload)

    async def ping(self) -> None:
        """Raise `Unavailable` if the database does not answer, or takes no writes.

        After a failover the connections may lead to what is a standby now: they are let go, so
        that new ones find the one that leads.
        """
        with self._translated():
            async with self._engine.connect() as connection:
                result = await connection.exec_driver_sql("SHOW transaction_read_only")
                read_only = result.scalar() == "on"
            if read_only:
                await self._engine.dispose()
                raise _takes_no_writes()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as exc:
            raise Unavailable("All database connections are busy: try again shortly.") from exc
        except (DBAPIError, psycopg.Error) as exc:
            cause = exc.orig if isinstance(exc, DBAPIError) else exc
            if getattr(cause, "sqlstate", None) == _READ_ONLY:
                self._complain(str(cause))
                raise _takes_no_writes() from exc
            invalidated = isinstance(exc, DBAPIError) and exc.connection_invalidated
            if not invalidated and not isinstance(
                cause, psycopg.OperationalError | psycopg.InterfaceError
            ):
                raise
            self._complain(str(cause))
            raise Unavailable("The database does not answer: try again shortly.") from exc

    def _complain(self, error: str) -> None:
        """Log what is wrong, once in a while: everybody meets it at once."""
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            log.warning("database.unavailable", error=" ".join(error.split()))


def _takes_no_writes() -> Unavailable:
    return Unavailable(
        "The database is read-only, as a standby is, or during a failover: try again shortly."
    )


def with_driver(url: str) -> str:
    """Spell a PostgreSQL URL as SQLAlchemy wants it, naming the driver."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def _patience(url: str) -> dict[str, Any]:
    """Give how long a connection waits for a silent server, where the URL does not say."""
    given = make_url(url).query
    return {name: value for name, value in _PATIENCE.items() if name not in given}


def _fetch_json_as_text(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.driver_connection.adapters.register_loader("json", TextLoader)
