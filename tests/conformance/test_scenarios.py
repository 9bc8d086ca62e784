"""Every engine does in every scenario what Camunda 7 did when it was recorded.

``pytest tests/conformance --update-golden`` records anew.
"""

from typing import Any

import pytest

from tests.conformance.camunda_stage import AS_EMBEDDED
from tests.conformance.play import play
from tests.conformance.port_stage import PortStage
from tests.conformance.rest_stage import RestStage
from tests.conformance.scenario import FOLDER, Scenario, load, names, record

scenarios = pytest.mark.parametrize("name", names())


@scenarios
async def test_camunda_does_what_was_recorded(
    name: str, camunda7: RestStage, request: pytest.FixtureRequest
) -> None:
    """The recorded traces are those of a real Camunda 7."""
    scenario = load(name)
    trace = await play(scenario, camunda7)
    if request.config.getoption("--update-golden"):
        record(scenario, trace, scenario.otherwise)
        return

    assert scenario.expected == trace


@scenarios
async def test_operaton_does_as_camunda(name: str, operaton: RestStage) -> None:
    """Operaton is the same to the last step."""
    scenario = load(name)
    trace = await play(scenario, operaton)

    assert scenario.expected == trace


@scenarios
async def test_adapter_shows_what_a_real_engine_does(name: str, adapter: PortStage) -> None:
    """What the port shows of Camunda 7 and Operaton is what they do, or differs as it says."""
    scenario = load(name)
    trace = await play(scenario, adapter)

    if name in AS_EMBEDDED:
        assert scenario.expected != scenario.otherwise, "It differs no more: leave it out there."
        assert scenario.otherwise == trace
    else:
        assert scenario.expected == trace


@scenarios
async def test_fake_does_as_camunda(
    name: str, memory: PortStage, request: pytest.FixtureRequest
) -> None:
    """The engine in memory is the same, or differs as it says."""
    scenario = load(name)
    trace = await play(scenario, memory)
    if scenario.differs and request.config.getoption("--update-golden"):
        record(scenario, scenario.expected, trace)
        return

    _judge(scenario, trace)


@scenarios
async def test_embedded_engine_does_as_camunda(name: str, embedded: PortStage) -> None:
    """The embedded engine on PostgreSQL is the same, or differs as it says."""
    scenario = load(name)
    trace = await play(scenario, embedded)

    _judge(scenario, trace)


@scenarios
async def test_engine_rest_does_as_camunda(name: str, hosted: RestStage) -> None:
    """The client that talks to Camunda sees the same at /engine-rest, or what differs."""
    scenario = load(name)
    trace = await play(scenario, hosted)

    _judge(scenario, trace)


def _judge(scenario: Scenario, trace: Any) -> None:
    if scenario.pending:
        assert scenario.expected != trace, "It can do this now: remove `embedded: pending`."
    elif scenario.differs:
        assert scenario.expected != scenario.otherwise, "It differs no more: remove `differs`."
        assert scenario.otherwise == trace
    else:
        assert scenario.expected == trace


def test_only_what_is_meant_to_be_is_refused() -> None:
    """A model with a slip would be refused by all engines alike, and hold nothing."""
    refused = {name for name in names() if load(name).expected[0]["did"] == "deploy"}

    assert {name for name in names() if name.startswith("refused-")} == refused


def test_every_model_is_played() -> None:
    """No model is left behind without a script."""
    played = set()
    for name in names():
        scenario = load(name)
        played |= {model.name for model in scenario.models}
        played |= {action.given["model"] for action in scenario.script if action.verb == "deploy"}

    assert {path.name for path in FOLDER.glob("*.bpmn")} == played
