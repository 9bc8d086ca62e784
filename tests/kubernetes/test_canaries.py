"""No secret value comes to light: not in a log, row, object, Event, metric, or what is printed."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import jwt
import pytest
import yaml
from sqlalchemy import text

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.flow.publish import publish
from taskloom.flow.services import Services
from taskloom.store.database import Database
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.kubectl_plugin import Run
from tests.real.kubernetes.operator import Operator, Start, condition, until

CANARIES = {
    "header": "canary-header-1f7d3a",
    "url": "canary-url-5c2e9b",
    "hmac": "canary-hmac-77ab01",
    "command": "canary-command-9d4411",
    "imported": "canary-imported-3e8f20",
}
JWT_SECRET = "canary-jwt-0123456789abcdef0123456789abcdef"
KINDS = "clientapps,commands,eventsources,webhooksubscriptions,events.events.k8s.io,events,leases"


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """Serve an endpoint that refuses everything, and sends back what it was sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            header = f"x-seen: {CANARIES['header']}\r\n".encode()
            writer.write(
                b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                + header
                + b"content-length: %d\r\n\r\n" % len(head)
                + head
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    server.close()


def declared(namespace: str, echo: str) -> list[Json]:
    """Write objects that refer to a secret in every way there is."""

    def of(kind: str, name: str, spec: Json) -> Json:
        metadata = {"name": name, "namespace": namespace}
        return {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }

    def ref(key: str) -> Json:
        return {"secretKeyRef": {"name": "canaries", "key": key}}

    def header(key: str) -> list[Json]:
        return [{"name": "x-token", "valueFrom": ref(key)}]

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "canaries", "namespace": namespace},
        "stringData": CANARIES
        | {"url": f"http://127.0.0.1:9/{CANARIES['url']}", "apiKey": "theirs"},
    }
    hook = {"clientAppRef": {"name": "own"}, "eventKeys": ["*"]}
    keys = {"apiKey": "apiKey", "apiSecret": "imported"}
    imported = {"secretRef": {"name": "canaries"}, "keys": keys}
    return [
        secret,
        of("ClientApp", "own", {}),
        of("ClientApp", "theirs", {"credentials": {"imported": imported}}),
        of("WebhookSubscription", "echo", hook | {"url": echo, "headers": header("header")}),
        of("WebhookSubscription", "dead", hook | {"urlFrom": ref("url")}),
        of(
            "Command",
            "pack",
            {"topic": "pack", "http": {"url": echo, "headers": header("command")}},
        ),
        of("EventSource", "signed", {"http": {"path": "/in", "auth": {"hmac": ref("hmac")}}}),
    ]


def credentials(api: Api, namespace: str) -> dict[str, str]:
    """Read the secrets that were generated."""
    metadata = {"name": "own-credentials", "namespace": namespace}
    found = api.get({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    assert not isinstance(found, Refusal)
    return {
        key: base64.b64decode(value).decode()
        for key, value in found["data"].items()
        if key != "apiKey"
    }


def shown(text: str, needles: Iterable[str]) -> set[str]:
    """Name the secrets that a text holds, also in base64."""
    return {
        needle
        for needle in needles
        if needle in text or base64.b64encode(needle.encode()).decode().rstrip("=") in text
    }


async def everything(rows: Database) -> str:
    """Read every row of every table."""
    async with rows.begin() as tx:
        names = await tx.connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        lines: list[str] = []
        for name in names.scalars():
            found = await tx.connection.execute(text(f'SELECT t::text FROM "{name}" t'))
            lines += found.scalars()
    return "\n".join(lines)


async def post_event(operator: Operator) -> str:
    """Post an event whose subscribers are told; gives the token that it was posted with."""
    token = jwt.encode({"sub": "ann", "permissions": ["*"]}, JWT_SECRET)
    body = {"key": "order.placed", "payload": {"id": 7}}
    url = str(operator.get("/healthz").url).removesuffix("/healthz")
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.post(
            "/events/trigger", json=body, headers={"authorization": f"Bearer {token}"}
        )
    assert 204 == answer.status_code, answer.text
    return token


async def test_no_secret_comes_to_light(  # noqa: PLR0917 - what it looks at
    cluster: Api,
    namespace: str,
    operate: Start,
    rows: Database,
    key: str,
    echo: str,
    run: Run,
    tmp_path: Path,
) -> None:
    """Through a rotation, failing deliveries, drift, and everything that tells of them."""
    found = declared(namespace, echo)
    for document in found:
        assert not isinstance(cluster.apply(document), Refusal)
    operator = await operate(
        settings={"LOG_LEVEL": "debug", "JWT_SECRET": JWT_SECRET, "WEBHOOKS": "true"}
    )
    await until(lambda: all(condition(cluster, each) is not None for each in found[1:]))
    before = credentials(cluster, namespace)
    token = await post_event(operator)
    services = Services(tasks=rows, workflows=rows, engine=EmbeddedEngine(rows))
    async with rows.begin() as tx:
        await publish(services, tx, "task-created", {"n": 1})

    async def attempts() -> int:
        async with rows.begin() as tx:
            result = await tx.connection.execute(text("SELECT count(*) FROM attempts"))
            return int(result.scalar_one())

    async with asyncio.timeout(30):
        while await attempts() < 2:
            await asyncio.sleep(0.2)
    found[1]["spec"] = {"credentials": {"generated": {"rotation": {"revision": 1}}}}
    assert not isinstance(cluster.apply(found[1]), Refusal)
    await until(lambda: operator.says("credentials.rotated"))
    metrics = operator.get("/metrics").text
    file = tmp_path / "all.yaml"
    found[0]["stringData"] = {"hmac": "canary-coming-b15a7e"}
    file.write_text(yaml.safe_dump_all(found))
    printed = [
        await run(*arguments.split())
        for arguments in (
            "get",
            "describe capp/own",
            "describe whsub/echo",
            "why whsub/echo",
            "why whsub/dead",
            f"diff -f {file}",
        )
    ]

    after = credentials(cluster, namespace)
    assert not set(before.values()) & set(after.values())
    needles = {
        "canary-coming-b15a7e",
        *CANARIES.values(),
        *before.values(),
        *after.values(),
        JWT_SECRET,
        token,
        key,
    }
    places = {
        "log": operator.log.read_text(),
        "rows": await everything(rows),
        "objects": cluster.kubectl("get", KINDS, "--output=yaml", f"--namespace={namespace}"),
        "metrics": metrics,
        "printed": "".join(said.out + said.err for said in printed),
    }
    assert "echo" in places["objects"]
    assert "x-token: ***" in places["rows"]
    assert "credentials.rotated" in places["log"]
    assert "own-credentials" in places["printed"]
    assert "hmac: '*** (after)'" in places["printed"]
    assert {name: set() for name in places} == {
        name: shown(place, needles) for name, place in places.items()
    }
