"""Activities that are done several times, on every engine of ours."""

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import NotFound, Unprocessable
from taskloom.ports.engine import InstanceState, Outcome
from taskloom.store.database import Database
from taskloom.testing.bpmn import (
    boundary_event,
    bpmn,
    cause,
    external,
    flow,
    mapping,
    path,
    several,
    start_event,
    sub_process,
    timer,
)
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock, Play

START = '<startEvent id="s"/>'
END = '<endEvent id="e"/>'
BESIDE = '<message id="m" name="stop"/><error id="r" errorCode="bad"/>'
ITEMS = several(collection="items", item="it")
IN_TURN = several(sequential=True, collection="items", item="it")
BODY = "a#multiInstanceBody"


class LoopsContract:
    """The suite; a subclass says by its `play` fixture on which engine."""

    async def test_parallel_instances_are_done_side_by_side(self, play: Play) -> None:
        """Each has its task, its item and its number; the flow goes on behind the last."""
        instance = await play.start(
            START,
            external("a", inside=ITEMS),
            external("b"),
            path("s a b"),
            variables={"items": ["p", "q", "r"]},
        )
        tasks = await play.fetch("a")

        assert 3 == len({task.id for task in tasks})
        assert [
            {
                "items": ["p", "q", "r"],
                "nrOfInstances": 3,
                "nrOfActiveInstances": 3,
                "nrOfCompletedInstances": 0,
                "loopCounter": number,
                "it": item,
            }
            for number, item in enumerate(["p", "q", "r"])
        ] == [task.variables for task in tasks]
        await play.finish(tasks[1], it="for itself", n=1)
        await play.engine.unlock_all("worker")
        left = await play.fetch("a")
        assert [(2, 1, "p", 1), (2, 1, "r", 1)] == [
            (v["nrOfActiveInstances"], v["nrOfCompletedInstances"], v["it"], v["n"])
            for v in (task.variables for task in left)
        ]
        for task in left:
            assert [] == await play.open("b")
            await play.finish(task)

        assert {"items": ["p", "q", "r"], "n": 1} == (await play.fetch_one("b")).variables
        assert [
            ("s", "completed"), (BODY, "completed"), ("a", "completed"), ("a", "completed"),
            ("a", "completed"), ("b", "active"),
        ] == await play.steps(instance)  # fmt: skip
        kinds = {r.element_id: r.element_type for r in await play.engine.history([instance.id])}
        assert ("multiInstanceBody", "serviceTask") == (kinds[BODY], kinds["a"])

    async def test_sequential_instances_are_done_in_turn(self, play: Play) -> None:
        """One at a time, and what one sets the next one sees."""
        instance = await play.start(
            START,
            external("a", inside=IN_TURN),
            external("b"),
            path("s a b"),
            variables={"items": ["p", "q"], "n": 0},
        )
        first = await play.do("a", n=1)
        second = await play.do("a", n=2)

        assert [("p", 0, 1, 0, 0), ("q", 1, 1, 1, 1)] == [
            (
                v["it"],
                v["loopCounter"],
                v["nrOfActiveInstances"],
                v["nrOfCompletedInstances"],
                v["n"],
            )
            for v in (first.variables, second.variables)
        ]
        assert {"items": ["p", "q"], "n": 2} == (await play.fetch_one("b")).variables
        assert [
            ("s", "completed"), (BODY, "completed"), ("a", "completed"), ("a", "completed"),
            ("b", "active"),
        ] == await play.steps(instance)  # fmt: skip

    @pytest.mark.parametrize("sequential", [True, False])
    async def test_completion_condition_ends_it_early(
        self, play: Play, *, sequential: bool
    ) -> None:
        """It is asked behind each instance; those that still go on are cancelled."""
        until = several(
            sequential=sequential,
            collection="${items}",
            item="it",
            until="${found || nrOfCompletedInstances == 2}",
        )
        instance = await play.start(
            START,
            external("a", inside=until),
            external("b"),
            path("s a b"),
            variables={"items": [1, 2, 3, 4], "found": False},
        )
        first, *others = await play.fetch("a")
        await play.finish(first)
        assert [] == await play.open("b")
        await play.finish((others or await play.fetch("a"))[0])

        assert ["b"] == await play.open()
        states = [state for element, state in await play.steps(instance) if element == "a"]
        assert (["completed"] * 2 + ["cancelled"] * (0 if sequential else 2)) == sorted(
            states, reverse=True
        )

    @pytest.mark.parametrize("sequential", [True, False])
    @pytest.mark.parametrize(("number", "times"), [("3", 3), ("${n}", 2), ("${n - 2}", 0)])
    async def test_cardinality_says_how_often(
        self, play: Play, number: str, times: int, *, sequential: bool
    ) -> None:
        """A number, or an expression; nothing is done for none."""
        instance = await play.start(
            START,
            f'<task id="a">{several(sequential=sequential, number=number)}</task>',
            external("b"),
            path("s a b"),
            variables={"n": "2"},
        )
        done = [step for step in await play.steps(instance) if step[0] in {"a", BODY}]

        assert [(BODY, "completed"), *[("a", "completed")] * times] == done
        assert ["b"] == await play.open()

    @pytest.mark.parametrize(
        ("loop", "reason"),
        [
            (several(number="${0 - 1}"), "not negative"),
            (several(number="${3 / 2}"), "whole number"),
            (several(number="${on}"), "boolean is no number"),
            (several(number="10001"), "loops for ever"),
            (several(number="10001", sequential=True), "loops for ever"),
            (several(collection="none"), "none"),
            (several(collection="on"), "on} is no list"),
            (several(collection="${text}"), "text} is no list"),
            (several(number="3", collection="items", item="it"), "has no item 1 any more"),
            (several(number="2", until="${text}"), "must be true or false"),
        ],
    )
    async def test_what_cannot_be_counted_undoes_the_step(
        self, play: Play, loop: str, reason: str
    ) -> None:
        """The activity is named, and nothing has begun."""
        with pytest.raises(Unprocessable, match=f"a: .*{reason}") as refused:
            await play.start(
                START,
                f'<task id="a">{loop}</task>',
                END,
                path("s a e"),
                variables={"on": True, "text": "abc", "items": [1]},
            )

        assert "a" == refused.value.field
        assert 0 == await play.engine.running_instances("workflow")

    async def test_way_out_that_is_missing_is_named_by_the_activity(self, play: Play) -> None:
        """Errors name what is in the file, not what stands around it in the history."""
        with pytest.raises(Unprocessable, match=r"^a: no condition") as refused:
            await play.start(
                START,
                f'<task id="a">{several(number="2")}</task>',
                END,
                path("s a"),
                flow("a", "e", "${false}"),
            )

        assert "a" == refused.value.field

    async def test_sub_process_is_done_several_times(self, play: Play) -> None:
        """Each instance has its scope, and its inner tokens are its own."""
        inner = '<startEvent id="is"/><parallelGateway id="p"/><parallelGateway id="j"/>'
        instance = await play.start(
            START,
            sub_process(
                "x", ITEMS, inner, external("a"), external("b"), path("is p a j"), path("p b j")
            ),
            external("c"),
            path("s x c"),
            variables={"items": ["p", "q"]},
        )
        first, second = await play.fetch("a")
        other, last = await play.fetch("b")
        await play.finish(first)
        await play.finish(last)
        assert [] == await play.open("c")
        await play.finish(other)
        assert [] == await play.open("c")
        await play.finish(second)

        assert ["p", "q"] == [t.variables["it"] for t in (first, second)]
        assert ["c"] == await play.open()
        assert 2 == (await play.steps(instance)).count(("x", "completed"))

    @pytest.mark.parametrize("sequential", [True, False])
    async def test_called_processes_are_mapped_one_by_one(
        self, play: Play, *, sequential: bool
    ) -> None:
        """Each call takes its own item in and gives its result back."""
        await play.engine.deploy("child", bpmn(START, external("a"), END, path("s a e")))
        loop = several(sequential=sequential, collection="items", item="it")
        instance = await play.start(
            START,
            '<callActivity id="c" calledElement="child"><extensionElements>'
            '<camunda:in source="it" target="mine"/>'
            '<camunda:in sourceExpression="${loopCounter}" target="n"/>'
            '<camunda:out sourceExpression="${result}" target="last"/>'
            f"</extensionElements>{loop}</callActivity>",
            external("b"),
            path("s c b"),
            variables={"items": ["p", "q"]},
        )
        seen = []
        while tasks := await play.fetch("a"):
            for task in tasks:
                seen.append(task.variables)
                await play.finish(task, result=task.variables["mine"])

        assert [{"mine": "p", "n": 0}, {"mine": "q", "n": 1}] == seen
        assert "q" == (await play.fetch_one("b")).variables["last"]
        assert 3 == len(await play.engine.instances([instance.id]))

    async def test_user_tasks_are_given_to_several_people(self, play: Play) -> None:
        """Inputs and attributes see the item; each task is one of its own."""
        given = mapping('<camunda:inputParameter name="who">${it.name}</camunda:inputParameter>')
        instance = await play.start(
            START,
            f'<userTask id="a" name="For ${{who}}" camunda:assignee="${{who}}">{given}{ITEMS}'
            "</userTask>",
            END,
            path("s a e"),
            variables={"items": [{"name": "ann"}, {"name": "bob"}]},
        )
        tasks = await play.engine.user_tasks([instance.id])
        assert [("For ann", "ann"), ("For bob", "bob")] == [(t.name, t.assignee) for t in tasks]
        for task in tasks:
            await play.engine.complete_user_task(task.id, {})

        assert InstanceState.COMPLETED == await play.state(instance)

    async def test_receive_tasks_wait_one_by_one(self, play: Play) -> None:
        """In turn each waits for its own message."""
        instance = await play.start(
            START,
            f'<receiveTask id="w" messageRef="m">{IN_TURN}</receiveTask>',
            END,
            path("s w e"),
            aside='<message id="m" name="for-${it}"/>',
            variables={"items": ["p", "q"]},
        )
        with pytest.raises(NotFound):
            await play.send("for-q")
        await play.send("for-p")
        await play.send("for-q")

        assert InstanceState.COMPLETED == await play.state(instance)

    # -- interruption ------------------------------------------------------------------------

    @pytest.mark.parametrize("sequential", [True, False])
    async def test_boundary_event_ends_all_instances(self, play: Play, *, sequential: bool) -> None:
        """Boundary events belong to the whole: none of its tasks is left."""
        loop = several(sequential=sequential, number="3")
        instance = await play.start(
            START,
            external("a", inside=loop),
            boundary_event("stop", "a", cause("message", "m")),
            boundary_event("late", "a", timer("timeDuration", "PT5S")),
            external("b"),
            END,
            path("s a e"),
            path("stop b"),
            path("late e"),
            aside=BESIDE,
        )
        task, *others = await play.fetch("a")
        await play.finish(task)
        await play.send("stop")

        assert Outcome.GONE == await play.finish((others or [task])[0])
        assert ["b"] == await play.open()
        assert (BODY, "cancelled") in await play.steps(instance)
        assert "active" not in [s for e, s in await play.steps(instance) if e != "b"]
        assert 0 == await play.elapse(seconds=60)

    async def test_error_of_one_instance_ends_all(self, play: Play) -> None:
        """A worker's error in one of them is caught at the boundary of the whole."""
        await play.start(
            START,
            external("a", inside=several(number="2")),
            boundary_event("bad", "a", cause("error", "r")),
            external("b"),
            path("s a"),
            path("bad b"),
            aside=BESIDE,
        )
        tasks = await play.fetch("a")
        await play.finish(tasks[0])
        assert Outcome.DONE == await play.throw(tasks[1], "bad")

        assert ["b"] == await play.open()

    async def test_error_is_caught_within_one_instance(self, play: Play) -> None:
        """An event sub-process in a repeated sub-process takes over in its instance alone."""
        taken = sub_process(
            "h",
            start_event("hs", cause("error", "r")),
            external("b"),
            path("hs b"),
            handler=True,
        )
        instance = await play.start(
            START,
            sub_process(
                "x",
                several(number="2"),
                '<startEvent id="is"/>',
                external("a"),
                path("is a"),
                taken,
            ),
            END,
            path("s x e"),
            aside=BESIDE,
        )
        tasks = await play.fetch("a")
        await play.throw(tasks[0], "bad")
        assert ["b"] == await play.open("b")
        await play.do("b")
        await play.finish(tasks[1])

        assert InstanceState.COMPLETED == await play.state(instance)

    async def test_uncaught_error_of_one_instance_is_its_incident(self, play: Play) -> None:
        """The others go on meanwhile, and the retry finds its own variables again."""
        await play.start(
            START,
            external("a", inside=ITEMS),
            END,
            path("s a e"),
            variables={"items": ["p", "q"]},
        )
        first, second = await play.fetch("a")
        await play.throw(second, "unheard-of")
        await play.finish(first)
        [incident] = await play.engine.incidents()
        await play.engine.retry_incident(incident.id)

        assert ("a", "q") == (incident.element_id, (await play.do("a")).variables["it"])
        assert [] == list(await play.engine.incidents())

    async def test_deleted_instance_takes_all_calls_with_it(self, play: Play) -> None:
        """Every called instance ends with its caller; one that is deleted alone leaves the rest."""
        await play.engine.deploy("child", bpmn(START, external("a"), END, path("s a e")))
        instance = await play.start(
            START,
            f'<callActivity id="c" calledElement="child">{several(number="3")}</callActivity>',
            END,
            path("s c e"),
        )
        [one, *_] = [t.instance_id for t in await play.fetch("a")]
        await play.engine.delete_instances([one], "not this one")
        assert 2 == await play.engine.running_instances("child")
        await play.engine.delete_instances([instance.id], "none of it")

        assert 0 == await play.engine.running_instances("child")
        assert [] == await play.open()

    # -- flows -------------------------------------------------------------------------------

    async def test_flows_lead_to_and_from_the_whole(self, play: Play) -> None:
        """Conditions and defaults behind it, loops back to it, joins that wait for it."""
        await play.start(
            START,
            '<parallelGateway id="p"/><inclusiveGateway id="j"/>',
            external("a", inside=several(number="2")).replace("<serviceTask", _DEFAULT),
            external("b"),
            external("c"),
            path("s p a"),
            path("p b j c"),
            flow("a", "j"),
            flow("a", "a", "${again}"),
            variables={"again": True},
        )
        await play.do("b", again=True)
        for round_ in range(2):
            for task in await play.fetch("a"):
                assert [] == await play.open("c")
                await play.finish(task, again=round_ == 0)

        assert ["c"] == await play.open()


_DEFAULT = '<serviceTask default="a_j"'


class TestInMemoryEngine(LoopsContract):
    """The fake."""

    @pytest.fixture
    def play(self) -> Play:
        """Make a fresh engine."""
        clock = Clock()
        return Play(InMemoryEngine(now=clock), clock)


class TestEmbeddedEngine(LoopsContract):
    """The embedded engine on PostgreSQL."""

    @pytest.fixture
    def play(self, database: Database) -> Play:
        """Make an engine on an empty database."""
        clock = Clock()
        return Play(EmbeddedEngine(database, now=clock), clock)
