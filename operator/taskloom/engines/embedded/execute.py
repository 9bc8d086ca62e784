"""The interpreter: one state and one trigger give the next state and what is to be done for it.

::

    trigger ──► take up: complete, fire, fail, return …  ──► leave ──► tokens on flows
                                                               ▲          │ enter
       wait states (tasks, events, calls, joins) ◄── enter ────┴──────────┘
       no token left in a scope ──► the scope is complete ──► leave, or the instance has ended

Pure: the clock and the ids are arguments.  As on Camunda, branches are walked depth first in the
order of the file, and an error in an expression undoes the whole step: it is raised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskloom.engines.embedded import model, multi_instance
from taskloom.engines.embedded.calls import new_call, take_back
from taskloom.engines.embedded.catching import Caught, find_catching
from taskloom.engines.embedded.effects import Effects
from taskloom.engines.embedded.evaluation import (
    evaluate_text,
    evaluate_user_task,
    evaluate_value,
    map_variables,
)
from taskloom.engines.embedded.events import ErrorEvent, EscalationEvent
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.flows import choose_flows, naming
from taskloom.engines.embedded.joins import can_be_reached, waiting_at
from taskloom.engines.embedded.scopes import Scopes
from taskloom.engines.embedded.state import (
    ROOT,
    Activity,
    Begin,
    Complete,
    Escalate,
    Fail,
    Fire,
    NewExternalTask,
    NewSignal,
    Return,
    State,
    Step,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
)
from taskloom.engines.embedded.waiting import arm, hears, rearm, waits_of
from taskloom.errors import Unprocessable
from taskloom.ports.engine import InstanceState

MAX_STEPS = 10_000
"""How many nodes one step enters before it is taken for an endless loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """What the instances that called this one catch.

    `catches` tells whether a BPMN error code is caught; `hears` whether an escalation code is
    heard, which interrupts the call or not, None if it is not heard.
    """

    catches: Callable[[str], bool] = lambda _: False
    hears: Callable[[str], bool | None] = lambda _: None


NOBODY = Callers()


def advance(
    process: model.Process,
    state: State,
    trigger: Trigger,
    *,
    now: datetime,
    new_id: Callable[[], str],
    callers: Callers = NOBODY,
    max_steps: int = MAX_STEPS,
) -> Step:
    """Take one trigger up and walk until everything waits or the instance has ended.

    Raises `Unprocessable` naming the element at which it cannot go on; nothing has changed then.
    A trigger for an activity that is gone changes nothing.
    """
    walk = _Walk(process, state, now=now, new_id=new_id, callers=callers, max_steps=max_steps)
    return walk.take(trigger)


@dataclass(frozen=True, slots=True)
class _Token:
    """A token on its way to a node of a scope; `own` are variables it brings for the activity."""

    node: str
    scope: str
    own: Mapping[str, Any] | None = None


