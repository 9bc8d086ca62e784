"""Format adapters in tests: one that says what it is told to, and any one read as Taskloom does."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskloom.domain.events import NewEvent
from taskloom.flow.read_message import Message, read_message
from taskloom.ids import new_id
from taskloom.ports.adapter import Adapted, Adapter
from taskloom.resources.event_source import Format


@dataclass
class FakeAdapter:
    """Gives `answer`, or raises it if it is an error, and keeps the bodies it was given."""

    answer: Adapted | Exception = field(default_factory=lambda: Adapted(key="k", payload={}))
    bodies: list[bytes] = field(default_factory=list)

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Adapted:
        """Answer."""
        self.bodies.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def read_by(adapter: Adapter, body: bytes, headers: Mapping[str, str] | None = None) -> NewEvent:
    """Read a message by an adapter as a source does; the headers' names in any case.

    Raises `Invalid` in the words that the sender or the dead letter is told.
    """
    named = {name.lower(): value for name, value in (headers or {}).items()}
    return read_message(
        Message(body=body, headers=named),
        Format(type="Adapter", adapter="tested"),
        event_id=new_id(),
        origin="source:default/tested",
        adapters={"tested": adapter},
    )
