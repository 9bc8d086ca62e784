"""POST /sources/…: the paths of EventSources of type http, as bare ASGI."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog
from starlette.types import Receive, Scope, Send

from taskloom.api.bodies import header_map, read_body
from taskloom.api.door import idempotency_key
from taskloom.api.problems import Problem, problem_of, problem_response
from taskloom.api.services import ApiServices
from taskloom.api.source_access import (
    calling_client,
    challenge,
    check_client,
    check_signature,
    delivery_key,
)
from taskloom.api.source_bodies import check_type, is_batch, read_events
from taskloom.api.trigger import EVENT_ID_HEADER
from taskloom.domain.body_signature import Signed
from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import storable
from taskloom.domain.sources import PREFIX, EventSource
from taskloom.errors import Invalid, NotFound, Unauthenticated, Unavailable
from taskloom.flow.filters import reason_against
from taskloom.flow.ingest import Ingested
from taskloom.resources.event_source import EventSourceSpec
from taskloom.resources.source_types import HttpAuth, HttpSource

log = structlog.get_logger()

ROUTE = f"{PREFIX}/{{path}}"
SUSPENDED_SECONDS = 60.0
"""When a sender is told to try a suspended source again."""

_NOT_ALLOWED = Problem(
    status=405,
    code="method-not-allowed",
    detail="Events are posted to a source: use POST.",
    headers=(("allow", "POST"),),
)
_ORIGIN = re.compile(r"[!-~]{1,255}")
_RATE = re.compile(r"[1-9][0-9]{0,8}")


class SourceDoor:
    """Takes events in at the paths that EventSources declare."""

    def __init__(self, services: ApiServices) -> None:
        """Work with these."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 204 once all events are durable or passed over; raise what is wrong."""
        source = await self._find(scope["path"])
        spec = EventSourceSpec.model_validate(
            {name: value for name, value in source.spec.items() if name != "resolved"}
        )
        http = spec.http
        assert http is not None, "only sources of type http have a path"
        headers = header_map(scope)
        if scope["method"] == "OPTIONS" and asks_to_deliver(spec, headers):
            await _answer(send, 200, handshake(headers))
            return
        if scope["method"] != "POST":
            await problem_response(_NOT_ALLOWED, scope["path"])(scope, receive, send)
            return
        if source.suspended:
            # the sender keeps the event and sends it later
            raise Unavailable("This source is suspended: try again later.", delay=SUSPENDED_SECONDS)
        try:
            events = await self._read(source, spec, http, headers, receive)
        except Unauthenticated as exc:
            problem = replace(problem_of(exc), headers=(challenge(http),))
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        ingested = await self._ingest([event for event in events if _let_through(spec, event)])
        told = {}
        if ingested and not is_batch(spec, headers):
            told[EVENT_ID_HEADER] = str(ingested[0].event_id)
        await _answer(send, 204, told)

    async def _ingest(self, events: Sequence[NewEvent]) -> Sequence[Ingested]:
        if len(events) == 1:
            return [await self._services.ingest(events[0])]
        return await self._services.ingest.all(events)

    async def _find(self, path: str) -> EventSource:
        source = None
        if storable(path):
            async with self._services.flow.tasks.begin() as tx:
                source = await tx.sources.by_path(path.removeprefix(PREFIX))
        if source is None:
            raise NotFound(f"There is no event source at {path}.")
        return source

    async def _read(
        self,
        source: EventSource,
        spec: EventSourceSpec,
        http: HttpSource,
        headers: Mapping[str, str],
        receive: Receive,
    ) -> Sequence[NewEvent]:
        """Read the events of somebody who may send them."""
        auth = http.auth or HttpAuth()
        flow = self._services.flow
        if auth.hmac is None and not auth.anonymous:
            check_client(source, auth, await calling_client(flow, headers))
        check_type(spec, headers)
        body = await read_body(receive, headers, http.max_body_bytes)
        signed = Signed(body=body, headers=headers)
        if auth.hmac is not None:
            now = flow.now()
            check_signature(auth.hmac, source.hmac_secrets(now), signed, now)
        return read_events(source, spec, headers, body, _sent_key(spec, auth, signed))


def _sent_key(spec: EventSourceSpec, auth: HttpAuth, signed: Signed) -> str | None:
    """Give what a call is named by, unless the format or each event of a batch says another.

    What a scheme's senders say goes before the header: who has seen a signed message could send it
    again with another one.
    """
    if spec.format.idempotency_key is not None or is_batch(spec, signed.headers):
        return None
    key = None if auth.hmac is None else delivery_key(auth.hmac, signed)
    return idempotency_key(signed.headers.get("idempotency-key")) if key is None else key


def asks_to_deliver(spec: EventSourceSpec, headers: Mapping[str, str]) -> bool:
    """Tell whether a sender of CloudEvents asks if it may deliver here."""
    return spec.format.type == "CloudEvents" and "webhook-request-origin" in headers


def handshake(headers: Mapping[str, str]) -> dict[str, str]:
    """Let a sender of CloudEvents deliver, as often as it asks to; `Invalid` if it says nonsense.

    Whether it may is asked of each event.  A WebHook-Request-Callback is not called.
    """
    origin = headers["webhook-request-origin"].strip()
    if _ORIGIN.fullmatch(origin) is None:
        raise Invalid(
            "The header WebHook-Request-Origin must be 1 to 255 printable ASCII characters.",
            field="WebHook-Request-Origin",
        )
    rate = headers.get("webhook-request-rate", "*").strip()
    if rate != "*" and _RATE.fullmatch(rate) is None:
        raise Invalid(
            "The header WebHook-Request-Rate must be a number of requests a minute.",
            field="WebHook-Request-Rate",
        )
    return {
        "allow": "OPTIONS, POST",
        "webhook-allowed-origin": origin,
        "webhook-allowed-rate": rate,
    }


def _let_through(spec: EventSourceSpec, event: NewEvent) -> bool:
    reason = reason_against(spec.filter, event.key, event.payload, event.source)
    if reason is not None:
        log.info("source.dropped", origin=event.origin, key=event.key, reason=reason)
    return reason is None


async def _answer(send: Send, status: int, headers: Mapping[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    if status != 204:
        pairs.append((b"content-length", b"0"))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b""})
