"""A source with an adapter goes on whatever its messages are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from taskloom.connectors.running import RunningSource, Surroundings
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.errors import Temporary
from taskloom.flow import adapt
from taskloom.flow.ingest import Ingested
from taskloom.ports.adapter import Adapted
from taskloom.ports.connector import Fate, Incoming
from taskloom.testing.adapters import FakeAdapter
from taskloom.testing.connectors import FakeConnector, source_row

SPEC = {
    "kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]},
    "format": {"type": "Adapter", "adapter": "words"},
}


class Kept:
    """Remembers what a running source stores and what it keeps."""

    def __init__(self) -> None:
        """Begin with none."""
        self.events: list[NewEvent] = []
        self.letters: list[NewDeadLetter] = []

    async def ingest(self, events: Sequence[NewEvent]) -> Sequence[Ingested]:
        """Store events."""
        self.events += events
        return [Ingested(event_id=event.id) for event in events]

    async def keep(self, letters: Sequence[NewDeadLetter]) -> None:
        """Keep dead letters."""
        self.letters += letters

    def run(self) -> RunningSource:
        """Give the context of a source."""
        unused: Any = None
        around = Surroundings(
            ingest=self.ingest,
            keep=self.keep,
            position=unused,
            move=unused,
            now=lambda: datetime.now(UTC),
            news=lambda: None,
        )
        return RunningSource(source_row(SPEC), FakeConnector(), around)


async def test_a_message_that_breaks_the_adapter_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it came, with the class of the error; the next one is stored."""
    adapter = FakeAdapter(answer=KeyError("password"))
    monkeypatch.setattr(adapt, "installed_adapters", lambda: {"words": adapter})
    kept = Kept()
    source = kept.run()

    [broken] = await source.ingest([Incoming(body=b"a", headers={"h": "1"}, idempotency_key="0")])
    adapter.answer = Adapted(key="k", payload=7)
    [stored] = await source.ingest([Incoming(body=b"b", idempotency_key="1")])

    assert [Fate.DEAD_LETTERED, Fate.STORED] == [broken.fate, stored.fate]
    assert "`words` broke with KeyError" in broken.reason
    assert "password" not in broken.reason
    assert [(b"a", {"h": "1"}, broken.reason)] == [
        (letter.body, letter.headers, letter.reason) for letter in kept.letters
    ]
    assert [("k", "7", "1")] == [(e.key, e.payload, e.idempotency_key) for e in kept.events]
    assert [b"a", b"b"] == adapter.bodies


async def test_messages_stay_with_the_broker_while_the_adapter_is_gone() -> None:
    """They are no dead letters: a package may offer it soon."""
    kept = Kept()

    with pytest.raises(Temporary, match="offers the adapter `words`"):
        await kept.run().ingest([Incoming(body=b"a", idempotency_key="0")])

    assert [] == [*kept.events, *kept.letters]
