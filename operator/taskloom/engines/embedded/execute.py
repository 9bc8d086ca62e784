"""The interpreter: one state and one trigger give the next state and what is to be done for it.

::

    trigger ──► take up: complete, fire, fail, return …  ──► leave ──► tokens on flows
                                                               ▲          │ enter
       wait states (tasks, events, calls, joins) ◄── enter ────┴──────────┘
       no token left in a scope ──► the scope is complete ──► leave, or the instance has ended

Pure: the clock and the ids are arguments.  As on Camunda, branches are walked depth first in the
order of the file, and an error in an expression undoes the whole step: it is raised.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from taskloom.engines.embedded import model
from taskloom.engines.embedded.calls import new_call, take_back
from taskloom.engines.embedded.evaluation import evaluate_text, evaluate_user_task, evaluate_value
from taskloom.engines.embedded.flows import choose_flows, naming
from taskloom.engines.embedded.joins import can_be_reached, waiting_at
from taskloom.engines.embedded.repeating import begin_instances, end_instance
from taskloom.engines.embedded.state import (
    ROOT,
    Activity,
    Begin,
    Complete,
    Escalate,
    Fail,
    Fire,
    NewExternalTask,
    Return,
    State,
    Step,
    Terminate,
    Thrown,
    Trigger,
    Withdraw,
)
from taskloom.engines.embedded.throwing import Callers, escalate, tell, throw
from taskloom.engines.embedded.tokens import Token, Tokens, is_scope
from taskloom.engines.embedded.waiting import rearm
from taskloom.errors import Unprocessable
from taskloom.ports.engine import InstanceState

MAX_STEPS = 10_000
"""How many nodes one step enters before it is taken for an endless loop."""

NOBODY = Callers()
_WAITING = (model.External, model.UserWork, model.Catch, model.EventGateway, model.Inclusive)


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
    tokens = Tokens(process, state, now=now, new_id=new_id)
    return _Walk(state, tokens, callers, max_steps).take(trigger)


class _Walk:
    """One step while it is being made."""

    def __init__(self, state: State, tokens: Tokens, callers: Callers, max_steps: int) -> None:
        self._state = state
        self._tokens = tokens
        self._process = tokens.process
        self._scopes = tokens.scopes
        self._effects = tokens.effects
        self._callers = callers
        self._max_steps = max_steps
        self._steps = 0
        self._uncaught: Thrown | None = None

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
            ending=self._tokens.ending,
            escaped=self._tokens.escaped,
            steps=self._steps,
        )

    def _walk(self) -> None:
        while self._tokens.ahead:
            token = self._tokens.ahead.pop()
            node = self._process.nodes[token.node]
            self._steps += 1
            if self._steps > self._max_steps:
                raise _endless(node.written, self._max_steps)
            self._enter(node, token)

    # -- taking up ---------------------------------------------------------------------------

    def _take_up(self, trigger: Trigger) -> None:
        match trigger:
            case Begin():
                self._begin_process(trigger.element)
            case Terminate():
                self._tokens.terminate()
            case Fire() if trigger.activity_id == self._state.instance_id:
                if self._tokens.ending is None:
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
        self._tokens.arm(None, ROOT)
        self._scopes.tokens[ROOT] = 1
        self._tokens.ahead.append(Token(start.element, ROOT))

    def _take_up_at(
        self, activity: Activity, trigger: Complete | Fire | Fail | Escalate | Return | Withdraw
    ) -> None:
        match trigger:
            case Complete():
                self._scopes.set_all(trigger.variables, activity.id)
                for name, value in trigger.local.items():
                    self._scopes.set_own(name, value, activity.id)
                self._complete(activity)
            case Fire():
                self._fire(trigger, activity.id)
            case Fail():
                self._scopes.set_all(trigger.variables, activity.id)
                thrown = Thrown(code=trigger.code, message=trigger.message)
                if not self._throw(thrown, activity.id):
                    self._uncaught = thrown
            case Escalate():
                self._take_back(activity, trigger)
                self._escalate(trigger.code, activity.id)
            case Return():
                self._take_back(activity, trigger)
                # an error that nobody catches after all is an end like any other
                if trigger.error is None or not self._throw(trigger.error, activity.id):
                    self._complete(activity)
            case Withdraw():
                self._withdraw(activity)

    def _take_back(self, activity: Activity, trigger: Escalate | Return) -> None:
        take_back(self._tokens.node(activity), activity.id, trigger.variables, self._scopes)

    def _fire(self, trigger: Fire, at: str) -> None:
        """Let what an activity, or a scope, waits for come."""
        node = self._process.nodes[trigger.element]
        if isinstance(node.work, model.Catch):
            self._scopes.set_all(trigger.variables, at)
            self._catch(node, self._scopes.activities[at])
            return
        if self._tokens.is_disarmed(at):
            return
        self._scopes.set_all(trigger.variables, at)
        if not isinstance(node.work, model.Boundary):
            node = self._process.nodes[node.scope]  # the event sub-process that it starts
        with naming(node):
            rearm(self._effects, trigger, self._tokens.place(at, node))
        self._tokens.handle(node, at)

    def _catch(self, node: model.Node, activity: Activity) -> None:
        """Let a catch event go on, or the event-based gateway before it."""
        if activity.element != node.id:
            self._tokens.cancel(activity.id)  # as Camunda has the gateway in its history
            with naming(node):
                activity = self._tokens.open(node, Token(node.id, activity.parent))
        self._complete(activity)

    def _withdraw(self, activity: Activity) -> None:
        parent = activity.parent
        self._tokens.cancel(activity.id)
        self._scopes.tokens[parent] -= 1
        if self._scopes.tokens[parent]:
            return
        if parent == ROOT:
            self._tokens.ending = InstanceState.TERMINATED
        else:
            self._withdraw(self._scopes.activities[parent])

    # -- entering ----------------------------------------------------------------------------

    def _enter(self, node: model.Node, token: Token) -> None:
        scope = token.scope
        with naming(node):
            if token.own is not None or _needs_activity(node):
                activity = self._tokens.open(node, token)
                self._tokens.arm(node, activity.id)
                self._work(node, activity)
                return
            match node.work:
                case model.TerminateEnd():
                    self._effects.passed(node)
                    self._terminate(scope)
                case model.LinkCatch():
                    self._pass(node, scope)  # as on Camunda the history does not name it
                case _:
                    record = self._effects.passed(node)
                    if self._throws(node, scope, scope):
                        record.state = "cancelled"  # with all that is around it
                    else:
                        self._pass(node, scope)

    def _pass(self, node: model.Node, scope: str) -> None:
        self._leave(scope, choose_flows(node, self._tokens.place(scope, node)))

    def _work(self, node: model.Node, activity: Activity) -> None:
        place = self._tokens.place(activity.id, node)
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
                self._tokens.ahead.append(Token(start, activity.id))
            case model.MultiInstance() as loop:
                self._begin_instances(loop, activity)
            case model.Call() as call:
                new = new_call(node, call, activity.id, self._scopes)
                self._effects.calls[activity.id] = new
            case model.Parallel():
                waiting = waiting_at(node, activity.parent, self._tokens)
                if len(waiting) >= max(node.incoming, 1):
                    self._release(activity.parent, waiting, node.outgoing)
            case model.Inclusive():
                self._join_inclusive(node, activity.parent)
            case _:
                self._work_at_once(node, activity)

    def _work_at_once(self, node: model.Node, activity: Activity) -> None:
        """Do what waits for nothing, but is an activity as it has parameters or is repeated."""
        if isinstance(node.work, model.TerminateEnd):
            self._tokens.close(activity)
            self._terminate(activity.parent)
        elif not self._throws(node, activity.id, activity.parent):
            self._complete(activity)

    def _begin_instances(self, loop: model.MultiInstance, body: Activity) -> None:
        with naming(self._process.nodes[loop.inner]):
            number = begin_instances(self._tokens, loop, body, self._max_steps)
        if number > self._max_steps and not loop.sequential:
            raise _endless(loop.inner, self._max_steps)
        if number == 0:
            self._complete(body)

    # -- throwing ----------------------------------------------------------------------------

    def _throws(self, node: model.Node, at: str, scope: str) -> bool:
        """Throw what a node of a scope throws, computed in `at`; True if that interrupts it."""
        match node.work:
            case model.ErrorEnd(code=code, message=message):
                text = evaluate_text(message, self._tokens.place(at, node))
                return self._throw(Thrown(code=code, message=text), scope)
            case model.Escalation(code=code):
                return self._escalate(code, scope)
            case model.Signal() as signal:
                return self._tell(node, signal, at, scope)
        return False

    def _tell(self, node: model.Node, signal: model.Signal, at: str, scope: str) -> bool:
        """Tell a signal; who waits in the instance hears it at once, as on Camunda.

        He goes on when the thrower has gone its way, unless he interrupts it.
        """
        own = Token(node.id, scope)
        self._tokens.ahead.append(own)  # whatever interrupts the thrower takes its token away
        for fire in tell(self._tokens, node, signal, at):
            self._take_up(fire)
        interrupted = not any(token is own for token in self._tokens.ahead)
        self._tokens.ahead = [token for token in self._tokens.ahead if token is not own]
        return interrupted

    def _throw(self, thrown: Thrown, at: str) -> bool:
        return throw(self._tokens, self._callers, thrown, at)

    def _escalate(self, code: str, at: str) -> bool:
        return escalate(self._tokens, self._callers, code, at)

    # -- joining -----------------------------------------------------------------------------

    def _join_inclusive(self, node: model.Node, scope: str) -> bool:
        waiting = waiting_at(node, scope, self._tokens)
        if not waiting:
            return False
        if len(waiting) < node.incoming and can_be_reached(node, scope, self._tokens):
            return False
        with naming(node):
            flows = choose_flows(node, self._tokens.place(scope, node))
        self._release(scope, waiting, flows)
        return True

    def _wake_inclusive(self) -> bool:
        """Look again at inclusive joins, as the token they waited for may have ended elsewhere."""
        for activity in list(self._scopes.activities.values()):
            node = self._tokens.node(activity)
            if isinstance(node.work, model.Inclusive) and self._join_inclusive(
                node, activity.parent
            ):
                return True
        return False

    def _release(
        self, scope: str, waiting: Sequence[Activity], flows: Sequence[model.Flow]
    ) -> None:
        for activity in waiting:
            self._tokens.close(activity)
        self._scopes.tokens[scope] -= len(waiting) - 1
        self._leave(scope, flows)

    # -- leaving -----------------------------------------------------------------------------

    def _complete(self, activity: Activity) -> None:
        node = self._tokens.node(activity)
        with naming(node):
            body = self._scopes.activities.get(activity.parent)
            loop = None if body is None else self._tokens.node(body).work
            if body is not None and isinstance(loop, model.MultiInstance):
                if end_instance(self._tokens, loop, body, activity):
                    self._complete(body)
                return
            # as on Camunda the conditions are asked before the output parameters are set
            flows = choose_flows(node, self._tokens.place(activity.id, node))
            for parameter in node.outputs:
                value = evaluate_value(parameter.value, self._tokens.place(activity.id, node))
                self._scopes.set(parameter.name, value, activity.parent)
            self._tokens.close(activity)
            self._leave(activity.parent, flows)

    def _leave(self, scope: str, flows: Sequence[model.Flow]) -> None:
        """Turn one token of the scope into one for each flow."""
        tokens = self._scopes.tokens
        tokens[scope] += len(flows) - 1
        self._tokens.ahead.extend(Token(flow.target, scope) for flow in reversed(flows))
        if tokens[scope] == 0:
            self._end_scope(scope)

    def _end_scope(self, scope: str) -> None:
        if scope == ROOT:
            self._tokens.ending = InstanceState.COMPLETED
        else:
            self._complete(self._scopes.activities[scope])

    def _terminate(self, scope: str) -> None:
        self._tokens.cancel_within(scope)
        self._end_scope(scope)


def _needs_activity(node: model.Node) -> bool:
    """Tell whether a node needs an activity: it waits, or has parameters, or joins."""
    if node.inputs or node.outputs or is_scope(node):
        return True
    if isinstance(node.work, model.Parallel):
        return node.incoming > 1
    return isinstance(node.work, _WAITING)


def _endless(node: str, steps: int) -> Unprocessable:
    return Unprocessable(
        f"{node}: more than {steps:,} elements were passed without a wait state: the model loops"
        " for ever, put a wait state or an end into the loop.",
        field=node,
    )
