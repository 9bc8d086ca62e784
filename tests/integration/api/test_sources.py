"""The paths that EventSources declare, on a real database, declared as a folder does."""

import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry

from taskloom.api.app import create_app
from taskloom.api.services import ApiServices
from taskloom.store.database import Database
from tests.integration.api.declared import ANYBODY, EVENT, Declared, document, reason, source

HMAC_SECRET = "It's a Secret to Everybody"
SECRETS = {
    "kind": "Secret",
    "apiVersion": "v1",
    "metadata": {"name": "hook"},
    "stringData": {"hmac": HMAC_SECRET},
}


def signed(body: bytes, algorithm: str = "sha256", secret: str = HMAC_SECRET) -> str:
    """Sign a body."""
    return hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()


async def test_an_event_is_durable_when_it_is_answered(declared: Declared) -> None:
    """204 with the event's id, and it is there as it was sent, with the source it came by."""
    await declared.apply(source("/shop/in", ANYBODY))

    answer = await declared.post("/sources/shop/in")

    assert (204, b"") == (answer.status_code, answer.content)
    [event] = await declared.events()
    assert UUID(answer.headers["taskloom-event-id"]) == event.id
    assert ("paid", '{"n": 1}', "till", "d") == (
        event.key,
        event.payload,
        event.source,
        event.description,
    )
    assert "source:default/in" == event.origin


async def test_status_says_where_events_are_sent(declared: Declared, database: Database) -> None:
    """What status.endpoint names is where the door takes events."""
    await declared.apply(source("/", ANYBODY))
    async with database.begin() as tx:
        [stored] = await tx.resources.all()

    answer = await declared.post(stored.status["endpoint"])

    assert ("/sources/", 204) == (stored.status["endpoint"], answer.status_code)


@pytest.mark.parametrize(
    "path",
    ["/sources", "/sources/", "/sources/other", "/sources/in/", "/sources/IN", "/sources/in%00"],
)
async def test_an_unknown_path_is_not_found(declared: Declared, path: str) -> None:
    """Paths are compared as they are."""
    await declared.apply(source("/in", ANYBODY))

    answer = await declared.post(path)

    assert 404 == answer.status_code
    reason(answer)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_events_are_posted(declared: Declared, method: str) -> None:
    """Any other method is told so, and which is allowed."""
    await declared.apply(source("/in", ANYBODY))

    answer = await declared.client.request(method, "/sources/in")

    assert (405, "POST") == (answer.status_code, answer.headers["allow"])
    assert "POST" in reason(answer)


async def test_a_suspended_source_leaves_the_event_with_its_sender(declared: Declared) -> None:
    """503 with Retry-After until it resumes; nothing is stored meanwhile."""
    await declared.apply(source("/in", ANYBODY, suspend=True))

    answer = await declared.post("/sources/in")

    assert (503, "60") == (answer.status_code, answer.headers["retry-after"])
    assert "suspended" in reason(answer)
    assert [] == await declared.events()

    await declared.apply(source("/in", ANYBODY))

    assert 204 == (await declared.post("/sources/in")).status_code


async def test_a_deleted_source_is_not_found(declared: Declared) -> None:
    """Its path is nobody's."""
    await declared.apply(source("/in", ANYBODY))
    await declared.apply(source("/elsewhere", ANYBODY, name="other"))

    assert 404 == (await declared.post("/sources/in")).status_code


