"""A model as Camunda Modeler writes it: pools, lanes, diagram, forms and all."""

from pathlib import Path

import pytest

from taskloom.ports.engine import InstanceState, Outcome
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock, Play

PURCHASE = (Path(__file__).parents[1] / "bpmn" / "purchase.bpmn").read_bytes()


@pytest.fixture
async def play() -> Play:
    """Deploy the model."""
    clock = Clock()
    play = Play(InMemoryEngine(now=clock), clock)
    await play.engine.deploy("workflow", PURCHASE)
    return play


async def test_modelled_process_runs_to_its_message_end(play: Play) -> None:
    """The large purchase is approved, ordered, waited for and ended by a worker."""
    instance = await play.again({"amount": 5000, "item": "a press"})
    [task] = await play.engine.user_tasks([instance.id])
    assert ("Approve a press", "Is a press needed?") == (task.name, task.description)
    assert (("managers", "directors"), 70) == (task.candidate_groups, task.priority)
    assert ("approve", "2030-01-04T00:00:00Z") == (task.form_key, task.due_date)
    await play.engine.complete_user_task(task.id, {"approved": True})
    order = await play.do("order", number="N-1")
    assert ["a press", 5000] == order.variables["lines"]
    await play.elapse(seconds=1)
    end = await play.do("end-task")

    assert "N-1" == end.variables["orderNumber"]
    assert InstanceState.COMPLETED == await play.state(instance)


async def test_modelled_process_has_its_other_ends(play: Play) -> None:
    """Sold out, late and refused purchases all end."""
    sold_out = await play.again({"amount": 1, "item": "pens"})
    order = await play.fetch_one("order")
    assert Outcome.DONE == await play.throw(order, "sold-out")
    late = await play.again({"amount": 1000, "item": "a car"})
    await play.elapse(days=3)
    refused = await play.again({"amount": 1000, "item": "a car"})
    [task] = await play.engine.user_tasks([refused.id])
    await play.engine.complete_user_task(task.id, {"approved": False})

    for instance in (sold_out, late, refused):
        assert InstanceState.COMPLETED == await play.state(instance)
