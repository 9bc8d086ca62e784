"""Why a call got no answer, in words for the one who has to mend it."""

import ssl
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from taskloom.delivery.egress import RefusedAddress
from taskloom.delivery.tls import UnusableTls
from taskloom.ports.sender import ErrorClass, OutgoingRequest


def explain_failure(error: Exception, request: OutgoingRequest) -> tuple[ErrorClass, str]:
    """Class an error and say what happened; of the URL the message holds the host at most."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, RefusedAddress):
        return ErrorClass.REFUSED_BY_POLICY, cause.reason
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ErrorClass.TIMEOUT, f"no connection within {request.timeout_connect:g} s"
    if isinstance(error, TimeoutError):
        return ErrorClass.TIMEOUT, f"no complete answer within {request.timeout_total:g} s"
    for kinds, error_class, describe in _CLASSES:
        if isinstance(error, kinds):
            return error_class, " ".join(describe(error).split())[:_LONGEST_MESSAGE]
    return ErrorClass.PROTOCOL, f"the call failed: {type(error).__name__}"


def _describe_tls(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return f"no TLS connection: {getattr(error, 'reason', None) or error}"


def _describe_os(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


_LONGEST_MESSAGE: Final = 300
# The first that fits: the kinds of one library's errors are each other's parents.
_CLASSES: Final[tuple[tuple[Any, ErrorClass, Callable[[Any], str]], ...]] = (
    (UnusableTls, ErrorClass.TLS, str),
    (
        aiohttp.ClientConnectorDNSError,
        ErrorClass.DNS,
        lambda error: f"{error.host}: {_describe_os(error.os_error)}",
    ),
    (
        aiohttp.ClientConnectorCertificateError,
        ErrorClass.TLS,
        lambda error: _describe_tls(error.certificate_error),
    ),
    (aiohttp.ClientConnectorSSLError, ErrorClass.TLS, lambda error: _describe_tls(error.os_error)),
    (
        aiohttp.ClientConnectorError,
        ErrorClass.CONNECT,
        lambda error: f"{error.host}:{error.port}: {_describe_os(error.os_error)}",
    ),
    (
        aiohttp.ServerDisconnectedError,
        ErrorClass.PROTOCOL,
        lambda _: "the connection was closed before an answer",
    ),
    (
        aiohttp.ClientPayloadError,
        ErrorClass.PROTOCOL,
        lambda _: "the answer broke off in its body",
    ),
    (
        (aiohttp.ClientResponseError, HttpProcessingError),
        ErrorClass.PROTOCOL,
        lambda error: f"the answer is not HTTP: {error.message}",
    ),
    (
        (aiohttp.InvalidURL, ValueError),
        ErrorClass.PROTOCOL,
        lambda _: "the URL or a header cannot be sent: correct it",
    ),
    (OSError, ErrorClass.PROTOCOL, lambda error: f"the connection broke: {_describe_os(error)}"),
)
