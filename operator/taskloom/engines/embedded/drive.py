"""One transaction's work on a tree of instances: steps follow each other through call activities.

A called instance's end continues its caller, a caller's end takes the called ones with it.
The caller of `drive` holds the lock of the tree's root, so nothing else moves meanwhile; nothing is
written here: everything is gathered in a `Batch`, or an error leaves all as it was.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from taskloom.engines.embedded.catching import Caught, find_catching
from taskloom.engines.embedded.events import ErrorEvent, EscalationEvent
from taskloom.engines.embedded.execute import MAX_STEPS, advance
from taskloom.engines.embedded.instances import Definition, Live
from taskloom.engines.embedded.model import Call, External, Node, Process, UserWork
from taskloom.engines.embedded.state import (
    Begin,
    Ended,
    Escalate,
    NewCall,
    NewExternalTask,
    NewSignal,
    NewSubscription,
    NewTimer,
    NewUserTask,
    Record,
    Return,
    State,
    Step,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
)
from taskloom.engines.embedded.throwing import Callers, hearing
from taskloom.engines.embedded.tokens import Tokens
from taskloom.engines.embedded.waiting import waits_of
from taskloom.errors import Unprocessable
from taskloom.ports.engine import InstanceState

MAX_CALL_DEPTH = 50


class World(Protocol):
    """What driving needs to look up."""

    async def process(self, definition_id: str) -> Process:
        """Give a definition's process."""
        ...

    async def resolve(self, call: NewCall, caller: Live) -> Definition:
        """Find what a call activity calls; raises `Unprocessable` if there is no such thing."""
        ...

    async def load(self, instance_id: str) -> tuple[Live, State]:
        """Load an active instance of the tree."""
        ...

    async def called_by(self, activity_id: str) -> tuple[Live, State] | None:
        """Load the active instance that a call activity started."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A signal on its way; those of the tree that were known when it was thrown have heard it."""

    signal: NewSignal
    heard_by: frozenset[str]


