"""The interpreter: one state and one trigger give the next state and what is to be done for it.

::

    trigger ──► take up: complete, fire, fail, return …  ──► leave ──► tokens on flows
                                                               ▲          │ enter
       wait states (tasks, timers, calls, joins) ◄── enter ────┴──────────┘
       no token left in a scope ──► the scope is complete ──► leave, or the instance has ended

Pure: the clock and the ids are arguments.  As on Camunda, branches are walked depth first in the
order of the file, and an error in an expression undoes the whole step: it is raised.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from taskloom.engines.embedded import model
from taskloom.engines.embedded.catching import catching_event
from taskloom.engines.embedded.effects import Effects
from taskloom.engines.embedded.evaluation import (
    evaluate_due,
    evaluate_integer,
    evaluate_text,
    evaluate_user_task,
    evaluate_value,
    map_variables,
)
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.flows import choose_flows, naming
from taskloom.engines.embedded.scopes import Scopes
from taskloom.engines.embedded.state import (
    ROOT,
    Activity,
    Begin,
    Complete,
    Fail,
    Fire,
    NewCall,
    NewExternalTask,
    NewTimer,
    Return,
    State,
    Step,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
)
from taskloom.errors import Unprocessable
from taskloom.ports.engine import InstanceState

MAX_STEPS = 10_000
"""How many nodes one step enters before it is taken for an endless loop."""


def advance(
    process: model.Process,
    state: State,
    trigger: Trigger,
    *,
    now: datetime,
    new_id: Callable[[], str],
    catches: Callable[[str], bool] = lambda _: False,
    max_steps: int = MAX_STEPS,
) -> Step:
    """Take one trigger up and walk until everything waits or the instance has ended.

    `catches` tells whether a caller of this instance catches a BPMN error code.
    Raises `Unprocessable` naming the element at which it cannot go on; nothing has changed then.
    A trigger for an activity that is gone changes nothing.
    """
    walk = _Walk(process, state, now=now, new_id=new_id, catches=catches, max_steps=max_steps)
    return walk.take(trigger)


class _Walk:
    """One step while it is being made."""

    def __init__(
        self,
        process: model.Process,
        state: State,
        *,
        now: datetime,
        new_id: Callable[[], str],
        catches: Callable[[str], bool],
        max_steps: int,
    ) -> None:
        self._process = process
        self._state = state
        self._now = now
        self._new_id = new_id
        self._catches = catches
        self._max_steps = max_steps
        self._steps = 0
        self._scopes = Scopes(state, now)
        self._effects = Effects()
        self._ahead: list[tuple[str, str]] = []  # tokens to move: node, scope; the last one first
        self._ending: InstanceState | None = None
        self._uncaught: Thrown | None = None
        self._escaped: Thrown | None = None

    def take(self, trigger: Trigger) -> Step:
        """Take the trigger up and give the finished step."""
        self._take_up(trigger)
        if self._uncaught is not None:
            return Step(state=self._state, uncaught=self._uncaught)
        self._walk()
        while self._wake_inclusive():
            self._walk()
        return self._effects.step(
            self._scopes.freeze(),
            ending=self._ending,
            escaped=self._escaped,
            steps=self._steps,
        )

    def _walk(self) -> None:
        while self._ahead:
            node, scope = self._ahead.pop()
            self._steps += 1
            if self._steps > self._max_steps:
                raise _endless(node, self._max_steps)
            self._enter(self._process.nodes[node], scope)

    # -- taking up ---------------------------------------------------------------------------

    def _take_up(self, trigger: Trigger) -> None:
        match trigger:
            case Begin():
                initiator = self._process.initiator
                if initiator is not None and initiator not in self._state.variables:
                    self._scopes.set(initiator, None, ROOT)
                self._scopes.tokens[ROOT] = 1
                self._ahead.append((self._process.start, ROOT))
            case Terminate():
                self._cancel_within(ROOT)
                self._ending = InstanceState.TERMINATED
            case _:
                activity = self._scopes.activities.get(trigger.activity_id)
                if activity is not None:
                    self._take_up_at(activity, trigger)

    def _take_up_at(
        self, activity: Activity, trigger: Complete | Fire | Fail | Return | Withdraw
    ) -> None:
        match trigger:
            case Complete():
                self._scopes.set_all(trigger.variables, activity.id)
                self._complete(activity)
            case Fire():
                if trigger.element == activity.element:
                    self._complete(activity)
                else:
                    self._interrupt(activity, trigger.element)
            case Fail():
                self._scopes.set_all(trigger.variables, activity.id)
                thrown = Thrown(code=trigger.code, message=trigger.message)
                if not self._throw(thrown, activity.id):
                    self._uncaught = thrown
            case Return():
                self._receive(activity, trigger)
            case Withdraw():
                self._withdraw(activity)

    def _receive(self, activity: Activity, trigger: Return) -> None:
        node = self._process.nodes[activity.element]
        assert isinstance(node.work, model.Call)
        source = self._scopes.outside(trigger.variables, node)
        with naming(node):
            crossing = map_variables(node.work.outs, source, source)
        for name, value, local in crossing:
            if local:
                self._scopes.set_own(name, value, activity.id)
            else:
                self._scopes.set(name, value, activity.id)
        if trigger.error is None:
            self._complete(activity)
        elif not self._throw(trigger.error, activity.id):
            self._complete(activity)  # caught by nobody after all: as an end like any other

    def _withdraw(self, activity: Activity) -> None:
        parent = activity.parent
        self._cancel(activity.id)
        self._scopes.tokens[parent] -= 1
        if self._scopes.tokens[parent]:
            return
        if parent == ROOT:
            self._ending = InstanceState.TERMINATED
        else:
            self._withdraw(self._scopes.activities[parent])

    # -- entering ----------------------------------------------------------------------------

    def _enter(self, node: model.Node, scope: str) -> None:
        with naming(node):
            if _waits(node):
                self._begin(node, scope)
                return
            match node.work:
                case model.NoneEnd():
                    self._effects.passed(node)
                    self._leave(scope, ())
                case model.TerminateEnd():
                    self._effects.passed(node)
                    self._terminate(scope)
                case model.ErrorEnd(code=code, message=message):
                    record = self._effects.passed(node)
                    text = evaluate_text(message, self._scopes.place(scope, node))
                    if self._throw(Thrown(code=code, message=text), scope):
                        record.state = "cancelled"  # with all that is around it
                    else:
                        self._leave(scope, ())
                case _:
                    self._effects.passed(node)
                    self._leave(scope, choose_flows(node, self._scopes.place(scope, node)))

    def _begin(self, node: model.Node, scope: str) -> None:
        activity = Activity(id=self._new_id(), element=node.id, parent=scope)
        own = bool(node.inputs or node.outputs) or isinstance(
            node.work, model.SubProcess | model.Call
        )
        self._scopes.add(activity, own=own)
        self._effects.began(node, activity.id)
        outer = self._scopes.place(scope, node)
        for parameter in node.inputs:
            value = evaluate_value(parameter.value, outer)
            self._scopes.set_own(parameter.name, value, activity.id)
        for name in node.boundary:
            event = self._process.nodes[name]
            if isinstance(event.work, model.TimerBoundary):
                with naming(event):
                    self._set_timer(activity.id, event, event.work)
        self._work(node, activity)

    def _work(self, node: model.Node, activity: Activity) -> None:
        place = self._scopes.place(activity.id, node)
        match node.work:
            case model.External(topic=topic):
                self._effects.external_tasks[activity.id] = NewExternalTask(
                    id=activity.id, element=node.id, topic=evaluate_text(topic, place) or ""
                )
            case model.UserWork() as work:
                task = evaluate_user_task(node, work, activity.id, place)
                self._effects.user_tasks[activity.id] = task
            case model.TimerCatch() as timer:
                self._set_timer(activity.id, node, timer)
            case model.SubProcess(start=start):
                self._scopes.tokens[activity.id] = 1
                self._ahead.append((start, activity.id))
            case model.Call() as call:
                self._effects.calls[activity.id] = self._call(node, call, activity.id)
            case model.Parallel():
                self._join(node, activity.parent, node.incoming)
            case model.Inclusive():
                self._join_inclusive(node, activity.parent)
            case model.NoneEnd() | model.TerminateEnd() | model.ErrorEnd():
                # an end event that has parameters: they are set, then it ends
                self._complete_end(node, activity)
            case _:
                self._complete(activity)

    def _complete_end(self, node: model.Node, activity: Activity) -> None:
        thrown = None
        if isinstance(node.work, model.ErrorEnd):
            message = evaluate_text(node.work.message, self._scopes.place(activity.id, node))
            thrown = Thrown(code=node.work.code, message=message)
        self._close(node, activity)
        if isinstance(node.work, model.TerminateEnd):
            self._terminate(activity.parent)
        elif thrown is None or not self._throw(thrown, activity.parent):
            self._leave(activity.parent, ())

    def _set_timer(
        self, activity_id: str, node: model.Node, timer: model.TimerCatch | model.TimerBoundary
    ) -> None:
        due = evaluate_due(timer.kind, timer.value, self._scopes.place(activity_id, node))
        self._effects.timers.setdefault(activity_id, []).append(
            NewTimer(activity_id=activity_id, element=node.id, due_at=due)
        )

    def _call(self, node: model.Node, call: model.Call, activity_id: str) -> NewCall:
        place = self._scopes.place(activity_id, node)
        everywhere = self._scopes.everywhere(activity_id, node)
        crossing = map_variables(call.ins, everywhere, self._scopes.local(activity_id, node))
        return NewCall(
            activity_id=activity_id,
            element=node.id,
            call=call,
            called=evaluate_text(call.called, place) or "",
            version=None if call.version is None else evaluate_integer(call.version, place),
            business_key=evaluate_text(call.business_key, place),
            variables={name: value for name, value, _ in crossing},
        )

    # -- joining -----------------------------------------------------------------------------

    def _join(self, node: model.Node, scope: str, needed: int) -> None:
        waiting = self._waiting(node, scope)
        if len(waiting) >= max(needed, 1):
            self._release(node, scope, waiting, node.outgoing)

    def _join_inclusive(self, node: model.Node, scope: str) -> bool:
        waiting = self._waiting(node, scope)
        if not waiting:
            return False
        if len(waiting) < node.incoming and self._can_be_reached(node, scope):
            return False
        with naming(node):
            flows = choose_flows(node, self._scopes.place(scope, node))
        self._release(node, scope, waiting, flows)
        return True

    def _can_be_reached(self, node: model.Node, scope: str) -> bool:
        assert isinstance(node.work, model.Inclusive)
        feeders = node.work.feeders
        return any(
            where == scope and (name == node.id or name in feeders) for name, where in self._ahead
        ) or any(
            a.parent == scope and a.element != node.id and a.element in feeders
            for a in self._scopes.activities.values()
        )

    def _wake_inclusive(self) -> bool:
        """Look again at inclusive joins, as the token they waited for may have ended elsewhere."""
        for activity in list(self._scopes.activities.values()):
            node = self._process.nodes[activity.element]
            if isinstance(node.work, model.Inclusive) and self._join_inclusive(
                node, activity.parent
            ):
                return True
        return False

    def _waiting(self, node: model.Node, scope: str) -> list[Activity]:
        return [a for a in self._scopes.within(scope) if a.element == node.id]

    def _release(
        self,
        node: model.Node,
        scope: str,
        waiting: Sequence[Activity],
        flows: Sequence[model.Flow],
    ) -> None:
        for activity in waiting:
            self._close(node, activity)
        self._scopes.tokens[scope] -= len(waiting) - 1
        self._leave(scope, flows)

    # -- leaving -----------------------------------------------------------------------------

    def _complete(self, activity: Activity) -> None:
        node = self._process.nodes[activity.element]
        with naming(node):
            # as on Camunda the conditions are asked before the output parameters are set
            flows = choose_flows(node, self._scopes.place(activity.id, node))
            for parameter in node.outputs:
                value = evaluate_value(parameter.value, self._scopes.place(activity.id, node))
                self._scopes.set(parameter.name, value, activity.parent)
            self._close(node, activity)
            self._leave(activity.parent, flows)

    def _close(self, node: model.Node, activity: Activity) -> None:
        self._scopes.remove(activity.id)
        self._effects.finished(node, activity.id, completed=True)

    def _leave(self, scope: str, flows: Sequence[model.Flow]) -> None:
        """Turn one token of the scope into one for each flow."""
        tokens = self._scopes.tokens
        tokens[scope] += len(flows) - 1
        self._ahead.extend((flow.target, scope) for flow in reversed(flows))
        if tokens[scope] == 0:
            self._end_scope(scope)

    def _end_scope(self, scope: str) -> None:
        if scope == ROOT:
            self._ending = InstanceState.COMPLETED
        else:
            self._complete(self._scopes.activities[scope])

    def _terminate(self, scope: str) -> None:
        self._cancel_within(scope)
        self._end_scope(scope)

    # -- interrupting ------------------------------------------------------------------------

    def _throw(self, thrown: Thrown, scope: str) -> bool:
        """Bring a BPMN error to what catches it, from `scope` outwards; False if nothing does."""
        at = scope
        while at != ROOT:
            activity = self._scopes.activities[at]
            event = catching_event(self._process, activity.element, thrown.code)
            if event is not None:
                work = event.work
                assert isinstance(work, model.ErrorBoundary)
                if work.code_variable:
                    self._scopes.set(work.code_variable, thrown.code, at)
                if work.message_variable:
                    self._scopes.set(work.message_variable, thrown.message, at)
                self._interrupt(activity, event.id)
                return True
            at = activity.parent
        if self._catches(thrown.code):
            self._cancel_within(ROOT)
            self._ending, self._escaped = InstanceState.TERMINATED, thrown
            return True
        return False

    def _interrupt(self, activity: Activity, event: str) -> None:
        self._cancel(activity.id)
        self._ahead.append((event, activity.parent))

    def _cancel_within(self, scope: str) -> None:
        self._ahead = [token for token in self._ahead if token[1] != scope]
        for activity in self._scopes.within(scope):
            self._cancel(activity.id)
        self._scopes.tokens[scope] = 0

    def _cancel(self, activity_id: str) -> None:
        activity = self._scopes.activities[activity_id]
        node = self._process.nodes[activity.element]
        if isinstance(node.work, model.SubProcess):
            self._cancel_within(activity_id)
        for parameter in node.outputs:
            self._try_output(parameter, node, activity)
        self._scopes.remove(activity_id)
        self._effects.finished(node, activity_id, completed=False)

    def _try_output(self, parameter: model.Parameter, node: model.Node, activity: Activity) -> None:
        # Camunda sets the output parameters of a cancelled activity too, and fails where one has
        # no value yet; here that one is left out
        try:
            value: Any = evaluate_value(parameter.value, self._scopes.place(activity.id, node))
        except ExpressionError:
            return
        self._scopes.set(parameter.name, value, activity.parent)


def _waits(node: model.Node) -> bool:
    """Tell whether a node needs an activity: it waits, or has parameters, or joins."""
    if node.inputs or node.outputs:
        return True
    match node.work:
        case (
            model.External()
            | model.UserWork()
            | model.TimerCatch()
            | model.SubProcess()
            | model.Call()
            | model.Inclusive()
        ):
            return True
        case model.Parallel():
            return node.incoming > 1
    return False


def _endless(node: str, steps: int) -> Unprocessable:
    return Unprocessable(
        f"{node}: more than {steps:,} elements were passed without a wait state: the model loops"
        " for ever, put a wait state or an end into the loop.",
        field=node,
    )