async def test_a_body_has_its_own_limit(declared: Declared) -> None:
    """As many bytes as the source says, be it more or less than elsewhere."""
    body = json.dumps(EVENT).encode()
    large = b'{"key": "k", "payload": {"text": "' + b"x" * 2_000_000 + b'"}}'
    await declared.apply(
        source("/small", ANYBODY, name="small", http={"maxBodyBytes": len(body)}),
        source("/large", ANYBODY, name="large", http={"maxBodyBytes": len(large)}),
        source("/usual", ANYBODY, name="usual"),
    )

    answers = [
        (await declared.post(f"/sources/{path}", sent)).status_code
        for path, sent in (
            ("small", body),
            ("small", body + b" "),
            ("large", large),
            ("large", large + b" "),
            ("usual", large),
        )
    ]

    assert [204, 413, 204, 413, 413] == answers


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_only_json_is_read(declared: Declared, content_type: str) -> None:
    """Other types are refused, so that no foreign page can post."""
    await declared.apply(source("/in", ANYBODY))

    answer = await declared.post("/sources/in", content_type=content_type)

    assert 415 == answer.status_code
    assert "application/json" in reason(answer)


async def test_what_is_no_event_is_told(declared: Declared) -> None:
    """400 with the reason, and nothing is stored."""
    await declared.apply(
        source("/in", ANYBODY),
        source("/by", ANYBODY, name="by", format={"type": "JSON", "key": {"header": "X-Kind"}}),
    )

    no_key = await declared.post("/sources/in", b'{"payload": {}}')
    no_header = await declared.post("/sources/by", b"{}")
    long_key = await declared.post("/sources/in", idempotency_key="k" * 256)

    assert [400] * 3 == [answer.status_code for answer in (no_key, no_header, long_key)]
    assert "key must be a non-empty string." == reason(no_key)
    assert [{"field": "X-Kind", "detail": reason(no_header)}] == no_header.json()["errors"]
    assert "Idempotency-Key" in reason(long_key)
    assert [] == await declared.events()


async def test_any_json_can_be_an_event(declared: Declared) -> None:
    """The body is the payload as it came, its kind in a header is the key."""
    await declared.apply(
        source("/in", ANYBODY, format={"type": "JSON", "key": {"header": "x-kind"}})
    )
    bodies = [rb'{"b": 1.50, "10":1e21, "s":"\u0000\ud800 \u00e4"}', b"[1, 2]", b"null", b'"a"']

    answers = [await declared.post("/sources/in", body, x_kind="paid") for body in bodies]

    assert [204] * 4 == [answer.status_code for answer in answers]
    stored = await declared.events()
    assert {body.decode() for body in bodies} == {event.payload for event in stored}
    assert {"paid"} == {event.key for event in stored}


async def test_what_does_not_pass_the_filter_is_not_stored(declared: Declared) -> None:
    """The sender is told the same, without an id; a filter that fails lets nothing through."""
    await declared.apply(source("/in", ANYBODY, filter="event.payload.n > 1"))

    answers = [
        await declared.post("/sources/in", b'{"key": "k", "payload": ' + payload + b"}")
        for payload in (b'{"n": 1}', b'{"n": 2}', b"{}", b'{"n": "x"}')
    ]

    assert [204] * 4 == [answer.status_code for answer in answers]
    assert [False, True, False, False] == ["taskloom-event-id" in a.headers for a in answers]
    assert ['{"n": 2}'] == [event.payload for event in await declared.events()]