@dataclass(slots=True)
class Batch:
    """Everything that one transaction has to write."""

    started: dict[str, Live] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)  # by instance, where they stand now
    before: dict[str, State] = field(default_factory=dict)  # and where those not started here stood
    lives: dict[str, Live] = field(default_factory=dict)
    endings: dict[str, InstanceState] = field(default_factory=dict)
    external_tasks: dict[str, tuple[Live, NewExternalTask]] = field(default_factory=dict)
    user_tasks: dict[str, tuple[Live, NewUserTask]] = field(default_factory=dict)
    timers: dict[str, list[tuple[Live, NewTimer]]] = field(default_factory=dict)
    subscriptions: dict[str, list[tuple[Live, NewSubscription]]] = field(default_factory=dict)
    signals: list[Told] = field(default_factory=list)
    records: list[tuple[Live, Record]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    gone_external: list[str] = field(default_factory=list)
    gone_user: list[tuple[Live, Ended]] = field(default_factory=list)
    gone_waiting: list[str] = field(default_factory=list)  # these wait for no event any more
    uncaught: Thrown | None = None
    reason: str | None = None  # why instances were deleted


@dataclass(slots=True, kw_only=True)
class Clockwork:
    """The clock and the source of ids."""

    now: datetime
    new_id: Callable[[], str]


async def drive(
    world: World,
    live: Live,
    state: State,
    triggers: Sequence[tuple[str, Trigger]],
    *,
    clockwork: Clockwork,
) -> Batch:
    """Take triggers up (instance id, trigger), and everything that follows from them.

    `live` and `state` are the instance of the first one; one that begins is new.
    Raises `Unprocessable` naming the element at which it cannot go on.
    """
    work = _Drive(world, clockwork)
    if isinstance(triggers[0][1], Begin):
        work.batch.started[live.id] = live
    work.know(live, state)
    await work.run(triggers)
    return work.batch


class _Drive:
    def __init__(self, world: World, clockwork: Clockwork) -> None:
        self.batch = Batch()
        self._world = world
        self._clockwork = clockwork
        self._steps_left = MAX_STEPS
        self._queue: deque[tuple[str, Trigger]] = deque()
        self._begun: dict[str, Record] = {}
        self._to_begin: set[str] = set()

    def know(self, live: Live, state: State) -> None:
        self.batch.lives[live.id] = live
        self.batch.states[live.id] = state
        if live.id not in self.batch.started:
            self.batch.before[live.id] = state

    async def run(self, triggers: Sequence[tuple[str, Trigger]]) -> None:
        self._queue.extend(triggers)
        while self._queue:
            instance_id, trigger = self._queue.popleft()
            if instance_id in self.batch.endings:
                continue
            self._to_begin.discard(instance_id)
            live = await self._live(instance_id)
            process = await self._world.process(live.definition_id)
            step = advance(
                process,
                self.batch.states[instance_id],
                trigger,
                now=self._clockwork.now,
                new_id=self._clockwork.new_id,
                callers=await self._callers(live),
                max_steps=self._steps_left,
            )
            self._steps_left -= step.steps
            if step.uncaught is not None:
                self.batch.uncaught = step.uncaught
                return
            self._absorb(live, process, step)
            await self._follow(live, process, step, trigger)

    async def _live(self, instance_id: str) -> Live:
        if instance_id not in self.batch.lives:
            self.know(*await self._world.load(instance_id))
        return self.batch.lives[instance_id]

    async def _callers(self, live: Live) -> Callers:
        """Look through the callers for what catches an error, or hears an escalation."""
        above: list[tuple[Process, State, str]] = []
        while live.caller_id is not None and live.caller_activity_id is not None:
            activity_id = live.caller_activity_id
            live = await self._live(live.caller_id)
            process = await self._world.process(live.definition_id)
            above.append((process, self.batch.states[live.id], activity_id))

        def hears(code: str) -> bool | None:
            caught = _caught_above(above, EscalationEvent, code)
            return None if caught is None else caught.interrupting

        return Callers(
            catches=lambda code: _caught_above(above, ErrorEvent, code) is not None, hears=hears
        )

    async def _follow(self, live: Live, process: Process, step: Step, trigger: Trigger) -> None:
        for ended in step.ended:
            if not ended.completed and isinstance(process.nodes[ended.element].work, Call):
                await self._terminate_called(ended.activity_id)
        for signal in step.signals:
            await self._tell(live, signal)
        for call in step.calls:
            await self._start(live, call)
        if step.ending is not None:
            self.batch.endings[live.id] = step.ending
        self._tell_caller(live, step, trigger)

    def _tell_caller(self, live: Live, step: Step, trigger: Trigger) -> None:
        if live.caller_id is None or live.caller_activity_id is None:
            return
        caller, activity_id, variables = (
            live.caller_id,
            live.caller_activity_id,
            step.state.variables,
        )
        for code in step.escalated:
            escalate = Escalate(activity_id=activity_id, code=code, variables=variables)
            self._queue.append((caller, escalate))
        if step.ending is None or isinstance(trigger, Terminate):
            return  # it goes on, or whoever ended it knows
        if step.ending is InstanceState.COMPLETED or step.escaped is not None:
            back = Return(activity_id=activity_id, variables=variables, error=step.escaped)
            self._queue.append((caller, back))
        elif not step.escalated:  # else the escalation interrupts its caller
            self._queue.append((caller, Withdraw(activity_id=activity_id)))

    async def _tell(self, teller: Live, signal: NewSignal) -> None:
        """Let the instances of the tree that are at hand hear a signal, as they are locked."""
        for instance_id, live in self.batch.lives.items():
            if instance_id == teller.id or not self._goes_on(instance_id):
                continue
            tokens = Tokens(
                await self._world.process(live.definition_id),
                self.batch.states[instance_id],
                now=self._clockwork.now,
                new_id=self._clockwork.new_id,
            )
            self._queue.extend((instance_id, fire) for fire in hearing(tokens, signal))
        self.batch.signals.append(Told(signal=signal, heard_by=frozenset(self.batch.lives)))

    def _goes_on(self, instance_id: str) -> bool:
        """Tell whether an instance has begun and not ended."""
        return instance_id not in self.batch.endings and instance_id not in self._to_begin

    async def _terminate_called(self, activity_id: str) -> None:
        for live in self.batch.lives.values():
            if live.caller_activity_id == activity_id:
                self._queue.append((live.id, Terminate()))
                return
        found = await self._world.called_by(activity_id)
        if found is not None:
            self.know(*found)
            self._queue.append((found[0].id, Terminate()))

    async def _start(self, caller: Live, call: NewCall) -> None:
        definition = await self._world.resolve(call, caller)
        depth, above = 1, caller
        while above.caller_id is not None:
            depth, above = depth + 1, await self._live(above.caller_id)
        if depth > MAX_CALL_DEPTH:
            raise Unprocessable(
                f"{call.element}: processes call each other deeper than {MAX_CALL_DEPTH} levels.",
                field=call.element,
            )
        live = Live(
            id=self._clockwork.new_id(),
            root_id=caller.root_id,
            caller_id=caller.id,
            caller_activity_id=call.activity_id,
            definition_id=definition.id,
            workflow_key=definition.workflow_key,
            version=definition.version,
            start_id=None,
            business_key=call.business_key,
        )
        self.batch.started[live.id] = live
        self.know(
            live,
            State(
                instance_id=live.id,
                definition_id=definition.id,
                business_key=call.business_key,
                variables=call.variables,
            ),
        )
        self._to_begin.add(live.id)
        self._queue.append((live.id, Begin()))

    # -- gathering: what begins and ends within the batch is never written -------------------

    def _absorb(self, live: Live, process: Process, step: Step) -> None:
        batch = self.batch
        batch.states[live.id] = step.state
        for record in step.records:
            batch.records.append((live, record))
            if record.activity_id is not None:
                self._begun[record.activity_id] = record
        batch.external_tasks.update((t.id, (live, t)) for t in step.external_tasks)
        batch.user_tasks.update((t.id, (live, t)) for t in step.user_tasks)
        for timer in step.timers:
            batch.timers.setdefault(timer.activity_id, []).append((live, timer))
        for each in step.subscriptions:
            batch.subscriptions.setdefault(each.activity_id, []).append((live, each))
        for key in step.disarmed:
            self._forget_events(key)
        if step.ending is not None and any(True for _ in waits_of(process, None)):
            self._forget_events(live.id)
        for ended in step.ended:
            self._absorb_ended(live, process, process.nodes[ended.element], ended)

    def _forget_events(self, key: str) -> None:
        """Drop what this batch wanted to wait for; rows of former ones are to go."""
        self.batch.timers.pop(key, None)
        self.batch.subscriptions.pop(key, None)
        self.batch.gone_waiting.append(key)

    def _absorb_ended(self, live: Live, process: Process, node: Node, ended: Ended) -> None:
        batch = self.batch
        record = self._begun.pop(ended.activity_id, None)
        if record is None:
            batch.ended.append(ended)
            if isinstance(node.work, External):
                batch.gone_external.append(ended.activity_id)
            if isinstance(node.work, UserWork):
                batch.gone_user.append((live, ended))
            if any(True for _ in waits_of(process, node)):
                self._forget_events(ended.activity_id)
            return
        record.activity_id = None
        record.state = "completed" if ended.completed else "cancelled"
        batch.external_tasks.pop(ended.activity_id, None)
        batch.user_tasks.pop(ended.activity_id, None)
        batch.timers.pop(ended.activity_id, None)
        batch.subscriptions.pop(ended.activity_id, None)


def _caught_above(
    above: Sequence[tuple[Process, State, str]],
    kind: type[ErrorEvent | EscalationEvent],
    code: str,
) -> Caught | None:
    for process, state, activity_id in above:
        activities = {activity.id: activity for activity in state.activities}
        caught = find_catching(process, activities, activity_id, kind, code)
        if caught is not None:
            return caught
    return None
