"""A receiver of webhooks on this machine, which verifies both signatures."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from taskloom.domain.json_text import read_json
from taskloom.domain.secret import Secret
from taskloom.domain.signing import verify_standard_webhooks_signature, verify_task_signature
from taskloom.errors import Invalid, Permanent

HOST = "127.0.0.1"
_LONGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSecrets:
    """What signatures are verified with; one that is None is not looked at."""

    api_secret: Secret | None = None
    signing_secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A call that came; `fault` says why it is not genuine, `verified` which signatures are."""

    id: str
    event: Mapping[str, Any]
    verified: tuple[str, ...]
    fault: str | None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> str:
        """The outgoing event's key."""
        return str(self.event.get("key", ""))

    @property
    def payload(self) -> Any:
        """The outgoing event's payload."""
        return self.event.get("payload")


def read_webhook(
    headers: Mapping[str, str], body: bytes, secrets: ReceiverSecrets, *, now: float
) -> Webhook:
    """Judge a call by its headers (any mapping that ignores case) and body; `now` in seconds."""
    event: Any = {}
    verified: tuple[str, ...] = ()
    try:
        event = read_json(body)
        verified = _verify(headers, body, secrets, now)
        fault = None if isinstance(event, dict) else "the body is no JSON object"
    except Invalid as exc:
        fault = exc.message
    return Webhook(
        id=headers.get("webhook-id", ""),
        event=event if isinstance(event, dict) else {},
        verified=verified,
        fault=fault,
    )


def _verify(
    headers: Mapping[str, str], body: bytes, secrets: ReceiverSecrets, now: float
) -> tuple[str, ...]:
    verified = []
    if secrets.api_secret is not None and "x-task-signature" in headers:
        # While a client's secrets are rotated, the other one's signature is beside it.
        names = ("x-task-signature", "x-task-signature-alternate")
        if not any(
            verify_task_signature(
                secrets.api_secret,
                body,
                signature=headers[name],
                timestamp_ms=headers.get("x-task-timestamp", ""),
                now_ms=int(now * 1000),
            )
            for name in names
            if name in headers
        ):
            raise Invalid("x-task-signature is not by this secret, or is too old")
        verified.append("x-task-signature")
    if secrets.signing_secret is not None and "webhook-signature" in headers:
        if not verify_standard_webhooks_signature(
            secrets.signing_secret,
            body,
            signature=headers["webhook-signature"],
            message_id=headers.get("webhook-id", ""),
            timestamp_s=headers.get("webhook-timestamp", ""),
            now_s=int(now),
        ):
            raise Invalid("webhook-signature is not by this secret, or is too old")
        verified.append("webhook-signature")
    if not verified:
        raise Invalid("it carries no signature that could be verified")
    return tuple(verified)


@contextlib.asynccontextmanager
async def receiving(
    port: int,
    secrets: Callable[[], ReceiverSecrets],
    on_webhook: Callable[[Webhook], None],
    *,
    option: str = "--port",
) -> AsyncIterator[str]:
    """Take webhooks in at the URL that is yielded: 204 to genuine ones, 401 to all others.

    `secrets` is asked at each call, as they may be made or change meanwhile.
    Raises `Permanent` if the port (0 = any that is free) cannot be had, naming its `option`.
    """

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        webhook = read_webhook(request.headers, body, secrets(), now=time.time())
        on_webhook(webhook)
        if webhook.fault is not None:
            return web.json_response({"detail": webhook.fault}, status=401)
        return web.Response(status=204)

    app = web.Application(client_max_size=_LONGEST_BODY)
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as exc:
            raise Permanent(
                f"The webhook receiver cannot listen on {HOST}:{port}: {_reason(exc)}. "
                f"Stop what listens there, or choose another port with {option}."
            ) from exc
        yield f"http://{HOST}:{runner.addresses[0][1]}/webhooks"
    finally:
        await runner.cleanup()


def _reason(exc: OSError) -> str:
    # asyncio puts a sentence of its own in front of the system's
    return (exc.strerror or str(exc)).rpartition(": ")[2]
