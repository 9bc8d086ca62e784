"""One HTTP POST to an endpoint of a stranger's.

Whatever the endpoint does is a result: an `Answer`, or a `Failure` without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from taskloom.domain.egress import EgressPolicy
from taskloom.domain.secret import Secret

MOST_BODY_READ: Final = 64 * 1024
MOST_BODY_KEPT: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """TLS towards an endpoint."""

    ca_bundle: str | None = None  # PEM; trusted instead of the system's authorities
    client_certificate: Secret | None = None  # PEM, certificate chain and private key


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """A POST ready to be sent; URL and headers may hold secrets and are not in the repr."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    policy: EgressPolicy
    timeout_connect: float = 5.0  # seconds: name, connection and TLS
    timeout_total: float = 15.0  # seconds: until the last byte of the answer
    tls: TlsOptions = TlsOptions()


class ErrorClass(StrEnum):
    """Why there is no answer."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    REFUSED_BY_POLICY = "refused-by-policy"
    PROTOCOL = "protocol"  # what came is not HTTP, or broke off


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response; header names are lower-case, the body is cut at `MOST_BODY_KEPT`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int

    @property
    def text(self) -> str:
        """The body as text that a database can hold, whatever bytes it is made of."""
        return self.body.decode("utf-8", "replace").replace("\x00", "\ufffd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No usable response; the message names no secret and says what to look at."""

    error: ErrorClass
    message: str
    elapsed_ms: int


SendResult = Answer | Failure


class Sender(Protocol):
    """Sends requests; redirects are never followed, answers never decompressed."""

    async def send(self, request: OutgoingRequest) -> SendResult:
        """POST `request` once; raises nothing for whatever the remote side does."""
        ...
