"""Sub-processes, errors, call activities and parameters, on every engine of ours."""

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Unprocessable
from taskloom.ports.engine import InstanceState, Outcome, StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock, Play

START = '<startEvent id="s"/>'
END = '<endEvent id="e"/>'
ERRORS = (
    '<error id="E1" errorCode="bad" camunda:errorMessage="it is ${how}"/>'
    '<error id="E2" errorCode="worse"/>'
)


def catch(id_: str, host: str, error: str | None = None, variables: str = "") -> str:
    """Make an error boundary event."""
    reference = "" if error is None else f' errorRef="{error}"'
    return (
        f'<boundaryEvent id="{id_}" attachedToRef="{host}">'
        f"<errorEventDefinition{reference}{variables}/></boundaryEvent>"
    )


def throw(id_: str, error: str = "E1") -> str:
    """Make an error end event."""
    return f'<endEvent id="{id_}"><errorEventDefinition errorRef="{error}"/></endEvent>'


def sub(id_: str, *parts: str) -> str:
    """Make a sub-process."""
    return f'<subProcess id="{id_}">{"".join(parts)}</subProcess>'


def call(id_: str, called: str, *mapped: str, attributes: str = "") -> str:
    """Make a call activity."""
    inside = f"<extensionElements>{''.join(mapped)}</extensionElements>" if mapped else ""
    return f'<callActivity id="{id_}" calledElement="{called}" {attributes}>{inside}</callActivity>'


def given(name: str, value: str) -> str:
    """Make an input parameter."""
    return f'<camunda:inputParameter name="{name}">{value}</camunda:inputParameter>'


def taken(name: str, value: str) -> str:
    """Make an output parameter."""
    return f'<camunda:outputParameter name="{name}">{value}</camunda:outputParameter>'


