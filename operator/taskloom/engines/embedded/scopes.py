"""The tokens and variables of an instance while a step runs.

This is the step's scratch paper: it begins as a copy of one frozen state and ends as the next.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from taskloom.engines.embedded.evaluation import Place, Source
from taskloom.engines.embedded.model import Node
from taskloom.engines.embedded.state import ROOT, Activity, State


class Scopes:
    """Activities in their scopes, each with or without variables of its own."""

    def __init__(self, state: State, now: datetime) -> None:
        self._before = state
        self._now = now
        self._root: dict[str, Any] | None = None
        self.activities: dict[str, Activity] = {a.id: a for a in state.activities}
        self._own: dict[str, dict[str, Any]] = {
            a.id: dict(a.variables) for a in state.activities if a.variables is not None
        }
        self.tokens: dict[str, int] = {ROOT: 0}
        for activity in state.activities:
            self.tokens[activity.parent] = self.tokens.get(activity.parent, 0) + 1

    def freeze(self) -> State:
        """Give the state as it is now."""
        return State(
            instance_id=self._before.instance_id,
            definition_id=self._before.definition_id,
            business_key=self._before.business_key,
            variables=self._before.variables if self._root is None else self._root,
            activities=tuple(
                Activity(id=a.id, element=a.element, parent=a.parent, variables=self._own.get(a.id))
                for a in self.activities.values()
            ),
        )

    def add(self, activity: Activity, *, own: bool) -> None:
        """Let an activity begin, with variables of its own or not."""
        self.activities[activity.id] = activity
        if own:
            self._own[activity.id] = {}

    def remove(self, activity_id: str) -> Activity:
        """Take an activity away; its token is the caller's to count."""
        self._own.pop(activity_id, None)
        self.tokens.pop(activity_id, None)
        return self.activities.pop(activity_id)

    def within(self, scope: str) -> list[Activity]:
        """List the activities directly in a scope, oldest first."""
        return [a for a in self.activities.values() if a.parent == scope]

    def set(self, name: str, value: Any, scope: str) -> None:
        """Set a variable where it is found, looking outwards from `scope`; else in the process."""
        for each in self._outwards(scope):
            own = self._own.get(each)
            if own is not None and name in own:
                own[name] = value
                return
        if self._root is None:
            self._root = dict(self._before.variables)
        self._root[name] = value

    def set_all(self, variables: Mapping[str, Any], scope: str) -> None:
        """Set variables, each where it is found."""
        for name, value in variables.items():
            self.set(name, value, scope)

    def set_own(self, name: str, value: Any, activity_id: str) -> None:
        """Set a variable of the activity itself."""
        self._own.setdefault(activity_id, {})[name] = value

    def own(self, name: str, activity_id: str) -> Any:
        """Give a variable of the activity itself."""
        return self._own[activity_id][name]

    def find(self, name: str, scope: str) -> tuple[bool, Any]:
        """Look a variable up from `scope` outwards."""
        for each in self._outwards(scope):
            own = self._own.get(each)
            if own is not None and name in own:
                return True, own[name]
        root = self._before.variables if self._root is None else self._root
        return name in root, root.get(name)

    def place(self, scope: str, node: Node) -> Place:
        """Give the place in which the expressions of `node` see the variables of `scope`."""
        return Place(self._now, self._before, node, lambda name: self.find(name, scope))

    def everywhere(self, scope: str, node: Node) -> Source:
        """Give all variables that are visible in a scope."""
        return Source(self.place(scope, node), visible_variables(self.freeze(), scope))

    def local(self, activity_id: str, node: Node) -> Source:
        """Give the variables of one activity alone."""
        own = self._own.get(activity_id, {})
        place = Place(self._now, self._before, node, lambda name: (name in own, own.get(name)))
        return Source(place, own)

    def outside(self, variables: Mapping[str, Any], node: Node) -> Source:
        """Give the variables of another instance."""
        place = Place(
            self._now,
            self._before,
            node,
            lambda name: (name in variables, variables.get(name)),
        )
        return Source(place, variables)

    def _outwards(self, scope: str) -> Iterator[str]:
        while scope != ROOT:
            yield scope
            scope = self.activities[scope].parent


def visible_variables(state: State, scope: str) -> dict[str, Any]:
    """Give every variable that is seen from a scope of a state, inner ones before outer ones."""
    activities = {a.id: a for a in state.activities}
    layers: list[Mapping[str, Any]] = []
    while scope != ROOT and scope in activities:
        layers.append(activities[scope].variables or {})
        scope = activities[scope].parent
    visible = dict(state.variables)
    for layer in reversed(layers):
        visible.update(layer)
    return visible
