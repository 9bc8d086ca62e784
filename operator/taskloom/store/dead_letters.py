"""Dead letters: messages that are no events."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.dead_letters import DeadLetter, DeadLetterState, NewDeadLetter
from taskloom.domain.json_text import storable
from taskloom.domain.query_tree import Filter, Where
from taskloom.store.driver import as_parameter, run
from taskloom.store.filters import Columns, page, query_bounds, where_clause
from taskloom.store.tables import dead_letters

COLUMNS: Columns = {
    "id": dead_letters.c.id,
    "source": dead_letters.c.origin,
    "reason": dead_letters.c.reason,
    "state": dead_letters.c.state,
    "idempotencyKey": dead_letters.c.idempotency_key,
    "eventId": dead_letters.c.event_id,
    "createdOn": dead_letters.c.created_on,
}
_COLUMNS = (
    *(column for column in dead_letters.c if column.name != "body"),
    func.coalesce(func.octet_length(dead_letters.c.body), 0).label("size"),
)
_MOST_BYTES = 8_000_000

_INSERT = """
INSERT INTO dead_letters (id, source_id, origin, reason, headers, body, idempotency_key)
SELECT id, source_id, origin, reason, headers::json, decode(body, 'base64'), idempotency_key
FROM jsonb_to_recordset(%s::jsonb) AS row (
    id uuid, source_id uuid, origin text, reason text, headers text, body text,
    idempotency_key text)
ON CONFLICT DO NOTHING
"""


class DeadLetters:
    """The dead_letters table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, letters: Sequence[NewDeadLetter]) -> None:
        """Keep messages; those that are kept already stay as they are."""
        for batch in _in_pieces(letters):
            rows = [
                {
                    "id": letter.id,
                    "source_id": letter.source_id,
                    "origin": letter.origin,
                    "reason": _storable(letter.reason),
                    "headers": msgspec.json.encode(
                        {_storable(k): _storable(v) for k, v in letter.headers.items()}
                    ).decode(),
                    "body": None if letter.body is None else base64.b64encode(letter.body).decode(),
                    "idempotency_key": None
                    if letter.idempotency_key is None
                    else _storable(letter.idempotency_key),
                }
                for letter in batch
            ]
            await run(self._connection, _INSERT, (as_parameter(rows),))

    async def count(self, where: Where) -> int:
        """Count by a query."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                select(func.count()).select_from(dead_letters).where(where_clause(where, COLUMNS))
            )
            return result.scalar_one()

    async def open_by_source(self) -> dict[str, int]:
        """Count those that nobody has seen to yet, by source."""
        result = await self._connection.execute(
            select(dead_letters.c.origin, func.count())
            .where(dead_letters.c.state == DeadLetterState.OPEN)
            .group_by(dead_letters.c.origin)
        )
        return {row[0]: row[1] for row in result}

    async def get(self, letter_id: UUID) -> DeadLetter | None:
        """Look one up."""
        result = await self._connection.execute(
            select(*_COLUMNS).where(dead_letters.c.id == letter_id)
        )
        row = result.first()
        return None if row is None else _row_to_letter(row)

    async def body(self, letter_id: UUID) -> bytes | None:
        """Read a message's body."""
        found: bytes | None = await self._connection.scalar(
            select(dead_letters.c.body).where(dead_letters.c.id == letter_id)
        )
        return found

    async def open_of(self, origin: str, limit: int, after: UUID | None) -> list[DeadLetter]:
        """List a source's open ones, the oldest first, from after one of them on."""
        wanted = select(*_COLUMNS).where(
            dead_letters.c.origin == origin, dead_letters.c.state == DeadLetterState.OPEN
        )
        if after is not None:
            wanted = wanted.where(dead_letters.c.id > after)
        result = await self._connection.execute(wanted.order_by(dead_letters.c.id).limit(limit))
        return [_row_to_letter(row) for row in result]

    async def lock(self, letter_id: UUID) -> bool:
        """Hold one until the transaction ends; tell whether it is open."""
        found = await self._connection.scalar(
            select(dead_letters.c.id)
            .where(dead_letters.c.id == letter_id, dead_letters.c.state == DeadLetterState.OPEN)
            .with_for_update()
        )
        return found is not None

    async def settle(self, letter_id: UUID, event_id: UUID | None) -> bool:
        """Close an open one: it became this event, or none; tell whether it was open."""
        state = DeadLetterState.DISCARDED if event_id is None else DeadLetterState.REPLAYED
        result = await self._connection.execute(
            update(dead_letters)
            .where(dead_letters.c.id == letter_id, dead_letters.c.state == DeadLetterState.OPEN)
            .values(state=state, event_id=event_id, finished_at=func.now())
        )
        return result.rowcount > 0

    async def still(self, letter_id: UUID, reason: str) -> None:
        """Keep why one is no event still."""
        await self._connection.execute(
            update(dead_letters)
            .where(dead_letters.c.id == letter_id, dead_letters.c.state == DeadLetterState.OPEN)
            .values(reason=_storable(reason))
        )

    async def list(self, query: Filter) -> list[DeadLetter]:
        """List by a query, in its order; bodies are not read."""
        async with query_bounds(self._connection):
            result = await self._connection.execute(
                page(select(*_COLUMNS), query, COLUMNS, dead_letters.c.id)
            )
            return [_row_to_letter(row) for row in result]


def _in_pieces(letters: Sequence[NewDeadLetter]) -> Iterator[list[NewDeadLetter]]:
    """Split letters so that a statement holds some megabytes at most, or one letter."""
    piece: list[NewDeadLetter] = []
    size = 0
    for letter in letters:
        length = _weight(letter)
        if piece and size + length > _MOST_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(letter)
        size += length
    if piece:
        yield piece


def _weight(letter: NewDeadLetter) -> int:
    """Count what a letter adds to a statement: a message may be all headers and no body."""
    texts = (letter.reason, *letter.headers, *letter.headers.values())
    return len(letter.body or b"") + sum(map(len, texts))


def _storable(value: str) -> str:
    """Give what a text column can hold: a message may be made of anything."""
    if storable(value):
        return value
    clean = value.replace("\x00", "\ufffd")
    return clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _row_to_letter(row: Any) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        source_id=row.source_id,
        origin=row.origin,
        reason=row.reason,
        headers=msgspec.json.decode(row.headers, type=dict[str, str]),
        idempotency_key=row.idempotency_key,
        size=row.size,
        state=DeadLetterState(row.state),
        event_id=row.event_id,
        created_on=row.created_on,
        finished_at=row.finished_at,
    )