class ScopesContract:
    """The suite; a subclass says by its `play` fixture on which engine.

    What an engine refuses it says in words of its own: these are ours.
    """

    NO_OUTPUT = r"a: .*missing"
    NO_CALLED = "c: it calls 'none'"

    # -- sub-processes and ends --------------------------------------------------------------

    async def test_sub_process_is_a_step_of_its_own(self, play: Play) -> None:
        """Its inside is walked, and when no token is left in it the flow goes on."""
        inner = '<startEvent id="is"/><parallelGateway id="p"/><endEvent id="ie"/>'
        instance = await play.start(
            START,
            sub("x", inner, external("a"), external("b"), path("is p a ie"), path("p b")),
            external("c"),
            END,
            path("s x c e"),
        )
        await play.do("a")
        assert [] == await play.fetch("c")
        await play.do("b", n=1)

        assert {"n": 1} == (await play.do("c")).variables
        assert InstanceState.COMPLETED == await play.state(instance)

    async def test_terminate_end_ends_its_scope_only(self, play: Play) -> None:
        """In a sub-process it ends the sub-process; in the process it ends the instance."""
        stop = '<endEvent id="{}"><terminateEventDefinition/></endEvent>'
        inner = '<startEvent id="is"/><parallelGateway id="p"/><userTask id="u"/>'
        instance = await play.start(
            START,
            '<parallelGateway id="q"/>',
            sub("x", inner, external("a"), stop.format("t1"), path("is p a t1"), path("p u")),
            external("b"),
            external("c"),
            stop.format("t2"),
            path("s q x b t2"),
            path("q c"),
        )
        await play.do("a")
        assert [] == list(await play.engine.user_tasks([instance.id]))
        assert ("u", "cancelled") in await play.steps(instance)
        assert ("x", "completed") in await play.steps(instance)
        assert InstanceState.ACTIVE == await play.state(instance)
        await play.do("b")

        assert InstanceState.COMPLETED == await play.state(instance)
        assert [] == await play.fetch("c")

    # -- errors ------------------------------------------------------------------------------

    async def test_error_of_a_worker_is_caught_by_its_code(self, play: Play) -> None:
        """The event with the code goes before the one for all, and tells code and message."""
        await play.start(
            START,
            external("a"),
            END,
            catch("any", "a"),
            catch(
                "bad",
                "a",
                "E1",
                ' camunda:errorCodeVariable="code" camunda:errorMessageVariable="text"',
            ),
            external("b"),
            external("c"),
            path("s a e"),
            path("any b"),
            path("bad c"),
            aside=ERRORS,
        )
        task = await play.fetch_one("a")

        assert Outcome.DONE == await play.throw(task, "bad", extra=1)
        assert Outcome.GONE == await play.throw(task, "bad")
        assert {"extra": 1, "code": "bad", "text": "it failed"} == (await play.do("c")).variables
        await play.again()
        await play.throw(await play.fetch_one("a"), "unheard-of")
        await play.do("b")

    async def test_uncaught_error_of_a_worker_is_an_incident(self, play: Play) -> None:
        """If nothing catches it the task stops, and its variables are not set."""
        instance = await play.start(
            START, external("a"), END, catch("bad", "a", "E1"), path("s a e"), path("bad e"),
            aside=ERRORS,
        )  # fmt: skip
        task = await play.fetch_one()

        assert Outcome.LOCK_LOST == await play.engine.bpmn_error(task.id, "other", "x", "", {})
        assert Outcome.DONE == await play.throw(task, "worse", extra=1)
        [incident] = await play.engine.incidents([instance.id])
        assert "worse" in incident.message
        assert [] == await play.fetch()
        await play.engine.retry_incident(incident.id)
        assert {} == (await play.fetch_one()).variables

    async def test_error_end_is_caught_around_its_sub_process(self, play: Play) -> None:
        """The error leaves sub-processes, cancelling them, until something catches it."""
        inner = sub("y", '<startEvent id="s2"/>', throw("t"), path("s2 t"))
        instance = await play.start(
            START,
            sub(
                "x",
                '<startEvent id="s1"/><parallelGateway id="p"/>',
                inner,
                external("a"),
                path("s1 p a"),
                path("p y"),
            ),
            external("b"),
            catch("bad", "x", "E1", ' camunda:errorMessageVariable="text"'),
            path("s x"),
            path("bad b"),
            aside=ERRORS,
            variables={"how": "broken"},
        )

        assert [] == await play.fetch("a")
        assert {"how": "broken", "text": "it is broken"} == (await play.do("b")).variables
        assert ("x", "cancelled") in await play.steps(instance)
        assert ("y", "cancelled") in await play.steps(instance)
        assert ("t", "cancelled") in await play.steps(instance)

    async def test_uncaught_error_end_ends_its_path_only(self, play: Play) -> None:
        """As on Camunda, an error that nothing catches is an end like any other."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/>',
            throw("t", "E2"),
            external("a"),
            path("s p a"),
            path("p t"),
            aside=ERRORS,
        )
        await play.do("a")

        assert InstanceState.COMPLETED == await play.state(instance)

    # -- parameters --------------------------------------------------------------------------

    async def test_parameters_are_mapped_in_and_out(self, play: Play) -> None:
        """Inputs are seen by the activity alone; outputs are set around it, from what it left."""
        inputs = mapping(
            given("text", "for ${name}"),
            given("none", ""),
            given("fixed", "5"),
            given(
                "list",
                "<camunda:list><camunda:value>${n + 1}</camunda:value>"
                "<camunda:value>x</camunda:value></camunda:list>",
            ),
            given(
                "map",
                '<camunda:map><camunda:entry key="k">${n}</camunda:entry>'
                '<camunda:entry key="deep"><camunda:list><camunda:value>1</camunda:value>'
                "</camunda:list></camunda:entry></camunda:map>",
            ),
            given("name", "${name} inside"),
            taken("result", "${text} ${answer}"),
        )
        await play.start(
            START,
            external("a", inside=inputs),
            external("b"),
            END,
            path("s a b e"),
            variables={"name": "ann", "n": 1},
        )
        task = await play.do("a", answer="yes", text="from", name="changed inside")

        assert {
            "text": "for ann",
            "none": None,
            "fixed": "5",
            "list": [2, "x"],
            "map": {"k": 1, "deep": ["1"]},
            "name": "ann inside",
            "n": 1,
        } == task.variables
        assert {"name": "ann", "n": 1, "answer": "yes", "result": "from yes"} == (
            await play.do("b")
        ).variables

    async def test_sub_process_has_variables_of_its_own(self, play: Play) -> None:
        """Its inputs are seen by everything in it, and gone after it."""
        await play.start(
            START,
            sub(
                "x",
                mapping(given("own", "1"), taken("kept", "${own}")),
                '<startEvent id="is"/>',
                external("a"),
                path("is a"),
            ),
            external("b"),
            path("s x b"),
        )

        assert {"own": "1"} == (await play.do("a", own="2", other=3)).variables
        assert {"kept": "2", "other": 3} == (await play.do("b")).variables

    async def test_output_that_has_no_value_fails_the_completion(self, play: Play) -> None:
        """An output parameter of a missing variable undoes the completion."""
        await play.start(
            START, external("a", inside=mapping(taken("x", "${missing}"))), END, path("s a e")
        )
        task = await play.fetch_one()
        with pytest.raises(Unprocessable, match=self.NO_OUTPUT):
            await play.finish(task)

        assert Outcome.DONE == await play.finish(task, missing=1)

    async def test_cancelled_activity_leaves_the_outputs_it_has(self, play: Play) -> None:
        """An interrupted activity's outputs are set where they have a value."""
        await play.start(
            START,
            external("a", inside=mapping(taken("x", "${missing}"), taken("y", "${n + 1}"))),
            external("b"),
            f'<boundaryEvent id="late" attachedToRef="a">{timer("timeDuration", "PT1S")}'
            "</boundaryEvent>",
            path("s a"),
            path("late b"),
            variables={"n": 1},
        )
        await play.elapse(seconds=1)

        assert {"n": 1, "y": 2} == (await play.do("b")).variables

    # -- call activities ---------------------------------------------------------------------

    async def test_called_process_gets_and_gives_what_is_mapped(self, play: Play) -> None:
        """Variables cross a call activity as it says, and only those."""
        await play.engine.deploy("child", bpmn(START, external("b"), END, path("s b e")))
        parent = await play.start(
            START,
            call(
                "c",
                "child",
                '<camunda:in businessKey="${execution.processBusinessKey}-1"/>',
                '<camunda:in source="n" target="number"/>',
                '<camunda:in sourceExpression="${n * 2}" target="double"/>',
                '<camunda:out source="answer" target="result"/>',
                '<camunda:out sourceExpression="${number + 1}" target="next"/>',
            ),
            external("a"),
            END,
            path("s c a e"),
            variables={"n": 4, "secret": True},
        )
        task = await play.do("b", answer="yes", own=1)

        assert {"number": 4, "double": 8} == task.variables
        assert ("child", "the-key-1", parent.id) == (
            task.workflow_key,
            task.business_key,
            task.root_instance_id,
        )
        assert {"n": 4, "secret": True, "result": "yes", "next": 5} == (
            await play.do("a")
        ).variables
        assert [parent.id, task.instance_id] == [
            instance.id for instance in await play.engine.instances([parent.id])
        ]

    async def test_all_variables_cross_when_asked(self, play: Play) -> None:
        """``variables="all"`` passes everything, in both directions."""
        await play.engine.deploy("child", bpmn(START, external("b"), END, path("s b e")))
        await play.start(
            START,
            call("c", "child", '<camunda:in variables="all"/>', '<camunda:out variables="all"/>'),
            external("a"),
            path("s c a"),
            variables={"n": 4},
        )

        assert {"n": 4} == (await play.do("b", m=5)).variables
        assert {"n": 4, "m": 5} == (await play.do("a")).variables

    async def test_called_process_without_wait_state_returns_at_once(self, play: Play) -> None:
        """A call that ends in the same step continues its caller in it, through two levels."""
        await play.engine.deploy("leaf", bpmn(START, END, path("s e")))
        await play.engine.deploy("child", bpmn(START, call("c", "leaf"), END, path("s c e")))
        instance = await play.start(START, call("c", "child"), END, path("s c e"))

        assert InstanceState.COMPLETED == instance.state
        assert 3 == len(await play.engine.instances([instance.id]))

    async def test_version_of_the_called_process_is_bound(self, play: Play) -> None:
        """The latest version is called, or the one that is named; by process id if need be."""
        await play.engine.deploy("k", bpmn(START, external("a"), path("s a"), process_id="child"))
        await play.engine.deploy("k", bpmn(START, external("b"), path("s b"), process_id="child"))
        bound = 'camunda:calledElementBinding="version" camunda:calledElementVersion="1"'
        await play.start(
            START,
            '<parallelGateway id="p"/>',
            call("c1", "child"),
            call("c2", "${name}", attributes=bound),
            path("s p c1"),
            path("p c2"),
            variables={"name": "k"},
        )

        assert ["a", "b"] == sorted(task.topic for task in await play.fetch())

    async def test_unknown_called_process_fails_the_step(self, play: Play) -> None:
        """What is not deployed cannot be called, and the step that would is undone."""
        with pytest.raises(Unprocessable, match=self.NO_CALLED):
            await play.start(START, call("c", "none"), path("s c"))

        assert 0 == await play.engine.running_instances("workflow")

    async def test_process_that_calls_itself_for_ever_is_stopped(self, play: Play) -> None:
        """Endless recursion is refused, not followed."""
        with pytest.raises(Unprocessable, match="deeper than"):
            await play.start(START, call("c", "workflow"), path("s c"))

    async def test_error_leaves_a_called_process_for_its_caller(self, play: Play) -> None:
        """An error end event in a called process is caught at the call, which it cancels."""
        await play.engine.deploy(
            "child",
            bpmn(
                START,
                '<parallelGateway id="p"/><userTask id="u"/>',
                external("b"),
                throw("t"),
                path("s p b t"),
                path("p u"),
                aside=ERRORS,
            ),
        )
        parent = await play.start(
            START,
            call("c", "child", '<camunda:out source="how" target="seen"/>'),
            catch("bad", "c", "E1", ' camunda:errorCodeVariable="code"'),
            external("a"),
            path("s c"),
            path("bad a"),
            aside=ERRORS,
        )
        task = await play.do("b", how="late")

        assert {"code": "bad", "seen": "late"} == (await play.do("a")).variables
        child = next(i for i in await play.engine.instances([task.instance_id]))
        assert InstanceState.TERMINATED == child.state
        assert [] == list(await play.engine.user_tasks([parent.id]))

    async def test_error_of_a_worker_in_a_called_process_is_caught_above(self, play: Play) -> None:
        """A worker's error passes through called processes too, two levels here."""
        await play.engine.deploy("leaf", bpmn(START, external("b"), path("s b")))
        await play.engine.deploy("child", bpmn(START, call("c", "leaf"), path("s c")))
        await play.start(
            START, call("c", "child"), catch("any", "c"), external("a"), path("s c"), path("any a")
        )
        assert Outcome.DONE == await play.throw(await play.fetch_one("b"), "bad")

        await play.do("a")

    async def test_ended_caller_takes_the_called_with_it(self, play: Play) -> None:
        """A boundary event on a call activity, or a deletion, ends the called instances."""
        await play.engine.deploy("leaf", bpmn(START, external("b"), path("s b")))
        await play.engine.deploy("child", bpmn(START, call("c", "leaf"), path("s c")))
        late = timer("timeDuration", "PT1S")
        parts = (
            START,
            call("c", "child"),
            external("a"),
            f'<boundaryEvent id="late" attachedToRef="c">{late}</boundaryEvent>',
            path("s c"),
            path("late a"),
        )
        first = await play.start(*parts)
        task = await play.fetch_one("b")
        await play.elapse(seconds=1)
        second = await play.again()
        await play.engine.delete_instances([second.id], "away")

        assert Outcome.GONE == await play.finish(task)
        assert [] == await play.fetch("b")
        states = [i.state for i in await play.engine.instances([first.id, second.id])]
        assert {InstanceState.ACTIVE: 1, InstanceState.TERMINATED: 5} == {
            state: states.count(state) for state in states
        }
        await play.do("a")

    async def test_deleted_called_instance_leaves_its_caller(self, play: Play) -> None:
        """Deleting a called instance cancels the call; a caller with nothing left ends too."""
        await play.engine.deploy("child", bpmn(START, external("b"), path("s b")))
        inner = sub("x", '<startEvent id="is"/>', call("c", "child"), path("is c"))
        lonely = await play.start(START, inner, path("s x"))
        task = await play.fetch_one("b")
        await play.engine.delete_instances([task.instance_id], "away")

        assert InstanceState.TERMINATED == await play.state(lonely)

    async def test_process_id_is_looked_up_after_the_workflow_key(self, play: Play) -> None:
        """A workflow key goes before the id of a process in a file."""
        await play.engine.deploy("x", bpmn(START, external("a"), path("s a"), process_id="y"))
        await play.engine.deploy("y", bpmn(START, external("b"), path("s b"), process_id="x"))
        await play.start(START, call("c", "x"), path("s c"))

        assert "a" == (await play.fetch_one()).topic

    async def test_deployment_binding_keeps_recursion_in_one_version(self, play: Play) -> None:
        """A process bound to its deployment calls its own version of itself."""
        bound = 'camunda:calledElementBinding="deployment"'
        gateway = '<exclusiveGateway id="x" default="x_a"/>'
        pass_all = '<camunda:in sourceExpression="${false}" target="again"/>'
        parts = (START, gateway, call("c", "P", pass_all, attributes=bound), external("a"))
        flows = (path("s x a"), flow("x", "c", "${again}"))
        old = await play.engine.deploy("w", bpmn(*parts, *flows))
        new = await play.engine.deploy("w", bpmn(*parts, *flows, external("unused")))
        started = await play.engine.start(
            StartRequest(
                workflow_key="w",
                start_id="1",
                variables={"again": True},
                definition_id=old.definition_id,
            )
        )
        instances = await play.engine.instances([started.id])

        assert 2 == new.version
        assert [1, 1] == [instance.version for instance in instances]


class TestInMemoryEngine(ScopesContract):
    """The fake."""

    @pytest.fixture
    def play(self) -> Play:
        """Make a fresh engine."""
        clock = Clock()
        return Play(InMemoryEngine(now=clock), clock)


class TestEmbeddedEngine(ScopesContract):
    """The embedded engine on PostgreSQL."""

    @pytest.fixture
    def play(self, database: Database) -> Play:
        """Make an engine on an empty database."""
        clock = Clock()
        return Play(EmbeddedEngine(database, now=clock), clock)
