"""POST /sources/…: the paths of EventSources of type http, as bare ASGI."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog
from starlette.types import Receive, Scope, Send

from taskloom.api.bodies import check_json, header_map, read_body
from taskloom.api.door import idempotency_key
from taskloom.api.problems import Problem, problem_of, problem_response
from taskloom.api.services import ApiServices
from taskloom.api.trigger import EVENT_ID_HEADER
from taskloom.domain.body_signature import is_genuine
from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import storable
from taskloom.domain.secret import Secret
from taskloom.domain.sources import PREFIX, EventSource, object_of, origin_of
from taskloom.domain.webhooks import ClientApp
from taskloom.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from taskloom.flow.filters import reason_against
from taskloom.flow.read_message import Message, read_message
from taskloom.flow.subscribe import authenticate_client
from taskloom.ids import new_id
from taskloom.resources.event_source import EventSourceSpec
from taskloom.resources.source_types import Hmac, HttpAuth, HttpSource

log = structlog.get_logger()

ROUTE = f"{PREFIX}/{{path}}"
SCOPE = "events.trigger"
SUSPENDED_SECONDS = 60.0
"""When a sender is told to try a suspended source again."""

_CREDENTIALS = frozenset({"authorization", "cookie", "x-api-secret"})
_NOT_ALLOWED = Problem(
    status=405,
    code="method-not-allowed",
    detail="Events are posted to a source: use POST.",
    headers=(("allow", "POST"),),
)


class SourceDoor:
    """Takes events in at the paths that EventSources declare."""

    def __init__(self, services: ApiServices) -> None:
        """Work with these."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 204 once the event is durable, or passed over; raise what is wrong."""
        source = await self._find(scope["path"])
        if scope["method"] != "POST":
            await problem_response(_NOT_ALLOWED, scope["path"])(scope, receive, send)
            return
        if source.suspended:
            # the sender keeps the event and sends it later
            raise Unavailable("This source is suspended: try again later.", delay=SUSPENDED_SECONDS)
        spec = EventSourceSpec.model_validate(
            {name: value for name, value in source.spec.items() if name != "resolved"}
        )
        http = spec.http
        assert http is not None, "only sources of type http have a path"
        try:
            event = await self._read(source, spec, http, header_map(scope), receive)
        except Unauthenticated as exc:
            problem = replace(problem_of(exc), headers=(_challenge(http),))
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        reason = reason_against(spec.filter, event.key, event.payload, event.source)
        headers = []
        if reason is None:
            ingested = await self._services.ingest(event)
            headers = [(EVENT_ID_HEADER.encode(), str(ingested.event_id).encode())]
        else:
            log.info("source.dropped", origin=event.origin, key=event.key, reason=reason)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

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
    ) -> NewEvent:
        """Read an event of somebody who may send it."""
        auth = http.auth or HttpAuth()
        if auth.hmac is None and not auth.anonymous:
            check_client(source, auth, await self._client(headers))
        check_json(headers)
        body = await read_body(receive, headers, http.max_body_bytes)
        if auth.hmac is not None:
            secrets = source.hmac_secrets(self._services.flow.now())
            check_signature(auth.hmac, secrets, headers, body)
        once = None
        if spec.format.idempotency_key is None:
            once = idempotency_key(headers.get("idempotency-key"))
        seen = {name: value for name, value in headers.items() if name not in _CREDENTIALS}
        return read_message(
            Message(body=body, headers=seen),
            spec.format,
            event_id=new_id(),
            origin=origin_of(source),
            idempotency_key=once,
        )

    async def _client(self, headers: Mapping[str, str]) -> ClientApp:
        key, secret = headers.get("x-api-key", ""), headers.get("x-api-secret", "")
        if not key or not secret:
            raise Unauthenticated("Send a ClientApp's credentials as x-api-key and x-api-secret.")
        if not self._services.flow.webhooks:
            raise Unauthenticated(
                "This installation has no ClientApps, which this source asks for."
            )
        return await authenticate_client(self._services.flow, key, secret)


def check_client(source: EventSource, auth: HttpAuth, client: ClientApp) -> None:
    """Raise `Forbidden` unless a client may post to a source.

    Those that the source names may; where it names none, those of its namespace with the scope.
    """
    resolved = source.spec["resolved"]
    if auth.client_app_refs is not None:
        if str(client.id) not in resolved["clientIds"]:
            raise Forbidden("This client app is not one of those that may post to this source.")
        return
    home = object_of(client.managed_by)
    if home is None or home[0] != resolved["namespace"]:
        raise Forbidden("This client app is not of this source's namespace.")
    if SCOPE not in client.scopes:
        raise Forbidden(f"This client app may not send events: it lacks the scope {SCOPE}.")


def check_signature(
    form: Hmac, secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes
) -> None:
    """Raise `Unauthenticated` unless the header that a source names signs the body.

    One of the secrets is enough: there are two while they are rotated.
    """
    given = headers.get(form.header.lower())
    if given is None:
        raise Unauthenticated(
            f"Send the body's HMAC with {form.algorithm}, in hex, as the header {form.header}."
        )
    if not any(
        is_genuine(secret, body, signature=given, algorithm=form.algorithm) for secret in secrets
    ):
        raise Unauthenticated(
            f"The header {form.header} does not sign this body: "
            f"it must be the HMAC with {form.algorithm} of the bytes that are sent, in hex."
        )


def _challenge(http: HttpSource) -> tuple[str, str]:
    signed = http.auth is not None and http.auth.hmac is not None
    return ("www-authenticate", f'{"Signature" if signed else "ApiKey"} realm="taskloom"')
