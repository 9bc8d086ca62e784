"""What the workflow engine in memory keeps where another has its tables."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

from taskloom.engines.embedded.drive import Batch
from taskloom.engines.embedded.instances import Definition, Live
from taskloom.engines.embedded.model import Process
from taskloom.engines.embedded.start_events import start_timers, subscribed
from taskloom.engines.embedded.state import NewSubscription, NewTimer, State, SubscriptionKind
from taskloom.ports.engine import (
    ActivityRecord,
    ChangeKind,
    EngineChange,
    EngineUserTask,
    Incident,
    Instance,
    InstanceState,
)


@dataclass(slots=True)
class Task:
    """An external task and its lock."""

    live: Live
    element: str
    topic: str
    available_at: datetime
    worker_id: str | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is due at a time: for an instance, or a start event of a definition.

    `variables` are those of a signal that was told, None for a timer.
    """

    timer: NewTimer
    live: Live | None = None
    variables: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """Who waits for a message or signal: an instance, or a start event of a definition."""

    subscription: NewSubscription
    live: Live | None = None


@dataclass(slots=True)
class Stopped:
    """An incident and what a retry gives back."""

    incident: Incident
    task_id: str | None = None
    due: Due | None = None


@dataclass(slots=True)
class Rows:
    """All of it."""

    definitions: list[tuple[Definition, Process, str]] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)
    lives: dict[str, Live] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    external: dict[str, Task] = field(default_factory=dict)
    user: dict[str, EngineUserTask] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    subscribed: list[Subscribed] = field(default_factory=list)
    history: list[tuple[str, str | None, ActivityRecord]] = field(default_factory=list)
    stopped: dict[str, Stopped] = field(default_factory=dict)
    changes: dict[str, EngineChange] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def new_id(self) -> str:
        """Make an id."""
        return f"{next(self.numbers):08}"

    def begin_by_nothing(self) -> None:
        """Let nothing begin by a start event any more, but for signals told before."""

        def stays(due: Due | None) -> bool:
            return due is None or due.live is not None or due.variables is not None

        self.due = [each for each in self.due if stays(each)]
        self.subscribed = [each for each in self.subscribed if each.live is not None]
        self.stopped = {id_: each for id_, each in self.stopped.items() if stays(each.due)}

    def begin_by_events(self, workflow_key: str, now: datetime) -> None:
        """Let a workflow begin by the start events of its latest version, and by no other's."""
        versions = [each for each in self.definitions if each[0].workflow_key == workflow_key]
        known = {definition.id for definition, _, _ in self.definitions}
        former = {definition.id for definition, _, _ in versions}

        def due_stays(due: Due) -> bool:
            key = due.timer.activity_id
            told = due.variables is not None
            return due.live is not None or (key in known and (told or key not in former))

        self.due = [each for each in self.due if due_stays(each)]
        self.stopped = {
            id_: each
            for id_, each in self.stopped.items()
            if each.due is None or due_stays(each.due)
        }
        self.subscribed = [
            each
            for each in self.subscribed
            if each.live is not None or each.subscription.activity_id in known - former
        ]
        if not versions:
            return
        definition, process, _ = versions[-1]
        held = self.held_messages(workflow_key, process)
        self.due += [Due(timer=timer) for timer in start_timers(process, definition.id, now)]
        self.subscribed += [
            Subscribed(
                subscription=NewSubscription(
                    activity_id=definition.id, element=element, kind=kind, name=name
                )
            )
            for element, kind, name in subscribed(process)
            if element not in held
        ]

    def held_messages(self, workflow_key: str, process: Process) -> dict[str, str]:
        """Give the start events whose message another workflow begins with, and that one."""
        keys = {definition.id: definition.workflow_key for definition, _, _ in self.definitions}
        holders = {
            each.subscription.name: keys[each.subscription.activity_id]
            for each in self.subscribed
            if each.live is None and each.subscription.kind is SubscriptionKind.MESSAGE
        }
        return {
            element: holders[name]
            for element, kind, name in subscribed(process)
            if kind is SubscriptionKind.MESSAGE and holders.get(name, workflow_key) != workflow_key
        }

    def tell(
        self,
        name: str,
        variables: Mapping[str, Any],
        now: datetime,
        *,
        but_for: Collection[str] = (),
    ) -> None:
        """Tell a signal to all who wait for it, but for these instances."""
        for each in self.subscribed:
            found = each.subscription
            if (found.kind, found.name) != (SubscriptionKind.SIGNAL, name):
                continue
            if each.live is None or each.live.id not in but_for:
                timer = NewTimer(activity_id=found.activity_id, element=found.element, due_at=now)
                self.due.append(Due(timer=timer, live=each.live, variables=variables))

    def keep(self, batch: Batch, now: datetime) -> None:
        """Keep what a step has led to."""
        for live in batch.started.values():
            self.lives[live.id] = live
            self.instances[live.id] = Instance(
                id=live.id,
                root_id=live.root_id,
                workflow_key=live.workflow_key,
                version=live.version,
                business_key=live.business_key,
                state=InstanceState.ACTIVE,
                started_at=now,
                ended_at=None,
            )
        self.states.update(batch.states)
        self._keep_history(batch, now)
        self._drop_gone(batch)
        self.due += [
            Due(timer=timer, live=live) for some in batch.timers.values() for live, timer in some
        ]
        self.subscribed += [
            Subscribed(subscription=each, live=live)
            for some in batch.subscriptions.values()
            for live, each in some
        ]
        for live, new in batch.external_tasks.values():
            self.external[new.id] = Task(
                live=live, element=new.element, topic=new.topic, available_at=now
            )
        for told in batch.signals:
            heard = told.heard_by | set(batch.started)  # or began later than the signal
            self.tell(told.signal.name, told.signal.variables, now, but_for=heard)
        self._keep_user_tasks(batch, now)
        for instance_id, ending in batch.endings.items():
            del self.states[instance_id]
            self.instances[instance_id] = replace(
                self.instances[instance_id], state=ending, ended_at=now
            )
            self.change(
                ChangeKind.INSTANCE_ENDED,
                self.lives[instance_id],
                completed=ending is InstanceState.COMPLETED,
                message=batch.reason,
            )

    def stop(
        self, incident: Incident, *, task_id: str | None = None, due: Due | None = None
    ) -> None:
        """Note that work has stopped."""
        self.stopped[incident.id] = Stopped(incident=incident, task_id=task_id, due=due)
        self._add_change(
            ChangeKind.INCIDENT_CREATED,
            incident.root_instance_id,
            incident.instance_id,
            message=incident.message,
        )

    def change(self, kind: ChangeKind, live: Live, **details: Any) -> None:
        """Tell the feed."""
        self._add_change(kind, live.root_id, live.id, **details)

    def _add_change(self, kind: ChangeKind, root_id: str, instance_id: str, **details: Any) -> None:
        change = EngineChange(
            id=self.new_id(),
            kind=kind,
            root_instance_id=root_id,
            instance_id=instance_id,
            **details,
        )
        self.changes[change.id] = change

    def _drop_gone(self, batch: Batch) -> None:
        over = {ended.activity_id for ended in batch.ended}
        gone = over | set(batch.gone_waiting)
        for activity_id in over:
            self.external.pop(activity_id, None)
        self.due = [each for each in self.due if each.timer.activity_id not in gone]
        self.subscribed = [
            each for each in self.subscribed if each.subscription.activity_id not in gone
        ]
        self.stopped = {
            id_: stopped
            for id_, stopped in self.stopped.items()
            if stopped.task_id not in over
            and (stopped.due is None or stopped.due.timer.activity_id not in gone)
        }

    def _keep_user_tasks(self, batch: Batch, now: datetime) -> None:
        for live, ended in batch.gone_user:
            del self.user[ended.activity_id]
            self.change(
                ChangeKind.USER_TASK_ENDED,
                live,
                user_task_id=ended.activity_id,
                completed=ended.completed,
            )
        for live, task in batch.user_tasks.values():
            values = asdict(task)
            self.user[task.id] = EngineUserTask(
                element_id=values.pop("element"),
                instance_id=live.id,
                root_instance_id=live.root_id,
                created_at=now,
                **values,
            )
            self.change(ChangeKind.USER_TASK_CREATED, live, user_task=self.user[task.id])

    def _keep_history(self, batch: Batch, now: datetime) -> None:
        ended = {each.activity_id: each.completed for each in batch.ended}
        self.history = [
            (
                root,
                None,
                replace(
                    record, ended_at=now, state="completed" if ended[activity] else "cancelled"
                ),
            )
            if activity is not None and activity in ended
            else (root, activity, record)
            for root, activity, record in self.history
        ]
        for live, new in batch.records:
            record = ActivityRecord(
                instance_id=live.id,
                element_id=new.element,
                element_type=new.tag,
                name=new.name,
                started_at=now,
                ended_at=None if new.state == "active" else now,
                state=new.state,
            )
            self.history.append((live.root_id, new.activity_id, record))
