"""Dead letters: messages that are no events."""

import base64
from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.store.driver import as_parameter, run

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
        parameter = as_parameter(
            [
                {
                    "id": letter.id,
                    "source_id": letter.source_id,
                    "origin": letter.origin,
                    "reason": _text(letter.reason),
                    "headers": _text(msgspec.json.encode(letter.headers).decode()),
                    "body": None if letter.body is None else base64.b64encode(letter.body).decode(),
                    "idempotency_key": letter.idempotency_key,
                }
                for letter in letters
            ]
        )
        await run(self._connection, _INSERT, (parameter,))


def _text(value: str) -> str:
    """Give what a text column can hold: a message may be made of anything."""
    clean = value.replace("\x00", "\ufffd").replace("\\u0000", "\ufffd")
    return clean.encode("utf-8", "replace").decode()
