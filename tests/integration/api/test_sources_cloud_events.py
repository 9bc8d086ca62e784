"""CloudEvents over HTTP: one or many, in both modes, and the question whether they may be sent."""

import json
from typing import Any

import httpx
import pytest

from tests.integration.api.declared import ANYBODY, Declared, document, reason, source

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
CLOUD_EVENTS = {"type": "CloudEvents"}


def cloud_event(number: int = 1, **more: Any) -> dict[str, Any]:
    """Write a CloudEvent."""
    return {
        "specversion": "1.0",
        "type": "order.paid",
        "source": "/till",
        "id": f"e{number}",
        "data": {"n": number},
        **more,
    }


def as_headers(content_type: str = "application/json") -> dict[str, str]:
    """Write the attributes of one as headers."""
    attributes = {name: v for name, v in cloud_event().items() if name != "data"}
    return {"content-type": content_type} | {f"ce-{k}": v for k, v in attributes.items()}


async def post(declared: Declared, value: Any, kind: str = STRUCTURED) -> httpx.Response:
    """Post JSON of a type."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await declared.post("/sources/in", body, by={"content-type": kind})


@pytest.fixture
async def taking(declared: Declared) -> Declared:
    """Declare a source of CloudEvents."""
    await declared.apply(source("/in", ANYBODY, format=CLOUD_EVENTS))
    return declared


async def test_both_modes_make_the_same_event(taking: Declared) -> None:
    """An event that comes in each mode is one event: its source and id are its name."""
    answers = [
        await post(taking, cloud_event()),
        await post(taking, cloud_event(), "application/json"),
        await taking.post("/sources/in", b'{"n": 1}', by=as_headers()),
        await post(taking, [cloud_event()], BATCH),
    ]

    assert [204] * 4 == [answer.status_code for answer in answers]
    assert 1 == len({answer.headers["taskloom-event-id"] for answer in answers[:3]})
    [event] = await taking.events()
    assert ("order.paid", '{"n": 1}', "/till", None, "/till e1") == (
        event.key,
        event.payload,
        event.source,
        event.description,
        event.idempotency_key,
    )


async def test_an_idempotency_key_header_goes_before_source_and_id(taking: Declared) -> None:
    """The sender says so himself."""
    for key in ("a", "b", "b"):
        await taking.post("/sources/in", b"{}", by=as_headers() | {"idempotency-key": key})

    assert {"a", "b"} == {event.idempotency_key for event in await taking.events()}


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        ("text/csv", b"a;b", {"data": "a;b"}),
        ("image/png", b"\x89PNG\x00", {"data_base64": "iVBORwA="}),
        ("application/vnd.order+json", b'{"n": 2}', {"n": 2}),
    ],
)
async def test_data_of_any_type_come_in_binary_mode(
    taking: Declared, content_type: str, body: bytes, payload: Any
) -> None:
    """The attributes stand in headers, so a page cannot make a browser send it unasked."""
    answer = await taking.post("/sources/in", body, by=as_headers(content_type))

    assert 204 == answer.status_code
    [event] = await taking.events()
    assert payload == json.loads(event.payload)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/cloudevents+avro"},
        {"content-type": "application/cloudevents-batch+xml"} | {"ce-id": "e1"},
        {"content-type": "text/plain"},
        {"content-type": "application/cloudevents+json; charset=utf-16"},
        {"content-type": STRUCTURED, "content-encoding": "gzip"},
        as_headers() | {"content-encoding": "gzip"},
    ],
)
async def test_what_cannot_be_read_is_told_what_to_send(
    taking: Declared, headers: dict[str, str]
) -> None:
    """415 with the types that are read."""
    answer = await taking.post("/sources/in", b"{}", by=headers)

    assert 415 == answer.status_code
    told = reason(answer)
    assert (STRUCTURED in told and BATCH in told) or "content-encoding" in told


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": None}, "type"),
        ({"id": ""}, "id"),
        ({"source": 7}, "source"),
        ({"specversion": "0.3"}, "specversion"),
        ({"time": "now"}, "time"),
        ({"subject": "\x00"}, "subject"),
    ],
)
async def test_what_is_no_cloud_event_is_told_its_sender(
    taking: Declared, change: dict[str, Any], field: str
) -> None:
    """400 that names the attribute; of a batch, the element and nothing of it is stored."""
    wrong = cloud_event(**change)

    one = await post(taking, wrong)
    batch = await post(taking, [cloud_event(1), cloud_event(2), wrong, cloud_event(3)], BATCH)

    assert [400, 400] == [one.status_code, batch.status_code]
    assert field == one.json()["errors"][0]["field"]
    assert f"[2].{field}" == batch.json()["errors"][0]["field"]
    assert "Event [2] of the batch" in reason(batch)
    assert [] == await taking.events()


async def test_a_batch_is_stored_as_it_came(taking: Declared) -> None:
    """More than one transaction's worth, in its order, payloads unchanged; again, it is no more."""
    texts = [json.dumps(cloud_event(n)).replace(f'"n": {n}', f'"n":  {n}.50') for n in range(600)]
    body = (" [" + " , ".join(texts) + "\n] ").encode()

    answers = [await post(taking, body, BATCH) for _ in range(2)]

    assert [(204, b"", False)] * 2 == [
        (answer.status_code, answer.content, "taskloom-event-id" in answer.headers)
        for answer in answers
    ]
    events = await taking.events()
    assert [f'{{"n":  {n}.50}}' for n in range(600)] == [
        event.payload for event in sorted(events, key=lambda event: event.id)
    ]


