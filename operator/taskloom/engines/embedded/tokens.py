"""The tokens of an instance while a step moves them: what begins, closes, is cancelled, is handled.

Nothing here decides how a token goes on: that is the walk's, in ``execute``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskloom.engines.embedded import model
from taskloom.engines.embedded.effects import Effects
from taskloom.engines.embedded.evaluation import Place, evaluate_value
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.scopes import Scopes
from taskloom.engines.embedded.state import ROOT, Activity, State, Thrown
from taskloom.engines.embedded.waiting import arm, waits_of
from taskloom.ports.engine import InstanceState


@dataclass(frozen=True, slots=True)
class Token:
    """A token on its way to a node of a scope.

    `own` are variables that it brings for the activity there, as one of several instances does.
    """

    node: str
    scope: str
    own: Mapping[str, Any] | None = None


class Tokens:
    """Where the tokens are, and what the step has led to so far."""

    def __init__(
        self, process: model.Process, state: State, *, now: datetime, new_id: Callable[[], str]
    ) -> None:
        self.process = process
        self.scopes = Scopes(state, now)
        self.effects = Effects()
        self.ahead: list[Token] = []  # tokens to move, the last one first
        self.ending: InstanceState | None = None
        self.escaped: Thrown | None = None
        self._instance_id = state.instance_id
        self._new_id = new_id

    def node(self, activity: Activity) -> model.Node:
        """Give an activity's node."""
        return self.process.nodes[activity.element]

    def place(self, at: str, node: model.Node) -> Place:
        """Give the place in which the expressions of `node` see the variables of a scope."""
        return self.scopes.place(at, node)

    def key(self, at: str) -> str:
        """Name an activity, or the process by the instance's id, for what waits outside."""
        return at or self._instance_id

    # -- beginning ---------------------------------------------------------------------------

    def open(self, node: model.Node, token: Token) -> Activity:
        """Let an activity begin, with the variables of its own."""
        own = token.own
        activity = Activity(id=self._new_id(), element=node.id, parent=token.scope)
        has_own = own is not None or bool(node.inputs or node.outputs) or is_scope(node)
        self.scopes.add(activity, own=has_own)
        self.effects.began(node, activity.id)
        for name, value in (own or {}).items():
            self.scopes.set_own(name, value, activity.id)
        outer = self.place(token.scope if own is None else activity.id, node)
        given = [(each.name, evaluate_value(each.value, outer)) for each in node.inputs]
        for name, value in given:
            self.scopes.set_own(name, value, activity.id)
        return activity

    def arm(self, node: model.Node | None, at: str) -> None:
        """Let an activity, or the process for None, wait for its events."""
        waits = waits_of(self.process, node)
        arm(self.effects, self.key(at), waits, lambda event: self.place(at, event))

    def handle(self, node: model.Node, at: str) -> None:
        """Let a boundary event of the activity, or an event sub-process of the scope, begin."""
        match node.work:
            case model.Boundary(interrupting=interrupting):
                scope = self.scopes.activities[at].parent
                if interrupting:
                    self.cancel(at)
                else:
                    self.scopes.tokens[scope] += 1
                self.ahead.append(Token(node.id, scope))
            case model.EventSubProcess(interrupting=interrupting):
                if interrupting:
                    self.cancel_within(at)
                    # as on Camunda, the scope waits for no other event from now on
                    self.effects.disarmed(self.key(at))
                self.scopes.tokens[at] += 1
                self.ahead.append(Token(node.id, at))

    def is_disarmed(self, scope: str) -> bool:
        """Tell whether a scope waits for no event any more, as one has taken it over."""
        for activity in self.scopes.within(scope):
            work = self.node(activity).work
            if isinstance(work, model.EventSubProcess) and work.interrupting:
                return True
        return False

    # -- ending ------------------------------------------------------------------------------

    def close(self, activity: Activity) -> None:
        """Take a complete activity away; its token is the caller's to count."""
        self.scopes.remove(activity.id)
        self.effects.finished(self.node(activity), activity.id, completed=True)

    def cancel(self, activity_id: str) -> None:
        """Take an activity away, with all that is in it; likewise."""
        activity = self.scopes.activities[activity_id]
        node = self.node(activity)
        if is_scope(node):
            self.cancel_within(activity_id)
        for parameter in node.outputs:
            self._try_output(parameter, node, activity)
        self.scopes.remove(activity_id)
        self.effects.finished(node, activity_id, completed=False)

    def cancel_within(self, scope: str) -> None:
        """Take all away that goes on in a scope."""
        self.ahead = [token for token in self.ahead if token.scope != scope]
        for activity in self.scopes.within(scope):
            self.cancel(activity.id)
        self.scopes.tokens[scope] = 0

    def terminate(self, escaped: Thrown | None = None) -> None:
        """End the instance with all in it, by an error that it lets through or otherwise."""
        self.cancel_within(ROOT)
        self.ending, self.escaped = InstanceState.TERMINATED, escaped

    def _try_output(self, parameter: model.Parameter, node: model.Node, activity: Activity) -> None:
        # Camunda sets the output parameters of a cancelled activity too, and fails where one has
        # no value yet; here that one is left out
        try:
            value: Any = evaluate_value(parameter.value, self.place(activity.id, node))
        except ExpressionError:
            return
        self.scopes.set(parameter.name, value, activity.parent)


_SCOPES = (model.SubProcess, model.EventSubProcess, model.MultiInstance, model.Call)


def is_scope(node: model.Node) -> bool:
    """Tell whether an activity of the node always has variables, and maybe tokens, of its own."""
    return isinstance(node.work, _SCOPES)
