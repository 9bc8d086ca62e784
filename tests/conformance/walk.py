"""A random walk through a random model, on two stages side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st
from lxml import etree

from tests.conformance.model import Model
from tests.conformance.play import Player
from tests.conformance.scenario import Action
from tests.conformance.stage import Result, Scene, Stage
from tests.conformance.thread import ITEMS, PROCESS, VALUES, VARIABLES, Woven
from tests.conformance.trace import describe

MOST = 12
"""How many actions a walk has at most, the start not counted."""

_NOTHING = dict.fromkeys(VARIABLES, 0)


class Disagreement(AssertionError):
    """Two engines did not do the same; the message holds all that is needed to see it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One draw: which of the possible actions, and what it brings."""

    which: int
    variables: dict[str, int]


choices = st.lists(
    st.builds(
        Choice,
        which=st.integers(0, 2**16),
        variables=st.dictionaries(
            st.sampled_from(VARIABLES), st.sampled_from(VALUES), max_size=len(VARIABLES)
        ),
    ),
    min_size=MOST,
    max_size=MOST,
)


async def walk(woven: Woven, drawn: Sequence[Choice], real: Stage, ours: Stage) -> int:
    """Walk until the instance has ended or the draws are used up; give the number of actions.

    Raises `Disagreement` at the first action that leads to different things.
    """
    script: list[Action] = []
    players = [Player(stage, list(woven.models)) for stage in (real, ours)]
    deployed = [await stage.deploy(woven.models) for stage in (real, ours)]
    _compare(woven, script, deployed)
    if deployed[0] is not Result.DONE:
        raise Disagreement(f"Neither engine takes this model:\n{_pretty(woven.models[0])}")
    scenes = [Scene(), Scene()]
    action: Action | None = Action(
        verb="start", given={"variables": {"items": list(ITEMS), **_NOTHING, **drawn[0].variables}}
    )
    for choice in drawn:
        if action is None:
            break
        script.append(action)
        told = []
        for at, player in enumerate(players):
            answer = await player.act(action, scenes[at])
            after = await player.stage.look()
            told.append({**answer, **_unordered(describe(scenes[at], after, woven.models))})
            scenes[at] = after
        _compare(woven, script, told)
        action = _next(woven, scenes[0], choice)
    return len(script)


def _unordered(entry: dict[str, Any]) -> dict[str, Any]:
    """Forget the order of what began at one moment: real engines tell it in part only."""
    return {**entry, "began": sorted(entry.get("began", ()))}


def _next(woven: Woven, scene: Scene, choice: Choice) -> Action | None:
    """Choose among all that can be done now; None if nothing is left to do."""
    if all(instance.state != "active" for instance in scene.instances):
        return None
    active = sorted({step.element for step in scene.steps if step.state == "active"})
    stopped = {incident.element for incident in scene.incidents}
    possible: list[Callable[[], Action]] = []

    def offer(verb: str, **given: Any) -> None:
        possible.append(lambda: Action(verb=verb, given=given))

    for element in active:
        if element in stopped:
            offer("retry", element=element)
        elif element in woven.topics:
            offer("complete", topic=element, variables=choice.variables)
            offer("complete", topic=element, variables=choice.variables)
            offer("fail", topic=element, retries=choice.which % 2)
            for code in sorted(woven.topics[element]):
                offer("error", topic=element, code=code, variables=choice.variables)
        elif element.startswith("person_"):
            offer("user", element=element, variables=choice.variables)
            offer("user", element=element, variables=choice.variables)
    for verb, heard in (("message", woven.messages), ("signal", woven.signals)):
        if heard:
            offer(verb, name=heard[choice.which % len(heard)], variables=choice.variables)
    offer("elapse", span="PT1H")
    offer("elapse", span="PT3H")
    return possible[choice.which % len(possible)]()


def _compare(woven: Woven, script: Sequence[Action], told: Sequence[Any]) -> None:
    if told[0] == told[1]:
        return
    real, ours = (_yaml(each) for each in told)
    lines = [{action.verb: dict(action.given)} for action in script]
    raise Disagreement(
        f"The engines disagree.\n# {PROCESS}.bpmn\n{_pretty(woven.models[0])}\n"
        f"# {PROCESS}.yaml\n{_yaml({'about': 'Found at random.', 'script': lines})}\n"
        f"# on the real engine\n{real}\n# on ours\n{ours}"
    )


def _pretty(model: Model) -> str:
    root = etree.fromstring(model.bpmn)
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=98)