async def test_each_event_of_a_batch_has_its_own_name(taking: Declared) -> None:
    """An Idempotency-Key of the call does not make one of all; two of the same are one."""
    events = [cloud_event(1), cloud_event(2), cloud_event(1), cloud_event(1, source="/other")]

    answer = await taking.post(
        "/sources/in",
        json.dumps(events).encode(),
        by={"content-type": BATCH, "idempotency-key": "all"},
    )

    assert 204 == answer.status_code
    expected = {"/till e1", "/till e2", "/other e1"}
    assert expected == {event.idempotency_key for event in await taking.events()}
    assert 3 == len(await taking.events())


async def test_a_filter_looks_at_each_event_of_a_batch(declared: Declared) -> None:
    """What does not pass is left out, and an expression names each."""
    form = CLOUD_EVENTS | {"idempotencyKey": "message.attributes.id + message.attributes.type"}
    await declared.apply(source("/in", ANYBODY, format=form, filter="event.payload.n > 1"))

    answer = await post(declared, [cloud_event(n) for n in (1, 2, 3)], BATCH)

    assert 204 == answer.status_code
    keys = {event.idempotency_key for event in await declared.events()}
    assert {"e2order.paid", "e3order.paid"} == keys


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"[]", 204, ""),
        (b" [ ] ", 204, ""),
        (b"{}", 400, "must be an array"),
        (b"", 400, "cannot be read"),
        (b"[", 400, "cannot be read"),
        (b"[{}]x", 400, "cannot be read"),
        (b"[1]", 400, "Event [0] of the batch: The JSON must be an object"),
        (b"[[]]", 400, "Event [0]"),
        (b"[{},]", 400, "cannot be read"),
        (b"[" * 200 + b"]" * 200, 400, "deeper than 100"),
        (b"[{}]\xff", 400, "UTF-8"),
        (b"[" + b"0," * 5_000 + b"0]", 413, "5,001 events, of at most 5,000"),
        (b"[" + b" " * (1 << 20) + b"]", 413, "larger than 1,048,576 bytes"),
    ],
)
async def test_odd_batches(taking: Declared, body: bytes, status: int, said: str) -> None:
    """An empty one is fine; broken, deep and large ones are told what is wrong."""
    answer = await post(taking, body, BATCH)

    assert status == answer.status_code
    if status != 204:
        assert said in reason(answer)
    assert [] == await taking.events()


async def test_a_sender_may_ask_whether_it_may_send(taking: Declared) -> None:
    """It may, as often as it asks to; nobody is called back."""
    asking = {
        "webhook-request-origin": "events.example.com",
        "webhook-request-callback": "https://events.example.com/confirm",
    }

    async def ask(**more: str) -> httpx.Response:
        return await taking.client.options("/sources/in", headers={**asking, **more})

    plain, paced = await ask(), await ask(**{"webhook-request-rate": "120"})

    for answer, rate in ((plain, "*"), (paced, "120")):
        assert (200, b"", "events.example.com", rate, "OPTIONS, POST") == (
            answer.status_code,
            answer.content,
            answer.headers["webhook-allowed-origin"],
            answer.headers["webhook-allowed-rate"],
            answer.headers["allow"],
        )
    for odd in ("0", "-1", "x", "9" * 30, "1.5", ""):
        assert 400 == (await ask(**{"webhook-request-rate": odd})).status_code
    for odd in ("", "a b", "x" * 256):
        assert 400 == (await ask(**{"webhook-request-origin": odd})).status_code


async def test_only_sources_of_cloud_events_are_asked(declared: Declared) -> None:
    """No other has that question; who asks needs no credentials, and may ask a suspended one."""
    await declared.apply(
        document("ClientApp", "shop", {}),
        source("/plain", ANYBODY, name="plain"),
        source("/cloud", name="cloud", format=CLOUD_EVENTS, suspend=True),
    )
    asking = {"webhook-request-origin": "a.example"}

    answers = [
        await declared.client.options("/sources/plain", headers=asking),
        await declared.client.options("/sources/cloud"),
        await declared.client.options("/sources/none", headers=asking),
        await declared.client.options("/sources/cloud", headers=asking),
    ]

    assert [405, 405, 404, 200] == [answer.status_code for answer in answers]


async def test_credentials_in_headers_are_no_attributes(declared: Declared) -> None:
    """What an expression sees of a call does not hold them."""
    seen = "'x-api-secret' in message.headers ? 'seen' : 'hidden'"
    await declared.apply(
        document("ClientApp", "shop", {}),
        source("/in", format=CLOUD_EVENTS | {"key": {"expression": seen}}),
    )

    by = declared.credentials("shop") | {"content-type": BATCH}
    answer = await declared.post("/sources/in", json.dumps([cloud_event()]).encode(), by=by)

    assert 204 == answer.status_code
    assert ["hidden"] == [event.key for event in await declared.events()]
