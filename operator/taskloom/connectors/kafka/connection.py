"""How the brokers of a source or sink are connected to, and what is wrong when they are not."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from taskloom.connectors.kafka.tokens import ClientCredentials, TokenRefused
from taskloom.connectors.tls import tls_context
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.errors import Invalid
from taskloom.resources.broker import BrokerTls, Sasl

REACH_SECONDS = 4.0
"""How long brokers have to answer before they count as not there."""

_REFUSALS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    TokenRefused,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    ssl.SSLCertVerificationError,
)
# What OpenSSL calls a broker's refusal of our certificate.
_REFUSED_BY_ALERT = re.compile(
    r"alert (bad|unknown|expired|revoked|unsupported|certificate)|ALERT_"
)
_ALERT_SECONDS = 0.5
_OF_CONNECTIONS = (
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "sasl_oauth_token_provider",
)
_NUMBER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a connection, in words that hold no secret."""

    reason: Reason
    message: str


class BrokerFailed(Exception):
    """The brokers cannot be used now."""

    def __init__(self, trouble: Trouble) -> None:
        """Carry what is wrong."""
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Brokers, and the arguments that every client of aiokafka takes for them."""

    servers: tuple[str, ...]
    arguments: Mapping[str, Any] = field(repr=False)
    shows_certificate: bool = False

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS that is spoken, if any."""
        found: ssl.SSLContext | None = self.arguments.get("ssl_context")
        return found

    @property
    def tokens(self) -> ClientCredentials | None:
        """Who gives the tokens to log in with, if any are needed."""
        found: ClientCredentials | None = self.arguments.get("sasl_oauth_token_provider")
        return found


def connection_of(
    servers: tuple[str, ...],
    sasl: Sasl | None,
    tls: BrokerTls | None,
    secrets: Mapping[str, Secret],
    *,
    client_id: str,
) -> Connection:
    """Say how to connect; `secrets` are what `broker_secrets` has read of the references.

    Raises `Invalid` for what cannot be used: a certificate that is none, a mechanism not served.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(servers),
        "client_id": client_id,
        "request_timeout_ms": 10_000,
        "retry_backoff_ms": 200,
        "security_protocol": "PLAINTEXT",
    }
    if tls is not None:
        arguments |= {
            "security_protocol": "SSL",
            "ssl_context": tls_context(tls, secrets, at="spec.kafka.tls"),
        }
    if sasl is not None:
        arguments |= _login(sasl, secrets)
        arguments["security_protocol"] = "SASL_PLAINTEXT" if tls is None else "SASL_SSL"
    return Connection(
        servers=servers,
        arguments=arguments,
        shows_certificate="tls.clientCertificate" in secrets,
    )


async def reach(connection: Connection, topics: Collection[str] = ()) -> None:
    """Return if the brokers answer, let us in and have the topics; else raise `BrokerFailed`.

    It takes at most some `REACH_SECONDS` for each of the steps.
    """
    try:
        await _dial(connection)
        if connection.tokens is not None:
            await connection.tokens.token()
        async with asyncio.timeout(REACH_SECONDS):
            known = await _topics(connection)
    except Exception as error:
        raise BrokerFailed(trouble_of(error)) from error
    missing = sorted(set(topics) - known)
    if missing:
        noun = "topic" if len(missing) == 1 else "topics"
        raise BrokerFailed(
            Trouble(
                Reason.TOPIC_NOT_FOUND,
                f"the brokers have no {noun} {', '.join(missing)}, or do not let us see it",
            )
        )


def trouble_of(error: BaseException) -> Trouble:
    """Find out what an error of the client's, of TLS or of a socket means."""
    if isinstance(error, BrokerFailed):
        return error.trouble
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = Reason.AUTH_FAILED
        text = f"the brokers' certificate is not to be trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError) and _REFUSED_BY_ALERT.search(str(error)):
        reason, text = Reason.AUTH_FAILED, f"the brokers refuse our certificate: {error.reason}"
    elif isinstance(error, _REFUSALS):
        reason, text = Reason.AUTH_FAILED, f"the brokers do not let us in: {_words(error)}"
    elif isinstance(error, UnknownTopicOrPartitionError):
        reason, text = Reason.TOPIC_NOT_FOUND, f"a topic is gone: {_words(error)}"
    elif isinstance(error, TimeoutError):
        reason = Reason.CONNECT_FAILED
        text = f"no broker answered within {REACH_SECONDS:.0f} seconds"
    else:
        reason, text = Reason.CONNECT_FAILED, f"the brokers cannot be reached: {_words(error)}"
    return Trouble(reason, text)


