"""The interpreter's books: whatever comes in whatever order, nothing is left that nobody needs."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.engines.embedded.execute import advance
from taskloom.engines.embedded.model import EventSubProcess
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.state import (
    Activity,
    Begin,
    Complete,
    Fail,
    Fire,
    State,
    Step,
    Terminate,
    Trigger,
    dump_activities,
    load_activities,
)
from taskloom.testing.bpmn import (
    boundary_event,
    bpmn,
    catch_event,
    cause,
    external,
    path,
    several,
    start_event,
    sub_process,
    throw_event,
    timer,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BESIDE = (
    '<message id="m" name="message"/><signal id="g" name="signal"/>'
    '<message id="m2" name="message-2"/><signal id="g2" name="signal-2"/>'
    '<escalation id="c" escalationCode="c"/><error id="r" errorCode="r"/>'
)
CAUSES = {
    "message": cause("message", "m"),
    "signal": cause("signal", "g"),
    "timer": timer("timeDuration", "PT1S"),
    "cycle": timer("timeCycle", "R3/PT1S"),
    "escalation": cause("escalation", "c"),
    "error": cause("error", "r"),
}
# what may stand beside these at one place
OTHERS = CAUSES | {"message": cause("message", "m2"), "signal": cause("signal", "g2")}
ENDS = ["", cause("signal", "g"), cause("escalation", "c"), cause("error", "r"),
        "<terminateEventDefinition/>"]  # fmt: skip


class Fragments:
    """Draws a scope's inside: branches side by side, each with what may interrupt it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._numbers = count(1)

    def scope(self, depth: int) -> str:
        """Draw branches, and maybe event sub-processes beside them."""
        start, fork = self._id("s"), self._id("p")
        parts = [
            f'<startEvent id="{start}"/><parallelGateway id="{fork}"/>',
            path(f"{start} {fork}"),
        ]
        parts += [self._branch(fork, depth) for _ in range(self._draw(st.integers(1, 3)))]
        kinds = self._draw(st.lists(st.sampled_from(list(CAUSES)), unique=True, max_size=2))
        parts += [self._handler(kind) for kind in kinds]
        return "".join(parts)

    def _branch(self, fork: str, depth: int) -> str:
        work, end = self._id("w"), self._id("e")
        definition = self._draw(st.sampled_from(ENDS))
        parts, exits = self._work(work, depth)
        leave = "".join(path(f"{exit_} {end}") for exit_ in exits)
        return f'{parts}<endEvent id="{end}">{definition}</endEvent>{path(f"{fork} {work}")}{leave}'

    def _work(self, work: str, depth: int) -> tuple[str, list[str]]:
        kinds = ["task", "catch", "throw", "gateway", *(["scope"] * 2 if depth else [])]
        match self._draw(st.sampled_from(kinds)):
            case "catch":
                kind = self._draw(st.sampled_from(["message", "signal", "timer"]))
                return catch_event(work, CAUSES[kind]), [work]
            case "throw":
                kind = self._draw(st.sampled_from(["signal", "escalation"]))
                return throw_event(work, CAUSES[kind]), [work]
            case "gateway":
                one, other = self._id("c"), self._id("c")
                events = catch_event(one, CAUSES["message"]) + catch_event(other, CAUSES["timer"])
                flows = path(f"{work} {one}") + path(f"{work} {other}")
                return f'<eventBasedGateway id="{work}"/>{events}{flows}', [one, other]
            case "scope":
                activity = sub_process(work, self._loop(), self.scope(depth - 1))
                return activity + self._boundary(work, escalates=True), [work]
        activity = external(work, "t", self._loop())
        return activity + self._boundary(work, escalates=False), [work]

    def _loop(self) -> str:
        loops = ["", several(number="2"), several(number="2", sequential=True)]
        return self._draw(st.sampled_from(loops))

    def _boundary(self, host: str, *, escalates: bool) -> str:
        kind = self._draw(st.sampled_from([None, *CAUSES]))
        if kind is None or (kind == "escalation" and not escalates):
            return ""
        interrupting = kind == "error" or self._draw(st.booleans())
        name, end = self._id("b"), self._id("e")
        event = boundary_event(name, host, OTHERS[kind], interrupting=interrupting)
        return event + f'<endEvent id="{end}"/>' + path(f"{name} {end}")

    def _handler(self, kind: str) -> str:
        interrupting = kind == "error" or self._draw(st.booleans())
        name, start, task = self._id("h"), self._id("s"), self._id("w")
        begins = start_event(start, CAUSES[kind], interrupting=interrupting)
        return sub_process(name, begins, external(task, "t"), path(f"{start} {task}"), handler=True)

    def _id(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"


@st.composite
def processes(draw: st.DrawFn) -> bytes:
    """Draw a process of branches, sub-processes and events in all their places."""
    return bpmn(Fragments(draw).scope(2), aside=BESIDE)


class Books:
    """What would be in the tables, kept by what the steps say."""

    def __init__(self, model: bytes) -> None:
        self.process = parse_bpmn(model)
        self.state = State(instance_id="i", definition_id="d", business_key=None, variables={})
        self.tasks: set[str] = set()
        self.waits: list[Fire] = []
        self.over = False
        self._new_id = _numbering()

    def take(self, trigger: Trigger) -> None:
        """Take a trigger up, and keep what it leads to."""
        if isinstance(trigger, Fire) and trigger in self.waits:
            wait = next(each for each in self.waits if each == trigger)
            if wait.variables:  # it is a timer's: once fired it is gone
                self.waits.remove(wait)
        step = advance(self.process, self.state, trigger, now=NOW, new_id=self._new_id)
        self.state, self.over = step.state, step.ending is not None
        if step.uncaught is None:
            self._keep(step)

    def _keep(self, step: Step) -> None:
        ended = {each.activity_id for each in step.ended}
        gone = ended | set(step.disarmed) | ({"i"} if self.over else set())
        self.tasks -= ended
        self.waits = [each for each in self.waits if each.activity_id not in gone]
        self.tasks |= {task.id for task in step.external_tasks}
        self.waits += [
            Fire(activity_id=each.activity_id, element=each.element) for each in step.subscriptions
        ]
        self.waits += [
            Fire(
                activity_id=each.activity_id,
                element=each.element,
                variables={"timer": True},
                repeat=each.repeat,
            )
            for each in step.timers
        ]

    def check(self) -> None:
        """Hold that tasks, waits and tokens agree."""
        activities = {each.id: each for each in self.state.activities}
        working = {id_ for id_, each in activities.items() if each.element.startswith("w")
                   and self.process.nodes[each.element].tag == "serviceTask"}  # fmt: skip

        assert working == self.tasks
        assert self.over == (not activities)
        assert {wait.activity_id for wait in self.waits} <= {*activities, "i"}
        assert not (self.over and self.waits)
        taken_over = {each.parent or "i" for each in activities.values() if self._took_over(each)}
        assert not taken_over & {wait.activity_id for wait in self.waits}
        assert all(each.parent in {"", *activities} for each in activities.values())
        assert self.state.activities == load_activities(dump_activities(self.state))

    def _took_over(self, activity: Activity) -> bool:
        work = self.process.nodes[activity.element].work
        return isinstance(work, EventSubProcess) and work.interrupting


def _numbering() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"a{next(numbers)}"


@settings(deadline=None, max_examples=150)
@given(processes(), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2)), max_size=14))
def test_whatever_comes_nothing_is_left_over(model: bytes, choices: list[tuple[int, int]]) -> None:
    """Tasks are completed or fail, events come, in any order, and at last all is terminated."""
    books = Books(model)
    books.take(Begin())
    books.check()
    for at, kind in choices:
        if books.over:
            break
        tasks, waits = sorted(books.tasks), books.waits
        if kind == 2 and waits:
            books.take(waits[at % len(waits)])
        elif tasks and kind == 1:
            chosen = tasks[at % len(tasks)]
            books.take(Fail(activity_id=chosen, code="r", message=None, variables={}))
        elif tasks:
            books.take(Complete(activity_id=tasks[at % len(tasks)], variables={}))
        books.check()
    if not books.over:
        books.take(Terminate())
        books.check()
