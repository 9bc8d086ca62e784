"""What /engine-rest works with besides the flow, given by the bootstrap."""

from dataclasses import dataclass

from taskloom.api.engine_rest.waiting import WaitingRoom
from taskloom.flow.foreign_work import TopicNotes
from taskloom.ports.hosted_engine import HostedEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """The engine, where polls wait, what is noted of them, and the topics that are not theirs."""

    engine: HostedEngine
    room: WaitingRoom
    notes: TopicNotes
    own_topics: frozenset[str]
