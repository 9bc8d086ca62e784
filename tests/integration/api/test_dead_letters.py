"""Messages that are no events, kept, looked at, repaired and replayed, on a real database."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from taskloom.connectors.running import RunningSource, Surroundings
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import EventSource
from taskloom.flow.ingest import Ingest, Ingested
from taskloom.flow.services import Services
from taskloom.ports.connector import Fate, Incoming, Receipt
from taskloom.testing.connectors import FakeConnector, source_row

SPEC = {"kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]}}
"""A source as most are: TaskEvents, and dead letters of what is none."""


class Bench:
    """A source that runs by itself, and calls of the API."""

    def __init__(self, services: Services, client: httpx.AsyncClient) -> None:
        self.services = services
        self.client = client

    async def declare(self, **spec: Any) -> EventSource:
        """Declare the source, or change it."""
        source = source_row(SPEC | spec, name="orders")
        async with self.services.tasks.begin() as tx:
            await tx.sources.put(source)
        return source

    async def take(self, source: EventSource, *messages: Incoming) -> Sequence[Receipt]:
        """Give the source messages."""
        ingest = Ingest(self.services)

        async def store(events: Sequence[NewEvent]) -> Sequence[Ingested]:
            return await ingest.all(events)

        async def keep(letters: Sequence[NewDeadLetter]) -> None:
            async with self.services.tasks.begin() as tx:
                await tx.dead_letters.add(letters)

        async def position(_source: EventSource) -> None:
            return None

        async def move(_source: EventSource, _position: str) -> None:
            return None

        around = Surroundings(
            ingest=store,
            keep=keep,
            position=position,
            move=move,
            now=self.services.now,
            news=lambda: None,
        )
        return await RunningSource(source, FakeConnector(), around).ingest(messages)

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        """List letters."""
        answer = await self.client.get("/dead-letters", params={"filter": json.dumps(query)})
        assert 200 == answer.status_code, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    async def events(self) -> list[dict[str, Any]]:
        """List events."""
        found: list[dict[str, Any]] = (await self.client.get("/events")).json()
        return found

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        """Call."""
        return await self.client.post(f"/dead-letters/{path}", json={} if body is None else body)


def message(body: bytes | None, number: int = 0, **headers: str) -> Incoming:
    """Write a message."""
    return Incoming(body=body, headers=headers, idempotency_key=f"t/0/{number}", lane="t/0")


def event(number: int) -> bytes:
    """Write an event."""
    return json.dumps({"key": "order", "payload": {"number": number}}).encode()


@pytest.fixture
def bench(services: Services, client: httpx.AsyncClient) -> Bench:
    """Give a bench on one database."""
    return Bench(services, client)


BAD = [
    (b"{", "The JSON cannot be read"),
    (b"", "The JSON cannot be read"),
    (None, "The message has no payload"),
    (b"[]", "The JSON must be an object"),
    (b'{"key": 7}', "key must be a string"),
    (b'{"key": "k", "payload": 7}', "payload must be an object"),
    (b"\xff\xfe", "not valid UTF-8"),
    (b'{"key": "k", "payload": {"x": "' + b"x" * 5_000_000 + b'"}}', "5,000,034 bytes"),
]


async def test_what_is_no_event_is_kept_and_the_rest_flows_on(bench: Bench) -> None:
    """With the reason, the headers and the very bytes."""
    source = await bench.declare()
    messages = [
        message(body, number, a="\x00\ud800\\u0000") for number, (body, _) in enumerate(BAD)
    ]
    good = [message(event(1), 100), message(event(2), 101)]

    receipts = await bench.take(source, good[0], *messages, good[1])
    again = await bench.take(source, *messages)
    letters = await bench.letters(order=["createdOn", "id"])

    assert [Fate.STORED, *[Fate.DEAD_LETTERED] * len(BAD), Fate.STORED] == [
        r.fate for r in receipts
    ]
    assert {Fate.DEAD_LETTERED} == {receipt.fate for receipt in again}
    assert [1, 2] == [each["payload"]["number"] for each in await bench.events()]
    assert len(BAD) == len(letters)
    for letter, (body, reason) in zip(letters, BAD, strict=True):
        one = (await bench.client.get(f"/dead-letters/{letter['id']}")).json()
        kept = one.get("body")
        kept = kept.encode() if kept is not None else one.get("bodyBase64")
        assert reason in one["reason"]
        assert body == (base64.b64decode(kept) if isinstance(kept, str) else kept)
        assert ("default/orders", "open", len(body or b"")) == (
            one["source"],
            one["state"],
            one["size"],
        )
        assert {"a": "\ufffd\ufffd\\u0000"} == one["headers"]


async def test_a_repaired_one_becomes_an_event_once(bench: Bench) -> None:
    """However many replay it at the same time."""
    source = await bench.declare()
    await bench.take(source, message(b'{"payload": {"number": 7}}'))
    [letter] = await bench.letters()

    refused = await bench.post(f"{letter['id']}/replay")
    answers = await asyncio.gather(
        *(bench.post(f"{letter['id']}/replay", {"key": "order"}) for _ in range(5))
    )
    [closed] = await bench.letters()
    later = await bench.post(f"{letter['id']}/replay", {"key": "order"})

    [stored] = await bench.events()
    assert (422, "no event still") == (refused.status_code, refused.json()["detail"][15:29])
    assert {200, 409} >= {answer.status_code for answer in answers}
    assert ("order", {"number": 7}) == (stored["key"], stored["payload"])
    assert ("replayed", stored["id"]) == (closed["state"], closed["eventId"])
    assert 409 == later.status_code


@pytest.mark.parametrize("repair", [{"body": event(8).decode()}, {"bodyBase64": None}])
async def test_another_body_may_be_given(bench: Bench, repair: dict[str, str | None]) -> None:
    """As text or in base64."""
    source = await bench.declare()
    await bench.take(source, message(b"{"))
    [letter] = await bench.letters()
    if "bodyBase64" in repair:
        repair = {"bodyBase64": base64.b64encode(event(8)).decode()}

    answer = await bench.post(f"{letter['id']}/replay", repair)

    assert 200 == answer.status_code
    assert [8] == [each["payload"]["number"] for each in await bench.events()]


async def test_those_of_a_source_are_read_again_as_it_is_now(bench: Bench) -> None:
    """Counted first; what its filter passes over is closed, what is no event still stays open."""
    source = await bench.declare()
    bodies = [b'{"number": 1}', b'{"number": 2}', b"{"]
    await bench.take(source, *(message(body, number) for number, body in enumerate(bodies)))
    await bench.declare(
        format={"type": "JSON", "key": {"literal": "order"}}, filter="event.payload.number > 1"
    )

    asked = {"source": "default/orders", "dryRun": True}
    counted = await bench.post("replay", asked)
    before = await bench.events()
    done = await bench.post("replay", asked | {"dryRun": False})
    again = await bench.post("replay", asked | {"dryRun": False})

    expected = {"replayed": 1, "filtered": 1, "invalid": 1, "next": None}
    assert [expected, expected, expected | {"replayed": 0, "filtered": 0}] == [
        answer.json() for answer in (counted, done, again)
    ]
    assert ([], [2]) == (before, [each["payload"]["number"] for each in await bench.events()])
    assert {"open": 1, "discarded": 1, "replayed": 1} == {
        letter["state"]: 1 for letter in await bench.letters()
    }


async def test_one_may_be_discarded(bench: Bench) -> None:
    """Then it is closed."""
    source = await bench.declare()
    await bench.take(source, message(b"{"))
    [letter] = await bench.letters()

    first = await bench.post(f"{letter['id']}/discard")
    second = await bench.post(f"{letter['id']}/discard")

    count = await bench.client.get("/dead-letters/count", params={"where": '{"state": "open"}'})
    assert (204, 409) == (first.status_code, second.status_code)
    assert {"count": 0} == count.json()


async def test_without_its_source_it_waits(bench: Bench) -> None:
    """It is said what to do."""
    source = await bench.declare()
    await bench.take(source, message(b"{"))
    [letter] = await bench.letters()
    async with bench.services.tasks.begin() as tx:
        await tx.sources.remove(source.id)

    answer = await bench.post(f"{letter['id']}/replay")
    missing = await bench.post(f"{source.id}/replay")

    assert 409 == answer.status_code
    assert "declare it again, or discard" in answer.json()["detail"]
    assert 404 == missing.status_code


async def test_a_blocked_lane_waits_and_another_goes_on(bench: Bench) -> None:
    """Nothing of it is stored after what is no event."""
    source = await bench.declare(onInvalid="Block")
    other = Incoming(body=event(3), idempotency_key="t/1/0", lane="t/1")

    receipts = await bench.take(
        source, message(event(1), 0), message(b"{", 1), message(event(2), 2), other
    )

    assert [Fate.STORED, Fate.BLOCKED, Fate.BLOCKED, Fate.STORED] == [r.fate for r in receipts]
    assert {1, 3} == {each["payload"]["number"] for each in await bench.events()}
    assert [] == await bench.letters()


async def test_ten_thousand_poison_messages_hold_nothing_up(bench: Bench) -> None:
    """Each is kept once, and what is good among them flows on."""
    source = await bench.declare()
    started = time.monotonic()
    for start in range(0, 10_000, 64):
        poison = [message(b"{", number) for number in range(start, min(start + 64, 10_000))]
        await bench.take(source, *poison, message(event(start), 100_000 + start))
    seconds = time.monotonic() - started

    count = await bench.client.get("/dead-letters/count")
    assert {"count": 10_000} == count.json()
    assert 157 == (await bench.client.get("/events/count")).json()["count"]
    assert seconds < 60


async def test_either_it_is_replayed_or_discarded(bench: Bench) -> None:
    """Whoever is later is told so: nothing discarded is an event."""
    source = await bench.declare()
    await bench.take(source, message(b'{"payload": {"number": 7}}'))
    [letter] = await bench.letters()

    answers = await asyncio.gather(
        bench.post(f"{letter['id']}/replay", {"key": "order"}),
        bench.post(f"{letter['id']}/discard"),
    )
    [closed] = await bench.letters()

    assert 1 == [answer.status_code for answer in answers].count(409)
    assert (closed["state"] == "replayed") == (len(await bench.events()) == 1)
