"""How servers of NATS are connected to, and what is wrong when they are not."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nats import errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from taskloom.connectors.nats.credentials import read_credentials
from taskloom.connectors.tls import tls_context
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.resources.broker import BrokerTls, NatsServers

REACH_SECONDS = 5.0
"""How long servers have to answer before they count as not there."""
_DIAL_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_PING_SECONDS = 2
_MISSED_PINGS = 2
_STREAM_NOT_FOUND = 10059
_NO_STREAM_MATCHES = 10060
_REFUSALS = ("authorization", "authentication", "permissions violation", "user jwt", "revoked")

T = TypeVar("T")


class NatsFailed(Exception):
    """The servers cannot be used now; the text holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Carry what is wrong."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class Servers:
    """An open connection; `lost` is done once it has ended."""

    def __init__(self) -> None:
        self.client: Client = Client()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._trouble: Exception | None = None

    @property
    def jetstream(self) -> JetStreamContext:
        """What asks JetStream."""
        return self.client.jetstream(timeout=REACH_SECONDS)

    async def ask(self, asked: Coroutine[Any, Any, T], seconds: float = REACH_SECONDS) -> T:
        """Await an answer; `NatsFailed` if it is an error, too late, or the connection ends.

        The client cancels whoever waits when it closes: so it is a task's, which is ours to judge.
        """
        task = asyncio.ensure_future(asked)
        try:
            either: set[asyncio.Future[Any]] = {task, self.lost}
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
        except (errors.Error, OSError) as error:
            raise self.failure(error) from error
        finally:
            task.cancel()
        raise self.failure(None if self.lost.done() else TimeoutError())

    def failure(self, error: BaseException | None) -> NatsFailed:
        """Say what is wrong: what the server said last knows more than that nothing came."""
        if error is None or isinstance(error, TimeoutError | errors.ConnectionClosedError):
            error = self._trouble or error
        if error is None:
            return NatsFailed(Reason.CONNECT_FAILED, "the servers closed the connection")
        return failure_of(error)

    async def dial(self, server: str, options: Mapping[str, Any]) -> None:
        """Connect to one server; `NatsFailed` says why that did not work."""
        if "tls" in options:
            self.client = _OverTlsOnly()
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                await self.client.connect(
                    [server],
                    error_cb=self._hear,
                    closed_cb=self._end,
                    disconnected_cb=self._end,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(_DIAL_SECONDS),
                    ping_interval=_PING_SECONDS,
                    max_outstanding_pings=_MISSED_PINGS,
                    **options,
                )
        except (errors.Error, OSError) as error:
            # That there are no servers left is told after what is wrong with the last one.
            known = self._trouble if isinstance(error, errors.NoServersError) else None
            failed = failure_of(known or error)
            if "tls" in options and failed.reason is Reason.CONNECT_FAILED:
                failed = await _refusal(server, options) or failed
            raise failed from error
        self._trouble = None

    async def close(self) -> None:
        """Say goodbye; servers that do not take it are not waited for."""
        closing = asyncio.ensure_future(self.client.close())
        await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError, errors.Error, OSError):
            await closing

    async def _hear(self, error: Exception) -> None:
        self._trouble = error

    async def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


@asynccontextmanager
async def opened(
    spec: NatsServers, secrets: Mapping[str, Secret], *, name: str
) -> AsyncIterator[Servers]:
    """Connect to the first server that lets us in, and close at the end.

    Entering raises `NatsFailed` if none does, `Invalid` for secrets that cannot be used.
    """
    options = _options(spec, secrets) | {"name": name}
    servers = await _connect(spec.servers, options)
    try:
        yield servers
    finally:
        await servers.close()


def failure_of(error: BaseException) -> NatsFailed:
    """Find out what an error of the client's, of TLS or of a socket means."""
    text = str(error).removeprefix("nats: ").strip(" '\"")
    if isinstance(error, NatsFailed):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, text = Reason.AUTH_FAILED, f"their certificate is no good: {error.verify_message}"
    elif isinstance(error, ssl.SSLError) and "ALERT" in str(error).upper():
        reason, text = Reason.AUTH_FAILED, f"they refuse our certificate: {error.reason}"
    elif any(word in text.lower() for word in _REFUSALS):
        reason, text = Reason.AUTH_FAILED, f"they do not let us in: {text}"
    elif isinstance(error, js_errors.APIError) and error.err_code in _MISSING:
        reason, text = Reason.TOPIC_NOT_FOUND, f"they say: {error.description}"
    elif isinstance(error, js_errors.APIError) and error.description:
        reason, text = Reason.CONNECT_FAILED, f"they say: {error.description}"
    elif isinstance(error, js_errors.ServiceUnavailableError | errors.NoRespondersError):
        reason, text = Reason.CONNECT_FAILED, "JetStream does not answer: is it enabled there?"
    elif isinstance(error, TimeoutError):
        reason, text = Reason.CONNECT_FAILED, "none answered in time"
    else:
        reason, text = Reason.CONNECT_FAILED, text or type(error).__name__
    return NatsFailed(reason, f"the NATS servers: {text}")


async def _refusal(server: str, options: Mapping[str, Any]) -> NatsFailed | None:
    """Find out whether a server that hung up refuses our certificate.

    It says so by an alert after our side of TLS is done, and hangs up: who writes meanwhile, as the
    client does, may never read it.
    """
    address = urlsplit(server)
    host = address.hostname or ""
    try:
        async with asyncio.timeout(_ALERT_SECONDS):
            reader, writer = await asyncio.open_connection(host, address.port)
            try:
                await reader.readline()  # what the server tells of itself
                name = options.get("tls_hostname") or host
                await writer.start_tls(options["tls"], server_hostname=name)
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return failure_of(error)
    except OSError:
        return None
    return None


_ALERT_SECONDS = 2.0
_MISSING = (_STREAM_NOT_FOUND, _NO_STREAM_MATCHES)


class _OverTlsOnly(Client):
    """Speaks TLS whatever the server says of it: nobody in between talks us out of it."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        info["tls_required"] = True
        await super()._process_info(info, initial_connection)


async def _connect(addresses: tuple[str, ...], options: Mapping[str, Any]) -> Servers:
    """Try one server after another; what is told is the failure that says most."""
    failure: NatsFailed | None = None
    for address in addresses:
        servers = Servers()
        try:
            await servers.dial(address, options)
        except NatsFailed as error:
            if failure is None or failure.reason is Reason.CONNECT_FAILED:
                failure = error
            await servers.close()
        except BaseException:
            await servers.close()
            raise
        else:
            return servers
    raise failure or NatsFailed(Reason.CONNECT_FAILED, "there are no NATS servers to connect to")


def _options(spec: NatsServers, secrets: Mapping[str, Secret]) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: secrets[name].reveal() for name in ("user", "password", "token") if name in secrets
    }
    if "credentials" in secrets:
        credentials = read_credentials(secrets["credentials"].reveal())
        options["user_jwt_cb"] = credentials.jwt.encode
        options["signature_cb"] = credentials.sign
    if spec.tls is not None or any(each.startswith("tls:") for each in spec.servers):
        tls = spec.tls or BrokerTls()
        options["tls"] = tls_context(tls, secrets, at="spec.nats.tls")
        if tls.server_name is not None:
            options["tls_hostname"] = tls.server_name
    return options