class _Walk:
    """One step while it is being made."""

    def __init__(
        self,
        process: model.Process,
        state: State,
        *,
        now: datetime,
        new_id: Callable[[], str],
        callers: Callers,
        max_steps: int,
    ) -> None:
        self._process = process
        self._state = state
        self._new_id = new_id
        self._callers = callers
        self._max_steps = max_steps
        self._steps = 0
        self._scopes = Scopes(state, now)
        self._effects = Effects()
        self._ahead: list[_Token] = []  # tokens to move, the last one first
        self._later: list[Fire] = []  # signals to the instance itself, heard when all else waits
        self._ending: InstanceState | None = None
        self._uncaught: Thrown | None = None
        self._escaped: Thrown | None = None

    def take(self, trigger: Trigger) -> Step:
        """Take the trigger up and give the finished step."""
        self._take_up(trigger)
        if self._uncaught is not None:
            return Step(state=self._state, uncaught=self._uncaught)
        self._walk()
        while self._wake_inclusive() or self._hear():
            self._walk()
        return self._effects.step(
            self._scopes.freeze(),
            ending=self._ending,
            escaped=self._escaped,
            steps=self._steps,
        )

    def _walk(self) -> None:
        while self._ahead:
            token = self._ahead.pop()
            self._steps += 1
            if self._steps > self._max_steps:
                raise _endless(token.node, self._max_steps)
            self._enter(self._process.nodes[token.node], token)

    # -- taking up ---------------------------------------------------------------------------

    def _take_up(self, trigger: Trigger) -> None:
        match trigger:
            case Begin():
                self._begin_process(trigger.element)
            case Terminate():
                self._cancel_within(ROOT)
                self._ending = InstanceState.TERMINATED
            case Fire() if trigger.activity_id == self._state.instance_id:
                if self._ending is None:
                    self._scopes.set_all(trigger.variables, ROOT)
                    self._fire(trigger, ROOT)
            case _:
                activity = self._scopes.activities.get(trigger.activity_id)
                if activity is not None:
                    self._take_up_at(activity, trigger)

    def _begin_process(self, element: str | None) -> None:
        at = self._process.start if element is None else element
        start = next((each for each in self._process.starts if each.element == at), None)
        if start is None:
            raise Unprocessable(
                f"The process {self._process.id} has no start event without an event, so it cannot"
                " be started by its key: send the message or signal that it begins with.",
                field=self._process.id,
            )
        if start.initiator is not None and start.initiator not in self._state.variables:
            self._scopes.set(start.initiator, None, ROOT)
        self._arm(None, ROOT)
        self._scopes.tokens[ROOT] = 1
        self._ahead.append(_Token(start.element, ROOT))

    def _take_up_at(
        self, activity: Activity, trigger: Complete | Fire | Fail | Escalate | Return | Withdraw
    ) -> None:
        match trigger:
            case Complete():
                self._scopes.set_all(trigger.variables, activity.id)
                self._complete(activity)
            case Fire():
                self._scopes.set_all(trigger.variables, activity.id)
                self._fire(trigger, activity.id)
            case Fail():
                self._scopes.set_all(trigger.variables, activity.id)
                thrown = Thrown(code=trigger.code, message=trigger.message)
                if not self._throw(thrown, activity.id):
                    self._uncaught = thrown
            case Escalate():
                take_back(self._node(activity), activity.id, trigger.variables, self._scopes)
                self._escalate(trigger.code, activity.id)
            case Return():
                take_back(self._node(activity), activity.id, trigger.variables, self._scopes)
                # an error that nobody catches after all is an end like any other
                if trigger.error is None or not self._throw(trigger.error, activity.id):
                    self._complete(activity)
            case Withdraw():
                self._withdraw(activity)

    def _fire(self, trigger: Fire, at: str) -> None:
        """Let what an activity, or a scope, waits for come."""
        node = self._process.nodes[trigger.element]
        if isinstance(node.work, model.Catch):
            activity = self._scopes.activities[at]
            if activity.element == node.id:
                self._complete(activity)
            else:
                self._choose(activity, node)
            return
        if self._is_disarmed(at):
            return
        if not isinstance(node.work, model.Boundary):
            node = self._process.nodes[node.scope]  # the event sub-process that it starts
        place = self._scopes.place(at, node)
        with naming(node):
            rearm(self._effects, trigger, place)
        self._handle(node, at)

    def _choose(self, gateway: Activity, node: model.Node) -> None:
        """Let an event-based gateway go on at the event that came first."""
        self._cancel(gateway.id)  # as Camunda has it in its history
        event = self._open(node, gateway.parent)
        self._complete(event)

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

    def _enter(self, node: model.Node, token: _Token) -> None:
        scope = token.scope
        with naming(node):
            if token.own is not None or _needs_activity(node):
                self._begin(node, token)
                return
            match node.work:
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
                case model.Escalation(code=code):
                    record = self._effects.passed(node)
                    if self._escalate(code, scope):
                        record.state = "cancelled"
                    else:
                        self._pass(node, scope)
                case model.LinkCatch():
                    self._pass(node, scope)
                case _:
                    self._effects.passed(node)
                    if isinstance(node.work, model.Signal):
                        self._tell(node, node.work, scope)
                    self._pass(node, scope)

    def _pass(self, node: model.Node, scope: str) -> None:
        self._leave(scope, choose_flows(node, self._scopes.place(scope, node)))

    def _begin(self, node: model.Node, token: _Token) -> None:
        activity = self._open(node, token.scope, token.own)
        self._arm(node, activity.id)
        self._work(node, activity)

    def _open(self, node: model.Node, scope: str, own: Mapping[str, Any] | None = None) -> Activity:
        """Let an activity begin, with the variables of its own."""
        activity = Activity(id=self._new_id(), element=node.id, parent=scope)
        has_own = own is not None or bool(node.inputs or node.outputs) or _is_scope(node)
        self._scopes.add(activity, own=has_own)
        self._effects.began(node, activity.id)
        for name, value in (own or {}).items():
            self._scopes.set_own(name, value, activity.id)
        outer = self._scopes.place(scope if own is None else activity.id, node)
        given = [(each.name, evaluate_value(each.value, outer)) for each in node.inputs]
        for name, value in given:
            self._scopes.set_own(name, value, activity.id)
        return activity

    def _arm(self, node: model.Node | None, at: str) -> None:
        key = at or self._state.instance_id
        waits = waits_of(self._process, node)
        arm(self._effects, key, waits, lambda event: self._scopes.place(at, event))

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
            case model.Catch() | model.EventGateway():
                pass  # it is armed
            case model.SubProcess(start=start) | model.EventSubProcess(start=start):
                self._scopes.tokens[activity.id] = 1
                self._ahead.append(_Token(start, activity.id))
            case model.MultiInstance() as loop:
                self._begin_instances(loop, activity)
            case model.Call() as call:
                new = new_call(node, call, activity.id, self._scopes)
                self._effects.calls[activity.id] = new
            case model.Parallel():
                waiting = waiting_at(node, activity.parent, self._scopes)
                if len(waiting) >= max(node.incoming, 1):
                    self._release(node, activity.parent, waiting, node.outgoing)
            case model.Inclusive():
                self._join_inclusive(node, activity.parent)
            case _:
                self._work_at_once(node, activity)

    def _work_at_once(self, node: model.Node, activity: Activity) -> None:
        """Do what waits for nothing, but is an activity as it has parameters or is repeated."""
        match node.work:
            case model.TerminateEnd():
                self._close(node, activity)
                self._terminate(activity.parent)
            case model.ErrorEnd(code=code, message=message):
                text = evaluate_text(message, self._scopes.place(activity.id, node))
                self._close(node, activity)
                if not self._throw(Thrown(code=code, message=text), activity.parent):
                    self._leave(activity.parent, ())
            case model.Escalation(code=code):
                if not self._escalate(code, activity.parent):
                    self._complete(activity)
            case model.Signal() as signal:
                self._tell(node, signal, activity.id)
                self._complete(activity)
            case _:
                self._complete(activity)

    # -- several instances of one activity ---------------------------------------------------

    def _begin_instances(self, loop: model.MultiInstance, body: Activity) -> None:
        inner = self._process.nodes[loop.inner]
        with naming(inner):
            number = multi_instance.count_instances(loop, self._scopes.place(body.id, inner))
            if number > self._max_steps and not loop.sequential:
                raise _endless(inner.id, self._max_steps)
            for name, value in (
                (multi_instance.ALL, number),
                (multi_instance.COMPLETED, 0),
                (multi_instance.ACTIVE, min(1, number) if loop.sequential else number),
            ):
                self._scopes.set_own(name, value, body.id)
            if number == 0:
                self._complete(body)
                return
            tokens = [
                self._instance(loop, body, counter)
                for counter in range(1 if loop.sequential else number)
            ]
        self._scopes.tokens[body.id] = len(tokens)
        self._ahead.extend(reversed(tokens))

    def _instance(self, loop: model.MultiInstance, body: Activity, counter: int) -> _Token:
        place = self._scopes.place(body.id, self._process.nodes[loop.inner])
        variables = multi_instance.loop_variables(loop, counter, place)
        if not loop.sequential:
            return _Token(loop.inner, body.id, variables)
        for name, value in variables.items():  # as on Camunda they are the body's
            self._scopes.set_own(name, value, body.id)
        return _Token(loop.inner, body.id, {})

    def _end_instance(
        self, loop: model.MultiInstance, body: Activity, node: model.Node, activity: Activity
    ) -> None:
        """Count an instance that is complete, and go on with the next one or behind the last."""
        scopes = self._scopes
        completed = scopes.own(multi_instance.COMPLETED, body.id) + 1
        scopes.set_own(multi_instance.COMPLETED, completed, body.id)
        if not loop.sequential:
            active = scopes.own(multi_instance.ACTIVE, body.id) - 1
            scopes.set_own(multi_instance.ACTIVE, active, body.id)
        done = multi_instance.is_done(loop, scopes.place(activity.id, node))
        self._close(node, activity)
        scopes.tokens[body.id] -= 1
        if loop.sequential and not done:
            counter = scopes.own(multi_instance.COUNTER, body.id) + 1
            if counter < scopes.own(multi_instance.ALL, body.id):
                scopes.tokens[body.id] += 1
                self._ahead.append(self._instance(loop, body, counter))
        if done or scopes.tokens[body.id] == 0:
            self._cancel_within(body.id)
            self._complete(body)

    # -- joining -----------------------------------------------------------------------------

    def _join_inclusive(self, node: model.Node, scope: str) -> bool:
        waiting = waiting_at(node, scope, self._scopes)
        if not waiting:
            return False
        ahead = ((token.node, token.scope) for token in self._ahead)
        if len(waiting) < node.incoming and can_be_reached(node, scope, ahead, self._scopes):
            return False
        with naming(node):
            flows = choose_flows(node, self._scopes.place(scope, node))
        self._release(node, scope, waiting, flows)
        return True

    def _wake_inclusive(self) -> bool:
        """Look again at inclusive joins, as the token they waited for may have ended elsewhere."""
        for activity in list(self._scopes.activities.values()):
            node = self._node(activity)
            if isinstance(node.work, model.Inclusive) and self._join_inclusive(
                node, activity.parent
            ):
                return True
        return False

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
        node = self._node(activity)
        with naming(node):
            body = self._scopes.activities.get(activity.parent)
            if body is not None:
                loop = self._node(body).work
                if isinstance(loop, model.MultiInstance):
                    self._end_instance(loop, body, node, activity)
                    return
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
        self._ahead.extend(_Token(flow.target, scope) for flow in reversed(flows))
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

    # -- throwing ----------------------------------------------------------------------------

    def _throw(self, thrown: Thrown, at: str) -> bool:
        """Bring a BPMN error to what catches it, from `at` outwards; False if nothing does."""
        activities = self._scopes.activities
        caught = find_catching(self._process, activities, at, ErrorEvent, thrown.code)
        if caught is not None:
            assert isinstance(caught.event, ErrorEvent)
            self._note(caught, caught.event.code_variable, thrown.code)
            self._note(caught, caught.event.message_variable, thrown.message)
            self._handle(caught.node, caught.at)
            return True
        if self._callers.catches(thrown.code):
            self._cancel_within(ROOT)
            self._ending, self._escaped = InstanceState.TERMINATED, thrown
            return True
        return False

    def _escalate(self, code: str, at: str) -> bool:
        """Bring an escalation to what hears it, from `at` outwards; True if that interrupts."""
        activities = self._scopes.activities
        caught = find_catching(self._process, activities, at, EscalationEvent, code)
        if caught is not None:
            self._note(caught, caught.event.code_variable, code)
            self._handle(caught.node, caught.at)
            return caught.interrupting
        interrupts = self._callers.hears(code)
        if interrupts is not None:
            self._effects.escalated.append(code)
        if interrupts:
            self._cancel_within(ROOT)
            self._ending = InstanceState.TERMINATED
        return bool(interrupts)

    def _note(self, caught: Caught, variable: str | None, value: str | None) -> None:
        if variable:
            self._scopes.set(variable, value, caught.at)

    def _tell(self, node: model.Node, signal: model.Signal, at: str) -> None:
        """Tell a signal to all who wait for it; those of this instance hear it a little later."""
        name = evaluate_text(signal.name, self._scopes.place(at, node)) or ""
        everywhere = self._scopes.everywhere(at, node)
        crossing = map_variables(signal.ins, everywhere, everywhere)
        variables = {target: value for target, value, _ in crossing}
        self._effects.signals.append(NewSignal(name=name, variables=variables))
        places: list[tuple[str, model.Node | None]] = [(ROOT, None)]
        places += [(a.id, self._node(a)) for a in self._scopes.activities.values()]
        for place, waiting in places:
            if self._is_disarmed(place):
                continue
            key = place or self._state.instance_id
            self._later.extend(
                Fire(activity_id=key, element=wait.element, variables=variables)
                for wait in waits_of(self._process, waiting)
                if hears(wait, name, self._scopes.place(place, wait.node))
            )

    def _hear(self) -> bool:
        if not self._later:
            return False
        self._take_up(self._later.pop(0))
        return True

    # -- interrupting ------------------------------------------------------------------------

    def _handle(self, node: model.Node, at: str) -> None:
        """Let a boundary event of the activity, or an event sub-process of the scope, begin."""
        match node.work:
            case model.Boundary(interrupting=interrupting):
                scope = self._scopes.activities[at].parent
                if interrupting:
                    self._cancel(at)
                else:
                    self._scopes.tokens[scope] += 1
                self._ahead.append(_Token(node.id, scope))
            case model.EventSubProcess(interrupting=interrupting):
                if interrupting:
                    self._cancel_within(at)
                    # as on Camunda, the scope waits for no other event from now on
                    self._effects.disarmed(at or self._state.instance_id)
                self._scopes.tokens[at] += 1
                self._ahead.append(_Token(node.id, at))

    def _is_disarmed(self, scope: str) -> bool:
        for activity in self._scopes.within(scope):
            work = self._node(activity).work
            if isinstance(work, model.EventSubProcess) and work.interrupting:
                return True
        return False

    def _cancel_within(self, scope: str) -> None:
        self._ahead = [token for token in self._ahead if token.scope != scope]
        for activity in self._scopes.within(scope):
            self._cancel(activity.id)
        self._scopes.tokens[scope] = 0

    def _cancel(self, activity_id: str) -> None:
        activity = self._scopes.activities[activity_id]
        node = self._node(activity)
        if isinstance(node.work, model.SubProcess | model.EventSubProcess | model.MultiInstance):
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

    def _node(self, activity: Activity) -> model.Node:
        return self._process.nodes[activity.element]


def _is_scope(node: model.Node) -> bool:
    """Tell whether an activity of the node always has variables of its own."""
    return isinstance(
        node.work, model.SubProcess | model.EventSubProcess | model.MultiInstance | model.Call
    )


def _needs_activity(node: model.Node) -> bool:
    """Tell whether a node needs an activity: it waits, or has parameters, or joins."""
    if node.inputs or node.outputs or _is_scope(node):
        return True
    if isinstance(node.work, model.Parallel):
        return node.incoming > 1
    return isinstance(
        node.work,
        model.External | model.UserWork | model.Catch | model.EventGateway | model.Inclusive,
    )


def _endless(node: str, steps: int) -> Unprocessable:
    return Unprocessable(
        f"{node}: more than {steps:,} elements were passed without a wait state: the model loops"
        " for ever, put a wait state or an end into the loop.",
        field=node,
    )
