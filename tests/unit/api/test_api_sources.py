"""The paths of event sources with nothing behind the door."""

import httpx


async def test_a_database_that_does_not_answer_leaves_the_event_with_its_sender(
    client: httpx.AsyncClient,
) -> None:
    """503 with Retry-After: what is not durable is not taken."""
    answer = await client.post("/sources/in", json={"key": "k"})

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "urn:taskloom:problem:unavailable" == answer.json()["type"]


async def test_a_path_that_no_column_can_hold_is_not_found(client: httpx.AsyncClient) -> None:
    """NUL is refused before the database is asked."""
    answer = await client.post("/sources/in%00", json={"key": "k"})

    assert 404 == answer.status_code
