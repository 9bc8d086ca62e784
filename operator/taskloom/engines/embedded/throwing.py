"""Errors, escalations and signals on their way from where they are thrown."""

from collections.abc import Callable
from dataclasses import dataclass

from taskloom.engines.embedded import model
from taskloom.engines.embedded.catching import Caught, find_catching
from taskloom.engines.embedded.evaluation import evaluate_text, map_variables
from taskloom.engines.embedded.events import ErrorEvent, EscalationEvent
from taskloom.engines.embedded.state import ROOT, Fire, NewSignal, Thrown
from taskloom.engines.embedded.tokens import Tokens
from taskloom.engines.embedded.waiting import hears, waits_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """What the instances that called this one catch.

    `catches` tells whether a BPMN error code is caught; `hears` whether an escalation code is
    heard: True if that interrupts the call, False if it does not, None if nobody hears it.
    """

    catches: Callable[[str], bool] = lambda _: False
    hears: Callable[[str], bool | None] = lambda _: None


def throw(tokens: Tokens, callers: Callers, thrown: Thrown, at: str) -> bool:
    """Bring a BPMN error to what catches it, from `at` outwards; False if nothing does."""
    activities = tokens.scopes.activities
    caught = find_catching(tokens.process, activities, at, ErrorEvent, thrown.code)
    if caught is not None:
        assert isinstance(caught.event, ErrorEvent)
        _note(tokens, caught, caught.event.code_variable, thrown.code)
        _note(tokens, caught, caught.event.message_variable, thrown.message)
        tokens.handle(caught.node, caught.at)
        return True
    if callers.catches(thrown.code):
        tokens.terminate(thrown)
        return True
    return False


def escalate(tokens: Tokens, callers: Callers, code: str, at: str) -> bool:
    """Bring an escalation to what hears it, from `at` outwards; True if that interrupts."""
    activities = tokens.scopes.activities
    caught = find_catching(tokens.process, activities, at, EscalationEvent, code)
    if caught is not None:
        _note(tokens, caught, caught.event.code_variable, code)
        tokens.handle(caught.node, caught.at)
        return caught.interrupting
    interrupts = callers.hears(code)
    if interrupts is not None:
        tokens.effects.escalated.append(code)
    if interrupts:
        tokens.terminate()
    return bool(interrupts)


def tell(tokens: Tokens, node: model.Node, signal: model.Signal, at: str) -> list[Fire]:
    """Tell a signal to all who wait for it; give what it leads to in the instance itself."""
    name = evaluate_text(signal.name, tokens.place(at, node)) or ""
    everywhere = tokens.scopes.everywhere(at, node)
    crossing = map_variables(signal.ins, everywhere, everywhere)
    variables = {target: value for target, value, _ in crossing}
    new = NewSignal(name=name, variables=variables)
    tokens.effects.signals.append(new)
    return hearing(tokens, new)


def hearing(tokens: Tokens, signal: NewSignal) -> list[Fire]:
    """Give what a signal leads to in an instance."""
    waiting: list[tuple[str, model.Node | None]] = [(ROOT, None)]
    waiting += [(each.id, tokens.node(each)) for each in tokens.scopes.activities.values()]
    return [
        Fire(activity_id=tokens.key(place), element=wait.element, variables=signal.variables)
        for place, waiter in waiting
        if not tokens.is_disarmed(place)
        for wait in waits_of(tokens.process, waiter)
        if hears(wait, signal.name, tokens.place(place, wait.node))
    ]


def _note(tokens: Tokens, caught: Caught, variable: str | None, value: str | None) -> None:
    if variable:
        tokens.scopes.set(variable, value, caught.at)
