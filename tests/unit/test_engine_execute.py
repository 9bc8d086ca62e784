"""The interpreter on its own: what is hard to see through an engine."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.engines.embedded.execute import advance
from taskloom.engines.embedded.model import Process
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.state import (
    Begin,
    Complete,
    Fire,
    State,
    Step,
    Terminate,
    Trigger,
    dump_activities,
    dump_variables,
    load_activities,
)
from taskloom.errors import Invalid, Unprocessable
from taskloom.ports.engine import InstanceState
from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer

NOW = datetime(2030, 1, 1, tzinfo=UTC)
START = '<startEvent id="s"/>'
END = '<endEvent id="e"/>'


def numbering() -> Callable[[], str]:
    """Make ids that count."""
    numbers = count(1)
    return lambda: f"a{next(numbers)}"


class Run:
    """One instance, moved step by step."""

    def __init__(self, *parts: str, variables: dict[str, Any] | None = None) -> None:
        self.process: Process = parse_bpmn(bpmn(*parts))
        self.state = State(
            instance_id="i", definition_id="d", business_key="b", variables=variables or {}
        )
        self._new_id = numbering()

    def take(self, trigger: Trigger) -> Step:
        """Take a trigger up."""
        step = advance(self.process, self.state, trigger, now=NOW, new_id=self._new_id)
        self.state = step.state
        return step

    def open(self) -> list[str]:
        """Name the elements that are being worked on."""
        return [activity.element for activity in self.state.activities]


def test_state_survives_its_way_through_json() -> None:
    """What is written of a state is all that there is."""
    run = Run(
        START,
        external(
            "a", inside=mapping('<camunda:inputParameter name="x">${n}</camunda:inputParameter>')
        ),
        path("s a"),
        variables={"n": {"deep": ["\x00", "\ud800", 1.0]}},
    )
    run.take(Begin())

    assert run.state.activities == load_activities(dump_activities(run.state))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_variables_that_are_no_json_are_refused(value: object) -> None:
    """What JSON cannot say is refused with a word on it."""
    with pytest.raises(Invalid, match="no JSON"):
        dump_variables({"x": value})


def test_loop_without_wait_state_is_stopped() -> None:
    """A model that loops for ever is stopped, by the element's name."""
    run = Run(START, '<task id="t"/><exclusiveGateway id="x"/>', path("s t x t"))
    with pytest.raises(Unprocessable, match="loops for ever") as stopped:
        run.take(Begin())

    assert stopped.value.field in {"t", "x"}


def test_long_chain_without_wait_state_is_walked() -> None:
    """Thousands of elements in a row are no loop, and no deep recursion either."""
    names = [f"t{n}" for n in range(3000)]
    run = Run(START, *(f'<task id="{name}"/>' for name in names), path(" ".join(["s", *names])))

    assert InstanceState.COMPLETED == run.take(Begin()).ending


def test_branches_are_walked_in_the_order_of_the_file() -> None:
    """Depth first, branch after branch, as on Camunda."""
    run = Run(
        START,
        '<parallelGateway id="p"/><task id="x"/><task id="y"/>',
        external("a"),
        external("b"),
        path("s p x a"),
        path("p y b"),
    )

    assert ["s", "p", "x", "a", "y", "b"] == [r.element for r in run.take(Begin()).records]


def test_join_counts_tokens_as_camunda_does() -> None:
    """Two tokens on one flow open a join of two flows: it is how many come that counts."""
    run = Run(
        START,
        '<parallelGateway id="p"/><parallelGateway id="j"/><task id="m"/><task id="k"/>',
        external("never"),
        external("a"),
        path("s p m j a"),
        path("p k m"),
        path("never j"),
    )
    run.take(Begin())

    assert ["a"] == run.open()


def test_work_that_ends_within_its_step_is_never_asked_for() -> None:
    """A task that a terminate end cancels in the same step leaves only its line in the history."""
    run = Run(
        START,
        '<parallelGateway id="p"/><userTask id="u"/>',
        external("a"),
        '<endEvent id="e"><terminateEventDefinition/></endEvent>',
        f'<boundaryEvent id="late" attachedToRef="a">{timer("timeDuration", "PT1S")}'
        "</boundaryEvent>",
        path("s p a"),
        path("p u"),
        path("p e"),
    )
    step = run.take(Begin())

    assert ((), (), ()) == (step.external_tasks, step.user_tasks, step.timers)
    assert {"a": "cancelled", "u": "cancelled"} == {
        r.element: r.state for r in step.records if r.state != "completed"
    }
    assert InstanceState.COMPLETED == step.ending


