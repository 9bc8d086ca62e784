"""From an outgoing event and a subscription to the request that is sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from taskloom.domain.canonical import Rendering, render, stringify
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.events import TellableEvent
from taskloom.domain.secret import Secret
from taskloom.domain.signing import standard_webhooks_signature, task_signature
from taskloom.domain.webhooks import Target
from taskloom.errors import Invalid
from taskloom.ports.sender import OutgoingRequest, TlsOptions

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_is_token = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]").search
_is_traceparent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch

# Ours, the connection's own, and those that say how the body is to be read.
RESERVED_HEADERS: Final = frozenset(
    {
        *("x-task-signature", "x-task-signature-alternate", "x-task-timestamp"),
        *("traceparent", "user-agent"),
        *("webhook-id", "webhook-timestamp", "webhook-signature", "webhook-attempt"),
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("proxy-connection", "trailer", "transfer-encoding", "upgrade", "expect", "host"),
        *("content-type", "content-length", "content-encoding", "accept-encoding"),
    }
)


class Scheme(StrEnum):
    """How a subscription's deliveries are signed."""

    TASK_SIGNATURE = "TaskSignature"
    STANDARD_WEBHOOKS = "StandardWebhooks"
    BOTH = "Both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What a subscription's deliveries are signed with.

    `api_secrets` and `signing_secrets` are those in force, one or two, the newest first.
    """

    scheme: Scheme
    api_secrets: Sequence[Secret]
    signing_secrets: Sequence[Secret]


def build_request(
    event: TellableEvent,
    target: Target,
    signing: Signing,
    *,
    attempt: int,
    now: datetime,
    version: str,
    policy: EgressPolicy,
    timeout_seconds: float = 15.0,
    traceparent: str | None = None,
) -> OutgoingRequest:
    """Build the request of the `attempt`-th attempt (from 1) at telling `target` of `event`.

    Raises `Invalid` for a payload that is not JSON, and for a URL, header or secret that cannot
    be used.
    """
    envelope = render_envelope(event)
    body = envelope.exact.encode()
    headers = {
        **check_headers(target.headers),
        "content-type": "application/json",
        "user-agent": f"taskloom/{version}",
        "webhook-id": str(event.id),
        "webhook-timestamp": str(_milliseconds(now) // 1000),
        "webhook-attempt": str(attempt),
        **_task_signatures(envelope, signing, attempt, now),
        **_standard_signatures(event, body, signing, now),
    }
    if traceparent and _is_traceparent(traceparent):
        headers["traceparent"] = traceparent
    return OutgoingRequest(
        url=check_url(target.url),
        headers=headers,
        body=body,
        policy=policy,
        timeout_connect=min(5.0, timeout_seconds),
        timeout_total=timeout_seconds,
        tls=TlsOptions(ca_bundle=target.ca_bundle, client_certificate=target.client_certificate),
    )


def render_envelope(event: TellableEvent) -> Rendering:
    """Print what is told of an event: key, payload, milliseconds since the epoch, source."""
    payload = render(event.payload)
    start = f'{{"key":{stringify(event.key)},"payload":'
    end = f',"timestamp":{_milliseconds(event.created_on)},"source":{stringify(event.source)}}}'
    return Rendering(printed=f"{start}{payload.printed}{end}", exact=f"{start}{payload.exact}{end}")


def check_headers(headers: Mapping[str, Secret]) -> dict[str, str]:
    """Give a user's headers as they may be sent, by lower-case name, without reserved ones.

    Raises `Invalid` for a name or value that could become something else on the wire.
    """
    checked = {}
    for name, value in headers.items():
        if not _is_token(name):
            raise Invalid(
                f"{name!r} is no header name: use letters, digits and hyphens", field="headers"
            )
        if _has_control(value.reveal()):
            raise Invalid(
                f"The value of the header {name} holds a line break or another control character:"
                " remove it",
                field="headers",
            )
        if name.lower() not in RESERVED_HEADERS:
            checked[name.lower()] = value.reveal().strip(" \t")
    return checked


def check_url(url: Secret) -> str:
    """Give a URL that can be called; `Invalid` unless it is http or https and names a host."""
    text = url.reveal()
    try:
        parts = urlsplit(text)
        is_good = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        is_good = False
    if not is_good:
        raise Invalid(
            "The URL cannot be called: give one such as https://example.com/hook", field="url"
        )
    return text


def _task_signatures(
    envelope: Rendering, signing: Signing, attempt: int, now: datetime
) -> dict[str, str]:
    """Sign as the original does, whose receivers read one signature and know one secret.

    While two secrets are good the attempts take turns, the newest first, so that a receiver that
    knows either of them accepts one of two attempts; what the other one signs goes beside it.
    """
    if signing.scheme is Scheme.STANDARD_WEBHOOKS:
        return {}
    milliseconds = _milliseconds(now)
    made = [task_signature(key, envelope.printed, milliseconds) for key in signing.api_secrets]
    turn = (attempt - 1) % len(made)
    headers = {"x-task-timestamp": str(milliseconds), "x-task-signature": made.pop(turn)}
    return headers | ({"x-task-signature-alternate": made[0]} if made else {})


def _standard_signatures(
    event: TellableEvent, body: bytes, signing: Signing, now: datetime
) -> dict[str, str]:
    if signing.scheme is Scheme.TASK_SIGNATURE:
        return {}
    seconds = _milliseconds(now) // 1000
    signature = standard_webhooks_signature(signing.signing_secrets, str(event.id), seconds, body)
    return {"webhook-signature": signature}


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
