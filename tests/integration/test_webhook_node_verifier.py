"""A receiver in Node.js, made of the documented lines, accepts what is sent to it."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskloom.delivery.request import Scheme, Signing, build_request
from taskloom.delivery.sender import AiohttpSender
from taskloom.domain.egress import STANDALONE
from taskloom.domain.events import OutgoingEvent
from taskloom.domain.secret import Secret
from taskloom.domain.signing import make_signing_secret
from taskloom.domain.webhooks import Target
from taskloom.ids import new_id
from taskloom.ports.sender import Answer, OutgoingRequest

ROOT = Path(__file__).parents[2]
PAYLOADS = {
    "plain": '{"createdTasks":[{"id":"1","key":"approve","status":"pending"}]}',
    "spaces": '{ "a" : [ 1 , 2 ] ,\n\t"b" : null }',
    "unicode": '{"grüße":"日本語 \U0001f600 \u2028\u2029\x7f"}',
    "escapes": r'{"a":"\u0000\u001F\b\f\n\r\t\"\\\/é"}',
    "surrogates": r'{"pair":"\ud83d\ude00","alone":"\ud83d","\udfff":1}',
    "numbers": "[1e21, 1E-7, -0, -0.0, 0.30000000000000004, 1.0, 100, 1e2, 5e-324]",
    "large numbers": '{"id":12345678901234567891,"a":9007199254740993,"b":1e400,"c":-1e400}',
    "fine numbers": "[0.1234567890123456789, 1e-400, 3.14159265358979323846]",
    "index keys": '{"b":1,"10":2,"9":3,"a":4,"01":5,"4294967295":6,"4294967294":7}',
    "repeated keys": '{"a":1,"b":2,"a":{"1":1,"0":2}}',
    "prototype": '{"__proto__":{"x":1},"constructor":2,"toJSON":3}',
    "deep": "[" * 1000 + '{"1":1.0,"0":2}' + "]" * 1000,
    "scalar": '"text"',
    "nothing": "null",
    "long": '{"a":"' + "é" * 700_000 + '"}',
}


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the verifier out of the documentation."""
    page = (ROOT / "docs/reference/webhooks.md").read_text()
    [snippet] = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    path = tmp_path_factory.mktemp("node") / "verifier.mjs"
    path.write_text(snippet)
    return path


@pytest.fixture
async def receiver(node: str, verifier: Path) -> AsyncIterator[str]:
    """Run the receiver; give its URL."""
    process = await asyncio.create_subprocess_exec(
        *(node, ROOT / "tests/node/verify.mjs", verifier, "s3cret é"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    port = int(await process.stdout.readline())
    yield f"http://127.0.0.1:{port}/hook"
    process.kill()
    await process.communicate()


def request(
    url: str,
    payload: str = "{}",
    *,
    secrets: Sequence[str] = ("s3cret é",),
    attempt: int = 1,
    now: datetime | None = None,
) -> OutgoingRequest:
    """Build the request that tells of an event."""
    moment = now or datetime.now(UTC)
    return build_request(
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
        Target(url=Secret(url)),
        Signing(
            scheme=Scheme.BOTH,
            api_secrets=[Secret(secret) for secret in secrets],
            signing_secrets=[make_signing_secret(b"s" * 32)],
        ),
        attempt=attempt,
        now=moment,
        version="0",
        policy=STANDALONE,
    )


async def status_of(sent: OutgoingRequest) -> int:
    """Send a request; give the status of the answer."""
    async with AiohttpSender() as sender:
        result = await sender.send(sent)
    assert isinstance(result, Answer), result
    return result.status


async def test_node_accepts_every_payload(receiver: str) -> None:
    """Whatever the JSON, the signature is over what JSON.stringify(JSON.parse(body)) prints."""
    async with AiohttpSender() as sender:
        for name, payload in PAYLOADS.items():
            result = await sender.send(request(receiver, payload))

            assert isinstance(result, Answer), result
            assert result.status == 204, name


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("secrets", [("new", "s3cret é"), ("s3cret é", "old")])
async def test_node_accepts_either_secret_during_a_rotation(
    receiver: str, secrets: Sequence[str], attempt: int
) -> None:
    """A receiver that has changed and one that has not yet refuse no attempt."""
    assert await status_of(request(receiver, secrets=secrets, attempt=attempt)) == 204


async def test_node_refuses_what_is_not_genuine(receiver: str) -> None:
    """Another secret, body, signature or an old time is refused: the verifier can say no."""
    genuine = request(receiver)
    old = request(receiver, now=datetime.now(UTC) - timedelta(minutes=6))

    assert await status_of(genuine) == 204
    assert await status_of(request(receiver, secrets=["other"])) == 401
    assert await status_of(replace(genuine, body=genuine.body.replace(b"{}", b"[]"))) == 401
    assert await status_of(replace(genuine, headers={})) == 401
    assert await status_of(old) == 401