def test_trigger_for_what_is_gone_changes_nothing() -> None:
    """A late trigger finds nothing and does nothing."""
    run = Run(START, external("a"), path("s a"))
    run.take(Begin())
    before = run.state

    for trigger in (
        Complete(activity_id="zzz", variables={"x": 1}),
        Fire(activity_id="z", element="q"),
    ):
        step = run.take(trigger)
        assert (before, (), None) == (step.state, step.records, step.ending)


def test_conditions_are_asked_before_outputs_are_set() -> None:
    """As on Camunda, an activity's own flows do not see its output parameters yet."""
    output = '<camunda:outputParameter name="n">${2}</camunda:outputParameter>'
    run = Run(
        START,
        external("a", inside=mapping(output)),
        external("old"),
        external("new"),
        path("s a"),
        flow("a", "old", "${n == 1}"),
        flow("a", "new", "${n == 2}"),
        variables={"n": 1},
    )
    [task] = run.take(Begin()).external_tasks
    run.take(Complete(activity_id=task.id, variables={}))

    assert (["old"], 2) == (run.open(), run.state.variables["n"])


def test_inclusive_join_does_not_wait_for_boundary_events() -> None:
    """As on Camunda, a token that only a boundary event could bring is not waited for."""
    run = Run(
        START,
        '<parallelGateway id="p"/><inclusiveGateway id="j"/><endEvent id="away"/>',
        external("a"),
        external("b"),
        external("c"),
        f'<boundaryEvent id="late" attachedToRef="b">{timer("timeDuration", "PT1S")}'
        "</boundaryEvent>",
        path("s p a j c"),
        path("p b away"),
        path("late j"),
    )
    tasks = {t.element: t.id for t in run.take(Begin()).external_tasks}
    run.take(Complete(activity_id=tasks["a"], variables={}))
    assert ["b", "c"] == run.open()
    run.take(Fire(activity_id=tasks["b"], element="late"))

    assert ["c", "c"] == run.open()


def test_initiator_is_there_even_if_nobody_is_known() -> None:
    """A start event's initiator variable is null unless the start brings it."""
    run = Run('<startEvent id="s" camunda:initiator="who"/>', external("a"), path("s a"))
    run.take(Begin())

    assert {"who": None} == run.state.variables


NODES = ["t1", "t2", "a1", "a2", "p1", "p2", "o1", "x1", "e1"]


@st.composite
def processes(draw: st.DrawFn) -> list[str]:
    """Draw a process with random flows, loops and dead ends included."""
    edges = draw(
        st.lists(
            st.tuples(st.sampled_from(["s", *NODES[:-1]]), st.sampled_from(NODES)),
            unique=True,
            max_size=16,
        )
    )
    sources = {source for source, _ in edges}
    gateway = "".join(f for s, f in [("x1", '<exclusiveGateway id="x1" default="x1_e1"/>')] if s)
    flows = [flow(a, b, "${on}" if a == "x1" else None) for a, b in edges if (a, b) != ("x1", "e1")]
    start = [] if "s" in sources else [flow("s", "a1")]
    return [
        START,
        gateway,
        '<task id="t1"/><task id="t2"/><parallelGateway id="p1"/><parallelGateway id="p2"/>',
        '<inclusiveGateway id="o1"/><endEvent id="e1"/>',
        external("a1"),
        external("a2"),
        *flows,
        flow("x1", "e1"),
        *start,
    ]


@settings(deadline=None)
@given(processes(), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=12))
def test_any_process_keeps_its_books(parts: list[str], choices: list[tuple[int, bool]]) -> None:
    """However the flows run, tasks and tokens agree, and an instance ends when none is left.

    Every open external task is an activity of the state, no history line stays active without one,
    and at any moment the whole can be terminated.
    """
    run = Run(*parts, variables={"on": True})
    tasks: dict[str, str] = {}

    def check(step: Step) -> None:
        tasks.update({task.id: task.element for task in step.external_tasks})
        for ended in step.ended:
            tasks.pop(ended.activity_id, None)
        working = {a.id for a in step.state.activities if a.element in {"a1", "a2"}}
        assert set(tasks) == working
        assert (step.ending is not None) == (not step.state.activities)
        active = [r.activity_id for r in step.records if r.state == "active"]
        assert set(active) <= {a.id for a in step.state.activities}
        assert step.state.activities == load_activities(dump_activities(step.state))

    try:
        step = run.take(Begin())
        check(step)
        for at, on in choices:
            if not tasks or step.ending is not None:
                break
            chosen = list(tasks)[at % len(tasks)]
            step = run.take(Complete(activity_id=chosen, variables={"on": on}))
            check(step)
    except Unprocessable:
        return  # it loops for ever, or there is no way out of a gateway
    if step.ending is None:
        step = run.take(Terminate())
        check(step)
        assert InstanceState.TERMINATED == step.ending
