"""Events over HTTP."""

import asyncio
import json
import uuid
from typing import Any

import httpx

from taskloom.domain.query_tree import EVERY_ROW, Filter
from taskloom.store.database import Database

EVENT = {"key": "order.placed", "payload": {"n": 1}, "source": "shop", "description": "An order"}


async def stored(database: Database, **wanted: Any) -> list[Any]:
    """Read what is in the table."""
    async with database.begin() as tx:
        events = await tx.events.list(Filter())
    return [e for e in events if all(getattr(e, k) == v for k, v in wanted.items())]


async def test_an_event_is_durable_when_it_is_answered(
    client: httpx.AsyncClient, database: Database
) -> None:
    """POST /events/trigger answers 204 and the row is there."""
    answer = await client.post("/events/trigger", json=EVENT)

    assert (answer.status_code, answer.content) == (204, b"")
    [event] = await stored(database, key="order.placed")
    assert (event.source, event.description) == ("shop", "An order")


async def test_a_payload_stays_as_it_came(client: httpx.AsyncClient) -> None:
    """Order of keys, forms of numbers, NUL and lone surrogates come back byte for byte."""
    payload = rb'{"b": 1.50, "10":1e21,"a":-0, "n":12345678901234567890, "s":"\u0000\ud800 \u00e4"}'
    await client.post(
        "/events/trigger",
        content=b'{"key":"k","payload":' + payload + b"}",
        headers={"content-type": "application/json; charset=UTF-8"},
    )

    answer = await client.get("/events")

    assert payload in answer.content


async def test_an_idempotency_key_takes_an_event_in_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    """The same key again answers 204 and stores nothing; another source's key is another key."""
    other = {**EVENT, "source": "elsewhere"}
    answers = [
        await client.post("/events/trigger", json=event, headers={"idempotency-key": "abc"})
        for event in (EVENT, EVENT, other)
    ]

    assert [answer.status_code for answer in answers] == [204, 204, 204]
    assert len(await stored(database)) == 2


async def test_many_at_once_are_all_taken_in(client: httpx.AsyncClient, database: Database) -> None:
    """200 at once are 200 rows."""
    answers = await asyncio.gather(
        *(client.post("/events/trigger", json={"key": f"k{n}"}) for n in range(200))
    )

    assert {answer.status_code for answer in answers} == {204}
    async with database.begin() as tx:
        assert await tx.events.count(EVERY_ROW) == 200


async def test_events_are_listed_counted_and_shown(client: httpx.AsyncClient) -> None:
    """The three ways of reading agree."""
    for number in range(3):
        await client.post("/events/trigger", json={"key": f"k{number}", "payload": {"n": number}})
    query = {"where": {"key": {"neq": "k0"}}, "order": "key DESC", "fields": ["id", "key"]}
    listed = (await client.get("/events", params={"filter": json.dumps(query)})).json()
    counted = (await client.get("/events/count", params={"where": '{"key":{"neq":"k0"}}'})).json()
    shown = (await client.get(f"/events/{listed[0]['id']}")).json()

    assert [event["key"] for event in listed] == ["k2", "k1"]
    assert set(listed[0]) == {"id", "key"}
    assert counted == {"count": 2}
    assert set(shown) == {"id", "key", "payload", "source", "description", "createdOn"}
    assert shown["payload"] == {"n": 2}
    assert shown["createdOn"].endswith("Z")


async def test_an_unknown_event_is_404(client: httpx.AsyncClient) -> None:
    """An id that nobody has, and one that is no UUID, are not found."""
    for path in (f"/events/{uuid.uuid4()}", "/events/banana", f"/events/{uuid.uuid4()}/trace"):
        answer = await client.get(path)

        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_event_is_traced(client: httpx.AsyncClient) -> None:
    """The trace of an event that started nothing is its head."""
    await client.post("/events/trigger", json=EVENT)
    [event] = (await client.get("/events")).json()

    trace = (await client.get(f"/events/{event['id']}/trace")).json()

    assert (trace["id"], trace["routes"], trace["outgoing"]) == (event["id"], [], [])