async def test_an_idempotency_key_is_a_sources_own(declared: Declared) -> None:
    """Twice at one source is one event with one id; at another source it is another event."""
    await declared.apply(source("/a", ANYBODY, name="a"), source("/b", ANYBODY, name="b"))

    first = await declared.post("/sources/a", idempotency_key="once")
    again = await declared.post("/sources/a", idempotency_key="once")
    other = await declared.post("/sources/b", idempotency_key="once")

    ids = [answer.headers["taskloom-event-id"] for answer in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert 2 == len(await declared.events())


async def test_an_expression_gives_the_idempotency_key(declared: Declared) -> None:
    """It goes before the header, which may hold anything then."""
    await declared.apply(
        source("/in", ANYBODY, format={"idempotencyKey": "message.headers['x-delivery']"})
    )

    for delivery, given in (("1", "a"), ("1", "b"), ("2", "k" * 300)):
        answer = await declared.post("/sources/in", x_delivery=delivery, idempotency_key=given)
        assert 204 == answer.status_code

    assert {"1", "2"} == {event.idempotency_key for event in await declared.events()}
    assert 2 == len(await declared.events())
    assert 400 == (await declared.post("/sources/in", idempotency_key="a")).status_code


async def test_expressions_do_not_see_credentials(declared: Declared) -> None:
    """A client's secret cannot become a part of an event."""
    secret = "message.headers['x-api-secret']"
    await declared.apply(
        document("ClientApp", "shop", {}),
        source("/in", format={"type": "JSON", "key": {"expression": secret}}),
    )

    answer = await declared.post("/sources/in", b"{}", by=declared.credentials("shop"))

    assert 400 == answer.status_code
    assert 'no such field: "x-api-secret"' in reason(answer)


@pytest.mark.parametrize(
    ("algorithm", "prefix"), [("sha256", ""), ("sha256", "sha256="), ("sha512", "sha512=")]
)
async def test_a_signed_body_is_taken(declared: Declared, algorithm: str, prefix: str) -> None:
    """By the header that the source names, with or without the hash's name before the hex."""
    form = {
        "secretKeyRef": {"name": "hook", "key": "hmac"},
        "header": "X-Hub-Signature",
        "algorithm": algorithm,
    }
    await declared.apply(SECRETS, source("/in", {"hmac": form}))
    body = json.dumps(EVENT).encode()

    answer = await declared.post(
        "/sources/in", body, x_hub_signature=prefix + signed(body, algorithm)
    )

    assert 204 == answer.status_code


async def test_an_unsigned_body_is_refused(declared: Declared) -> None:
    """No signature, one of other bytes, by another secret or hash: 401 that names the header."""
    await declared.apply(
        SECRETS, source("/in", {"hmac": {"secretKeyRef": {"name": "hook", "key": "hmac"}}})
    )
    body = json.dumps(EVENT).encode()
    false = [
        "",
        signed(body + b" "),
        signed(body, secret="other"),
        signed(body, "sha512"),
        f"sha512={signed(body)}",
    ]

    answers = [
        await declared.post("/sources/in", body),
        *[await declared.post("/sources/in", body, x_signature=one) for one in false],
    ]

    for answer in answers:
        assert (401, 'Signature realm="taskloom"') == (
            answer.status_code,
            answer.headers["www-authenticate"],
        )
        assert "x-signature" in reason(answer)
        assert HMAC_SECRET not in answer.text
        assert signed(body) not in answer.text
    assert [] == await declared.events()
    assert 204 == (await declared.post("/sources/in", x_signature=signed(body))).status_code


@pytest.mark.parametrize("auth", [None, {"anonymous": False}])
async def test_the_clients_of_its_namespace_may_post(
    declared: Declared, auth: dict[str, Any] | None
) -> None:
    """Where a source names nobody: those with the scope, and no others."""
    await declared.apply(
        document("ClientApp", "shop", {}),
        document("ClientApp", "hall", {"scopes": ["webhooks.manage"]}),
        document("ClientApp", "away", {}, namespace="elsewhere"),
        document("ClientApp", "idle", {"suspend": True}),
        source("/in", auth),
    )
    shop = declared.credentials("shop")

    answers = {
        "shop": await declared.post("/sources/in", by=shop),
        "hall": await declared.post("/sources/in", by=declared.credentials("hall")),
        "away": await declared.post("/sources/in", by=declared.credentials("away", "elsewhere")),
        "idle": await declared.post("/sources/in", by=declared.credentials("idle")),
        "wrong": await declared.post("/sources/in", by={**shop, "x-api-secret": "wrong"}),
        "unknown": await declared.post("/sources/in", by={**shop, "x-api-key": "nobody"}),
        "keyless": await declared.post("/sources/in"),
    }

    expected = {"shop": 204, "hall": 403, "away": 403, "idle": 403}
    expected |= {"wrong": 401, "unknown": 401, "keyless": 401}
    assert expected == {name: answer.status_code for name, answer in answers.items()}
    assert 'ApiKey realm="taskloom"' == answers["keyless"].headers["www-authenticate"]
    assert "x-api-key and x-api-secret" in reason(answers["keyless"])
    assert "events.trigger" in reason(answers["hall"])
    assert "namespace" in reason(answers["away"])
    assert reason(answers["wrong"]) == reason(answers["unknown"])
    assert 1 == len(await declared.events())


async def test_a_client_that_was_registered_by_a_call_has_no_namespace(
    declared: Declared, client: httpx.AsyncClient
) -> None:
    """Its credentials are good, but for no source."""
    await declared.apply(source("/in"))
    made = (await client.post("/client-app", json={"clientName": "shop"})).json()

    answer = await declared.post(
        "/sources/in", x_api_key=made["apiKey"], x_api_secret=made["apiSecret"]
    )

    assert 403 == answer.status_code


async def test_the_clients_that_a_source_names_may_post(declared: Declared) -> None:
    """They and nobody else; to be named is enough."""
    await declared.apply(
        document("ClientApp", "till", {"scopes": ["tasks.read"]}),
        document("ClientApp", "shop", {}),
        source("/in", {"clientAppRefs": [{"name": "till"}]}),
    )

    till = await declared.post("/sources/in", by=declared.credentials("till"))
    shop = await declared.post("/sources/in", by=declared.credentials("shop"))

    assert [204, 403] == [till.status_code, shop.status_code]
    assert "not one of those" in reason(shop)


async def test_who_may_not_post_is_refused_before_the_body_is_read(declared: Declared) -> None:
    """A stranger's large or broken body is no matter."""
    await declared.apply(source("/in"))

    answer = await declared.post("/sources/in", b"x" * 2_000_000)

    assert 401 == answer.status_code


async def test_a_source_without_clients_says_so(
    declared: Declared, api_services: ApiServices
) -> None:
    """Where the webhook tables were left out nobody has credentials: 401 says why."""
    await declared.apply(source("/in"))
    bare = replace(
        api_services,
        flow=replace(api_services.flow, webhooks=False),
        registry=CollectorRegistry(),
    )
    transport = httpx.ASGITransport(create_app(bare))

    async with httpx.AsyncClient(transport=transport, base_url="http://taskloom") as client:
        answer = await client.post(
            "/sources/in", json=EVENT, headers={"x-api-key": "a", "x-api-secret": "b"}
        )

    assert 401 == answer.status_code
    assert "no ClientApps" in reason(answer)


async def test_posts_are_counted_under_one_name(
    declared: Declared, client: httpx.AsyncClient
) -> None:
    """Paths that strangers make up do not become labels of their own."""
    await declared.apply(source("/in", ANYBODY))
    await declared.post("/sources/in")
    await declared.post("/sources/made-up")

    text = (await client.get("/metrics")).text

    counted = set(re.findall(r"taskloom_http_requests_total\{(.*sources.*)\}", text))
    expected = {
        f'method="POST",route="/sources/{{path}}",status="{status}"' for status in (204, 404)
    }
    assert expected == counted


async def test_a_rotated_secret_signs_besides_the_new_one(declared: Declared) -> None:
    """A sender that signs with a client's secret may change to the new one within the overlap."""
    form = {"secretKeyRef": {"name": "till-credentials", "key": "apiSecret"}}
    path = source("/in", {"hmac": form})
    body = json.dumps(EVENT).encode()

    def headers(secret: str) -> dict[str, str]:
        return {"x-signature": signed(body, secret=secret)}

    await declared.apply(document("ClientApp", "till", {}), path)
    old = declared.credentials("till")["x-api-secret"]
    rotation = {"generated": {"rotation": {"revision": 1}}}
    await declared.apply(document("ClientApp", "till", {"credentials": rotation}), path)
    new = declared.credentials("till")["x-api-secret"]

    answers = [
        (await declared.post("/sources/in", body, by=headers(secret))).status_code
        for secret in (new, old, "neither")
    ]
    assert old != new
    assert [204, 204, 401] == answers