def client_settings(
    properties: Mapping[str, str] | None, known: Mapping[str, str]
) -> dict[str, Any]:
    """Turn Kafka's own names of settings into aiokafka's arguments.

    Raises `Invalid` for one that this client does not have.
    """
    found: dict[str, Any] = {}
    for name, value in (properties or {}).items():
        if name not in known:
            raise Invalid(
                f"spec.kafka.properties.{name} is not known to this client, which takes "
                f"{', '.join(sorted(known))}."
            )
        found[known[name]] = int(value) if _NUMBER.fullmatch(value) else value
    return found


async def _dial(connection: Connection) -> None:
    """Return once one server lets us in, TLS, login and all; else raise why one did not.

    All are dialled at once: several that never answer take no longer than one.
    """
    failure: BaseException | None = None
    dialling = [asyncio.ensure_future(_let_in(connection, each)) for each in connection.servers]
    try:
        for answer in asyncio.as_completed(dialling):
            try:
                await answer
            except (KafkaError, OSError) as error:
                # The one that says most: who refuses us before who is away.
                if failure is None or not isinstance(failure, _REFUSALS):
                    failure = error
            else:
                return
    finally:
        for dial in dialling:
            dial.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)
    if failure is not None:
        raise failure


async def _let_in(connection: Connection, server: str) -> None:
    host, _, port = server.rpartition(":")
    async with asyncio.timeout(REACH_SECONDS):
        await _log_in(connection, host.strip("[]"), int(port))


async def _log_in(connection: Connection, host: str, port: int) -> None:
    if connection.shows_certificate:
        await _be_let_in(host, port, connection.tls)
    arguments = connection.arguments
    conn = await create_conn(
        host,
        port,
        request_timeout_ms=int(REACH_SECONDS * 1000),
        **{name: arguments[name] for name in _OF_CONNECTIONS if name in arguments},
    )
    conn.close()


async def _be_let_in(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Return if our certificate is taken: a refusal comes as an alert after our side is done."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ALERT_SECONDS):
                await reader.read(1)
    finally:
        writer.close()


async def _topics(connection: Connection) -> set[str]:
    admin = AIOKafkaAdminClient(**connection.arguments)
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()


def _login(sasl: Sasl, secrets: Mapping[str, Secret]) -> dict[str, Any]:
    if sasl.mechanism == "AWS_MSK_IAM":
        raise Invalid(
            "spec.kafka.sasl.mechanism AWS_MSK_IAM is not served by this version: "
            "let MSK take SCRAM-SHA-512, and log in by that."
        )
    if sasl.oauth is None:
        return {
            "sasl_mechanism": sasl.mechanism,
            "sasl_plain_username": secrets["sasl.username"].reveal(),
            "sasl_plain_password": secrets["sasl.password"].reveal(),
        }
    provider: AbstractTokenProvider = ClientCredentials(
        endpoint=sasl.oauth.token_endpoint,
        client_id=secrets["sasl.clientId"],
        client_secret=secrets["sasl.clientSecret"],
        scope=sasl.oauth.scope,
    )
    return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}


def _words(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, KafkaError):
        return text or error.__doc__ or type(error).__name__
    return text or type(error).__name__
