"""The documented verifiers in Python accept what is sent."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import WebhookVerificationError

from taskloom.delivery.request import Scheme, Signing, build_request
from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import STANDALONE
from taskloom.domain.events import OutgoingEvent
from taskloom.domain.secret import Secret
from taskloom.domain.signing import make_signing_secret
from taskloom.domain.webhooks import Target
from taskloom.ids import new_id
from taskloom.ports.sender import Answer

PAGE = Path(__file__).parents[2] / "docs/reference/webhooks.md"
OLD_SECRET = make_signing_secret(b"o" * 32)
NEW_SECRET = make_signing_secret(b"n" * 32)
OTHER_SECRET = make_signing_secret(b"x" * 32)


def documented(name: str) -> Callable[[bytes, dict[str, str], str], Any]:
    """Run the documentation's Python and give one of its functions."""
    names: dict[str, Any] = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(snippet, names)
    function: Callable[[bytes, dict[str, str], str], Any] = names[name]
    return function


async def deliver(payload: str, now: datetime | None = None) -> tuple[bytes, dict[str, str]]:
    """Send an event to a server; give the body and headers that it received."""
    moment = now or datetime.now(UTC)
    received: list[tuple[bytes, dict[str, str]]] = []

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received.append((await request.read(), headers))
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    request = build_request(
        OutgoingEvent(
            id=new_id(),
            key="task-created",
            payload=payload,
            source="task-service",
            event_id=None,
            task_id=None,
            root_instance_id=None,
            created_on=moment,
        ),
        Target(url=Secret(f"http://127.0.0.1:{runner.addresses[0][1]}/hook")),
        Signing(
            scheme=Scheme.BOTH,
            api_secrets=[Secret("s3cret")],
            signing_secrets=[NEW_SECRET, OLD_SECRET],
        ),
        attempt=1,
        now=moment,
        version="0",
        policy=STANDALONE,
    )
    async with AiohttpSender() as sender:
        result = await sender.send(request)
    await runner.cleanup()
    assert isinstance(result, Answer), result
    return received[0]


@pytest.mark.parametrize("secret", [OLD_SECRET, NEW_SECRET], ids=["old", "new"])
@pytest.mark.parametrize(
    "payload", ['{"é":[1,2.5,"\U0001f600"]}', '{"id":12345678901234567891}', r'{"s":"\u0000"}']
)
async def test_documented_verifiers_accept_either_secret(payload: str, secret: Secret) -> None:
    """The official package and the plain function take old and new secret during a rotation."""
    body, headers = await deliver(payload)
    event = documented("read_event")(body, headers, secret.reveal())

    assert json.loads(payload) == event["payload"]
    assert documented("is_genuine")(body, headers, secret.reveal())


async def test_documented_verifiers_refuse_what_is_not_genuine() -> None:
    """Another secret, body or an old time is refused by both."""
    body, headers = await deliver("{}")
    old_body, old_headers = await deliver("{}", datetime.now(UTC) - timedelta(minutes=6))
    forged = {**headers, "webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}
    cases = [
        (body, headers, OTHER_SECRET),
        (body + b" ", headers, NEW_SECRET),
        (body, forged, NEW_SECRET),
        (old_body, old_headers, NEW_SECRET),
    ]
    for got_body, got_headers, secret in cases:
        assert not documented("is_genuine")(got_body, got_headers, secret.reveal())
        with pytest.raises(WebhookVerificationError):
            documented("read_event")(got_body, got_headers, secret.reveal())
