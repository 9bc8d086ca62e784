"""What a step leaves to do, gathered while it is made.

What begins and ends within one step never leaves it, but for its line in the history.
"""

from taskloom.engines.embedded.model import Node
from taskloom.engines.embedded.state import (
    Ended,
    NewCall,
    NewExternalTask,
    NewSignal,
    NewSubscription,
    NewTimer,
    NewUserTask,
    Record,
    State,
    Step,
    Thrown,
)
from taskloom.ports.engine import InstanceState


class Effects:
    """The effects so far, by activity."""

    def __init__(self) -> None:
        self.external_tasks: dict[str, NewExternalTask] = {}
        self.user_tasks: dict[str, NewUserTask] = {}
        self.timers: dict[str, list[NewTimer]] = {}
        self.subscriptions: dict[str, list[NewSubscription]] = {}
        self.signals: list[NewSignal] = []
        self.escalated: list[str] = []
        self.calls: dict[str, NewCall] = {}
        self._records: list[Record] = []
        self._begun: dict[str, Record] = {}
        self._ended: list[Ended] = []
        self._disarmed: list[str] = []

    def passed(self, node: Node) -> Record:
        """Note a node that was begun and completed at once."""
        record = Record(
            activity_id=None, element=node.id, tag=node.tag, name=node.name, state="completed"
        )
        self._records.append(record)
        return record

    def began(self, node: Node, activity_id: str) -> None:
        """Note an activity that begins."""
        record = Record(
            activity_id=activity_id, element=node.id, tag=node.tag, name=node.name, state="active"
        )
        self._records.append(record)
        self._begun[activity_id] = record

    def finished(self, node: Node, activity_id: str, *, completed: bool) -> None:
        """Note an activity that is over; what this step wanted to do for it is dropped."""
        record = self._begun.pop(activity_id, None)
        if record is None:
            self._ended.append(Ended(activity_id=activity_id, element=node.id, completed=completed))
            return
        record.activity_id = None
        record.state = "completed" if completed else "cancelled"
        self.external_tasks.pop(activity_id, None)
        self.user_tasks.pop(activity_id, None)
        self.calls.pop(activity_id, None)
        self._forget_events(activity_id)

    def disarmed(self, key: str) -> None:
        """Note an activity, or the instance, that goes on and waits for no event any more."""
        self._forget_events(key)
        self._disarmed.append(key)

    def _forget_events(self, key: str) -> None:
        self.timers.pop(key, None)
        self.subscriptions.pop(key, None)

    def step(
        self, state: State, *, ending: InstanceState | None, escaped: Thrown | None, steps: int
    ) -> Step:
        """Give the finished step."""
        if ending is not None:
            self._forget_events(state.instance_id)
        return Step(
            state=state,
            ending=ending,
            external_tasks=tuple(self.external_tasks.values()),
            user_tasks=tuple(self.user_tasks.values()),
            timers=tuple(timer for timers in self.timers.values() for timer in timers),
            subscriptions=tuple(each for some in self.subscriptions.values() for each in some),
            signals=tuple(self.signals),
            disarmed=tuple(self._disarmed),
            calls=tuple(self.calls.values()),
            records=tuple(self._records),
            ended=tuple(self._ended),
            escaped=escaped,
            escalated=tuple(self.escalated),
            steps=steps,
        )
