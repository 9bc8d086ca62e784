"""Messages, signals, escalations, timers and what catches them, on every engine of ours."""

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Conflict, NotFound, Unprocessable
from taskloom.ports.engine import InstanceState, Outcome
from taskloom.store.database import Database
from taskloom.testing.bpmn import (
    boundary_event,
    bpmn,
    catch_event,
    cause,
    external,
    flow,
    mapping,
    path,
    several,
    start_event,
    sub_process,
    throw_event,
    timer,
)
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock, Play

START = '<startEvent id="s"/>'
INNER = '<startEvent id="is"/>'
END = '<endEvent id="e"/>'
BESIDE = "".join(
    f'<message id="m{n}" name="message-{n}"/><signal id="g{n}" name="signal-{n}"/>'
    f'<escalation id="x{n}" escalationCode="escalation-{n}"/>'
    f'<error id="r{n}" errorCode="error-{n}"/>'
    for n in (1, 2, 3)
)
MESSAGE, SIGNAL = cause("message", "m1"), cause("signal", "g1")
ESCALATION, ERROR = cause("escalation", "x1"), cause("error", "r1")
SOON = timer("timeDuration", "PT5S")


def handler(id_: str, definition: str, *parts: str, interrupting: bool = True) -> str:
    """Make an event sub-process whose start event is ``start-<id>``."""
    start = start_event(f"start-{id_}", definition, interrupting=interrupting)
    return sub_process(id_, start, *parts, handler=True)


def escalate(id_: str, reference: str = "x1") -> str:
    """Make an event that throws an escalation."""
    return throw_event(id_, cause("escalation", reference))


class EventsContract:
    """The suite; a subclass says by its `play` fixture on which engine."""

    # -- messages ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "waiting", [catch_event("w", MESSAGE), '<receiveTask id="w" messageRef="m1"/>']
    )
    async def test_message_lets_the_one_who_waits_go_on(self, play: Play, waiting: str) -> None:
        """It arrives once, with its variables; nobody waits for a second one."""
        instance = await play.start(
            START, waiting, external("a"), path("s w a"), aside=BESIDE, variables={"n": 1}
        )
        arrived = await play.send("message-1", variables={"n": 2, "m": 3})

        assert (instance.id, False) == (arrived.instance_id, arrived.started)
        assert {"n": 2, "m": 3} == (await play.fetch_one("a")).variables
        with pytest.raises(NotFound, match="message-1"):
            await play.send("message-1")

    async def test_message_for_more_than_one_is_refused(self, play: Play) -> None:
        """It is narrowed down by business key, instance or variables of the instance."""
        parts = (START, catch_event("w", MESSAGE), external("a"), path("s w a"))
        first = await play.start(*parts, aside=BESIDE, variables={"n": 1, "on": True})
        second = await play.again({"n": 2, "on": 1})
        third = await play.again({"n": 3})
        for wrong in (
            {"business_key": "none"},
            {"instance_id": "none"},
            {"correlation": {"n": 4}},
            {"correlation": {"none": None}},
        ):
            with pytest.raises(NotFound):
                await play.send("message-1", **wrong)
        with pytest.raises(Conflict):
            await play.send("message-1")
        with pytest.raises(Conflict):
            await play.send("message-1", business_key="the-key")

        assert first.id == (await play.send("message-1", correlation={"on": True})).instance_id
        assert third.id == (await play.send("message-1", instance_id=third.id)).instance_id
        assert second.id == (await play.send("message-1", business_key="the-key")).instance_id

    async def test_message_may_have_a_computed_name(self, play: Play) -> None:
        """Its name is computed when it begins to be waited for."""
        await play.start(
            START,
            catch_event("w", MESSAGE),
            external("a"),
            path("s w a"),
            aside='<message id="m1" name="paid-${order.id}"/>',
            variables={"order": {"id": 7}},
        )
        with pytest.raises(NotFound):
            await play.send("paid-${order.id}")

        await play.send("paid-7")
        assert ["a"] == await play.open()

    async def test_name_that_cannot_be_computed_undoes_the_step(self, play: Play) -> None:
        """A message without a name is waited for by nobody."""
        for value in (None, ""):
            with pytest.raises(Unprocessable, match="w: the message it waits for has no name"):
                await play.start(
                    START,
                    catch_event("w", MESSAGE),
                    path("s w"),
                    aside='<message id="m1" name="${n}"/>',
                    variables={"n": value},
                )

    async def test_message_boundary_interrupts_its_activity(self, play: Play) -> None:
        """The activity is cancelled with its task, and nobody waits any more."""
        instance = await play.start(
            START,
            external("a"),
            boundary_event("late", "a", MESSAGE),
            external("b"),
            path("s a"),
            path("late b"),
            aside=BESIDE,
        )
        task = await play.fetch_one("a")
        await play.send("message-1", variables={"why": "sold out"})

        assert Outcome.GONE == await play.finish(task)
        assert {"why": "sold out"} == (await play.fetch_one("b")).variables
        assert ("a", "cancelled") in await play.steps(instance)
        with pytest.raises(NotFound):
            await play.send("message-1")

    async def test_completed_activity_is_waited_at_no_more(self, play: Play) -> None:
        """What waits with an activity goes with it."""
        await play.start(
            START,
            external("a"),
            boundary_event("late", "a", MESSAGE),
            boundary_event("told", "a", SIGNAL, interrupting=False),
            external("b"),
            END,
            path("s a b"),
            path("late e"),
            path("told e"),
            aside=BESIDE,
        )
        await play.do("a")

        with pytest.raises(NotFound):
            await play.send("message-1")
        assert 0 == await play.tell("signal-1")

    async def test_non_interrupting_message_comes_again_and_again(self, play: Play) -> None:
        """Each one begins its flow beside the activity, which goes on."""
        instance = await play.start(
            START,
            external("a"),
            boundary_event("note", "a", MESSAGE, interrupting=False),
            external("b"),
            path("s a"),
            path("note b"),
            aside=BESIDE,
        )
        await play.send("message-1")
        await play.send("message-1")
        assert ["a", "b", "b"] == await play.open()
        await play.do("a")
        with pytest.raises(NotFound):
            await play.send("message-1")
        for task in await play.fetch("b"):
            await play.finish(task)

        assert InstanceState.COMPLETED == await play.state(instance)

    async def test_receive_task_has_parameters(self, play: Play) -> None:
        """Variables of a message are seen by outputs, and inputs by the name."""
        inputs = '<camunda:inputParameter name="n">${id}</camunda:inputParameter>'
        outputs = '<camunda:outputParameter name="sum">${paid + n}</camunda:outputParameter>'
        await play.start(
            START,
            f'<receiveTask id="w" messageRef="m1">{mapping(inputs, outputs)}</receiveTask>',
            external("a"),
            path("s w a"),
            aside='<message id="m1" name="paid-${n}"/>',
            variables={"id": 7},
        )
        await play.send("paid-7", variables={"paid": 3})

        assert {"id": 7, "paid": 3, "sum": 10} == (await play.fetch_one("a")).variables

    # -- the event-based gateway -------------------------------------------------------------

    async def test_first_event_behind_a_gateway_goes_on(self, play: Play) -> None:
        """Of message, signal and timer the first to come is taken, and the others are gone."""
        parts = (
            START,
            '<eventBasedGateway id="g"/>',
            catch_event("w1", MESSAGE),
            catch_event("w2", SIGNAL),
            catch_event("w3", SOON),
            external("a"),
            external("b"),
            external("c"),
            path("s g w1 a"),
            path("g w2 b"),
            path("g w3 c"),
        )
        instance = await play.start(*parts, aside=BESIDE)
        await play.send("message-1", variables={"n": 1})
        assert {"n": 1} == (await play.fetch_one()).variables
        assert 0 == await play.tell("signal-1")
        assert 0 == await play.elapse(seconds=9)
        assert [("s", "completed"), ("g", "cancelled"), ("w1", "completed"), ("a", "active")] == (
            await play.steps(instance)
        )
        await play.again()
        assert 1 == await play.tell("signal-1", n=2)
        assert {"n": 2} == (await play.fetch_one("b")).variables
        await play.again()
        assert 1 == await play.elapse(seconds=5)
        assert "c" == (await play.fetch_one("c")).topic

        with pytest.raises(NotFound):
            await play.send("message-1")

    # -- signals -----------------------------------------------------------------------------

    async def test_signal_is_heard_by_all_who_wait(self, play: Play) -> None:
        """Catch events and boundary events of every instance hear it, each once."""
        await play.start(
            START,
            '<parallelGateway id="p"/>',
            catch_event("w", SIGNAL),
            external("a"),
            external("b"),
            boundary_event("note", "a", SIGNAL, interrupting=False),
            external("c"),
            path("s p w b"),
            path("p a"),
            path("note c"),
            aside=BESIDE,
        )
        await play.again()
        assert 4 == await play.tell("signal-1", n=1)
        assert ["a", "a", "b", "b", "c", "c"] == await play.open()

        assert 2 == await play.tell("signal-1")
        assert 0 == await play.tell("signal-2")

    async def test_thrown_signal_is_heard_in_other_instances(self, play: Play) -> None:
        """With the variables that are mapped into it, and from an end event as well."""
        end = '<endEvent id="e">' + cause("signal", "g1") + "</endEvent>"
        mapped = (
            '<extensionElements><camunda:in source="n" target="told"/>'
            '<camunda:in sourceExpression="${n + 1}" target="more"/></extensionElements>'
        )
        await play.engine.deploy(
            "listener",
            bpmn(START, catch_event("w", SIGNAL), external("b"), path("s w b"), aside=BESIDE),
        )
        await play.begin("listener")
        await play.start(
            START,
            throw_event("t", cause("signal", "g1", inside=mapped)),
            END,
            path("s t e"),
            aside=BESIDE,
            variables={"n": 1, "secret": 2},
        )
        await play.elapse(seconds=0)
        assert {"told": 1, "more": 2} == (await play.do("b")).variables
        await play.begin("listener")
        await play.start(START, end, path("s e"), aside=BESIDE)
        await play.elapse(seconds=0)

        assert ["b"] == await play.open()

    async def test_thrown_signal_is_heard_by_those_who_wait_already(self, play: Play) -> None:
        """In its own instance it is heard at once, but not where waiting begins after it."""
        await play.start(
            START,
            '<parallelGateway id="p"/>',
            catch_event("w1", SIGNAL),
            external("a"),
            throw_event("t", SIGNAL),
            external("b"),
            catch_event("w2", SIGNAL),
            external("c"),
            path("s p w1 a"),
            path("p t b"),
            path("p w2 c"),
            aside=BESIDE,
        )

        assert ["b", "a"] == [task.topic for task in await play.fetch()]
        assert 0 == await play.elapse(seconds=0)
        assert 1 == await play.tell("signal-1")
        assert "c" == (await play.fetch_one("c")).topic

    async def test_signal_interrupts_its_own_thrower(self, play: Play) -> None:
        """As on Camunda an event sub-process takes over at once; the thrower goes no further."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/>',
            external("a"),
            throw_event("t", SIGNAL),
            external("b"),
            path("s p a"),
            path("p t b"),
            handler("h", SIGNAL, external("c"), path("start-h c")),
            aside=BESIDE,
        )

        assert ["c"] == await play.open()
        assert {("a", "cancelled"), ("t", "cancelled")} <= set(await play.steps(instance))

    async def test_signal_of_the_last_end_begins_what_hears_it(self, play: Play) -> None:
        """The process goes on with its event sub-process; who waited is told once."""
        end = '<endEvent id="e">' + SIGNAL + "</endEvent>"
        instance = await play.start(
            START,
            external("a"),
            end,
            path("s a e"),
            handler("h", SIGNAL, external("b"), path("start-h b"), interrupting=False),
            aside=BESIDE,
        )
        await play.do("a")
        assert InstanceState.ACTIVE == await play.state(instance)
        await play.do("b")

        assert InstanceState.COMPLETED == await play.state(instance)

    async def test_signal_of_a_called_process_is_heard_by_its_caller(self, play: Play) -> None:
        """In the same step, before the called process gives anything back."""
        end = '<endEvent id="e">' + SIGNAL + "</endEvent>"
        await play.engine.deploy("child", bpmn(START, end, path("s e"), aside=BESIDE))
        await play.start(
            START,
            '<callActivity id="c" calledElement="child"/>',
            external("a"),
            path("s c a"),
            handler("h", SIGNAL, external("b"), path("start-h b")),
            aside=BESIDE,
        )

        assert ["b"] == await play.open()
        assert 0 == await play.elapse(seconds=0)

    async def test_called_processes_hear_each_other_once_they_have_begun(self, play: Play) -> None:
        """Each tells a signal when it begins: those that began before it hear it, no others."""
        await play.engine.deploy(
            "child",
            bpmn(
                START,
                throw_event("t", SIGNAL),
                external("a"),
                path("s t a"),
                handler("h", SIGNAL, external("b"), path("start-h b"), interrupting=False),
                aside=BESIDE,
            ),
        )
        await play.start(
            START,
            f'<callActivity id="c" calledElement="child">{several(number="3")}</callActivity>',
            path("s c"),
        )
        await play.elapse(seconds=0)

        assert ["b"] * (1 + 2 + 3) == await play.open("b")

    async def test_signal_boundary_interrupts(self, play: Play) -> None:
        """A signal cancels its activity; the second of two at once finds it gone."""
        await play.start(
            START,
            external("a"),
            boundary_event("stop", "a", SIGNAL),
            external("b"),
            path("s a"),
            path("stop b"),
            aside=BESIDE,
        )
        await play.engine.signal("signal-1", {})
        await play.engine.signal("signal-1", {})
        await play.elapse(seconds=0)

        assert ["b"] == await play.open()

    async def test_listener_that_cannot_go_on_is_an_incident(self, play: Play) -> None:
        """It holds up no other, and hears the same again when it is retried."""
        parts = (
            START,
            catch_event("w", SIGNAL),
            '<exclusiveGateway id="x"/>',
            external("a"),
            external("b"),
            path("s w x"),
            flow("x", "a", "${n == 1 && told}"),
            flow("x", "b", "${n == 2}"),
        )
        await play.start(*parts, aside=BESIDE, variables={"n": 3})
        await play.again({"n": 2})
        await play.tell("signal-1", told=True)
        [incident] = await play.engine.incidents()
        assert incident.message.startswith("x: ")
        assert ["b"] == await play.open()
        await play.engine.retry_incident(incident.id)
        assert 1 == await play.elapse(seconds=0)

        assert 1 == len(await play.engine.incidents())

    # -- timers ------------------------------------------------------------------------------

    async def test_non_interrupting_timer_fires_once(self, play: Play) -> None:
        """Its flow begins beside the activity."""
        await play.start(
            START,
            external("a"),
            boundary_event("late", "a", SOON, interrupting=False),
            external("b"),
            path("s a"),
            path("late b"),
        )
        assert 1 == await play.elapse(seconds=5)

        assert ["a", "b"] == await play.open()
        assert 0 == await play.elapse(days=1)

    @pytest.mark.parametrize(
        ("cycle", "times"),
        [("R2/PT10S", [10, 20]), ("R2/2030-01-01T00:00:05Z/PT10S", [5, 15, 25])],
    )
    async def test_non_interrupting_cycle_repeats(
        self, play: Play, cycle: str, times: list[int]
    ) -> None:
        """As on Camunda, a start that is written out comes besides; late it keeps its pace."""
        await play.start(
            START,
            external("a"),
            boundary_event("late", "a", timer("timeCycle", cycle), interrupting=False),
            external("b"),
            path("s a"),
            path("late b"),
        )
        fired = [second for second in range(1, 60) if await play.elapse(seconds=1)]

        assert times == fired
        assert len(times) == len(await play.fetch("b"))

    async def test_cycle_that_was_late_keeps_its_pace(self, play: Play) -> None:
        """Times that have passed meanwhile are not made up for; it ends with its activity."""
        await play.start(
            START,
            external("a"),
            boundary_event("late", "a", timer("timeCycle", "R/PT10S"), interrupting=False),
            external("b"),
            path("s a"),
            path("late b"),
        )
        assert 1 == await play.elapse(seconds=34)
        assert 0 == await play.elapse(seconds=5)
        assert 1 == await play.elapse(seconds=1)
        await play.do("a")

        assert 0 == await play.elapse(seconds=60)

    async def test_time_that_fails_holds_up_none_after_it(self, play: Play) -> None:
        """The one that failed waits for its retry, and the cycle goes on meanwhile."""
        await play.start(
            START,
            external("a"),
            boundary_event("late", "a", timer("timeCycle", "R3/PT10S"), interrupting=False),
            '<exclusiveGateway id="x"/>',
            external("b"),
            external("c"),
            path("s a"),
            path("late x"),
            flow("x", "b", "${now() > dateTime().plusDays(1) || n == 1}"),
            flow("x", "c", "${n == 2}"),
            variables={"n": 3},
        )
        await play.elapse(seconds=10)
        await play.elapse(seconds=10)
        first, second = await play.engine.incidents()
        await play.engine.retry_incident(first.id)
        assert 1 == await play.elapse(seconds=0)
        assert 2 == len(await play.engine.incidents())
        assert 1 == await play.elapse(seconds=10)
        assert 3 == len(await play.engine.incidents())
        assert 0 == await play.elapse(seconds=60)
        await play.do("a")

        assert second.element_id == "late"
        assert [] == list(await play.engine.incidents())

    async def test_cycle_without_time_between_is_refused(self, play: Play) -> None:
        """It would fire for ever."""
        with pytest.raises(Unprocessable, match=r"late: .*without time between"):
            await play.start(
                START,
                external("a"),
                boundary_event("late", "a", timer("timeCycle", "${c}"), interrupting=False),
                END,
                path("s a"),
                path("late e"),
                variables={"c": "R/PT0S"},
            )

    # -- escalations -------------------------------------------------------------------------

    async def test_escalation_is_heard_around_its_sub_process(self, play: Play) -> None:
        """A non-interrupting event begins its flow, and the sub-process goes on."""
        code = cause("escalation", "x1", 'camunda:escalationCodeVariable="code"')
        instance = await play.start(
            START,
            sub_process("x", INNER, escalate("t"), external("a"), path("is t a")),
            boundary_event("note", "x", code, interrupting=False),
            external("b"),
            path("s x"),
            path("note b"),
            aside=BESIDE,
        )

        assert ["a", "b"] == [task.topic for task in await play.fetch()]
        assert ("t", "completed") in await play.steps(instance)
        await play.engine.unlock_all("worker")
        assert {"code": "escalation-1"} == (await play.do("b")).variables

    async def test_escalation_interrupts(self, play: Play) -> None:
        """An interrupting event for all codes cancels the sub-process with all in it."""
        end = '<endEvent id="t">' + cause("escalation", "x2") + "</endEvent>"
        instance = await play.start(
            START,
            sub_process(
                "x",
                INNER,
                '<parallelGateway id="p"/>',
                external("a"),
                end,
                path("is p a"),
                path("p t"),
            ),
            boundary_event("stop", "x", cause("escalation")),
            external("b"),
            path("s x"),
            path("stop b"),
            aside=BESIDE,
        )

        assert ["b"] == await play.open()
        assert {("x", "cancelled"), ("t", "cancelled"), ("a", "cancelled")} <= set(
            await play.steps(instance)
        )

    async def test_escalation_that_nobody_hears_is_passed(self, play: Play) -> None:
        """As on Camunda it does nothing."""
        await play.start(START, escalate("t"), external("a"), path("s t a"), aside=BESIDE)

        assert ["a"] == await play.open()

    @pytest.mark.parametrize("interrupting", [True, False])
    async def test_escalation_leaves_a_called_process(
        self, play: Play, *, interrupting: bool
    ) -> None:
        """It is heard at the call activity, with the variables that are mapped out."""
        await play.engine.deploy(
            "child",
            bpmn(START, escalate("t"), external("a"), path("s t a"), aside=BESIDE),
        )
        instance = await play.start(
            START,
            '<callActivity id="c" calledElement="child"><extensionElements>'
            '<camunda:in sourceExpression="${1}" target="n"/><camunda:out variables="all"/>'
            "</extensionElements></callActivity>",
            boundary_event("note", "c", ESCALATION, interrupting=interrupting),
            external("b"),
            path("s c"),
            path("note b"),
            aside=BESIDE,
        )

        assert (["b"] if interrupting else ["a", "b"]) == await play.open()
        assert {"n": 1} == (await play.fetch_one("b")).variables
        states = {i.id: i.state for i in await play.engine.instances([instance.id])}
        del states[instance.id]
        expected = InstanceState.TERMINATED if interrupting else InstanceState.ACTIVE
        assert [expected] == list(states.values())

    async def test_escalation_event_sub_process_lets_its_own_through(self, play: Play) -> None:
        """What is thrown within an event sub-process is heard outside of it."""
        await play.start(
            START,
            sub_process(
                "x",
                INNER,
                escalate("t"),
                external("a"),
                path("is t a"),
                handler("h", ESCALATION, escalate("again"), external("b"), path("start-h again b")),
            ),
            boundary_event("note", "x", ESCALATION, interrupting=False),
            external("c"),
            path("s x"),
            path("note c"),
            aside=BESIDE,
        )

        assert ["b", "c"] == await play.open()

    # -- event sub-processes -----------------------------------------------------------------

    async def test_error_event_sub_process_takes_over(self, play: Play) -> None:
        """A worker's error cancels what goes on in the scope; then the scope is complete."""
        code = cause("error", "r1", 'camunda:errorCodeVariable="code"')
        instance = await play.start(
            START,
            sub_process(
                "x",
                INNER,
                '<parallelGateway id="p"/><userTask id="u"/>',
                external("a"),
                path("is p a"),
                path("p u"),
                handler("h", code, external("b"), path("start-h b")),
            ),
            boundary_event("never", "x", ERROR),
            external("c"),
            external("d"),
            path("s x c"),
            path("never d"),
            aside=BESIDE,
        )
        assert Outcome.DONE == await play.throw(await play.fetch_one("a"), "error-1", n=1)

        assert [] == list(await play.engine.user_tasks([instance.id]))
        assert {"n": 1, "code": "error-1"} == (await play.do("b")).variables
        assert ["c"] == await play.open()
        assert [
            ("s", "completed"), ("x", "completed"), ("is", "completed"), ("p", "completed"),
            ("a", "cancelled"), ("u", "cancelled"), ("h", "completed"), ("start-h", "completed"),
            ("b", "completed"), ("c", "active"),
        ] == await play.steps(instance)  # fmt: skip

    async def test_error_end_is_caught_in_its_own_scope(self, play: Play) -> None:
        """Its own code goes before one for all; an error within is not caught by itself."""
        throw = '<endEvent id="{}">' + ERROR + "</endEvent>"
        instance = await play.start(
            START,
            throw.format("t"),
            path("s t"),
            handler("any", cause("error"), external("a"), path("start-any a")),
            handler("own", ERROR, external("b"), throw.format("t2"), path("start-own b t2")),
            aside=BESIDE,
        )
        assert ["b"] == await play.open()
        await play.do("b")
        assert ["a"] == await play.open()
        await play.do("a")

        assert InstanceState.COMPLETED == await play.state(instance)
        assert ("own", "cancelled") in await play.steps(instance)

    async def test_error_leaves_a_called_process_for_an_event_sub_process(self, play: Play) -> None:
        """The caller's event sub-process catches what the called one lets through."""
        throw = '<endEvent id="t">' + ERROR + "</endEvent>"
        await play.engine.deploy(
            "child", bpmn(START, external("a"), throw, path("s a t"), aside=BESIDE)
        )
        await play.start(
            START,
            '<callActivity id="c" calledElement="child"/>',
            path("s c"),
            handler("h", ERROR, external("b"), path("start-h b")),
            aside=BESIDE,
        )
        await play.do("a")

        assert ["b"] == await play.open()

    @pytest.mark.parametrize(
        "definition", [MESSAGE, SIGNAL, SOON], ids=["message", "signal", "timer"]
    )
    @pytest.mark.parametrize("nested", [True, False])
    async def test_interrupting_event_sub_process_takes_over(
        self, play: Play, definition: str, *, nested: bool
    ) -> None:
        """In the process and in a sub-process alike: all else in the scope is cancelled."""
        inside = (
            external("a"),
            handler("h", definition, external("b"), path("start-h b")),
        )
        if nested:
            parts = [START, sub_process("x", INNER, *inside, path("is a")), END, path("s x e")]
        else:
            parts = [START, *inside, path("s a")]
        instance = await play.start(*parts, aside=BESIDE)
        if definition == MESSAGE:
            await play.send("message-1", variables={"n": 1})
        if definition == SIGNAL:
            await play.tell("signal-1", n=1)
        if definition == SOON:
            await play.elapse(seconds=5)
        assert ["b"] == await play.open()
        with pytest.raises(NotFound):
            await play.send("message-1")
        assert 0 == await play.tell("signal-1")
        assert 0 == await play.elapse(seconds=60)
        await play.do("b")

        assert InstanceState.COMPLETED == await play.state(instance)
        assert ("a", "cancelled") in await play.steps(instance)
        assert ("h", "completed") in await play.steps(instance)

    async def test_non_interrupting_event_sub_process_begins_again_and_again(
        self, play: Play
    ) -> None:
        """The scope is complete when the last of them is, and as long it can begin."""
        instance = await play.start(
            START,
            external("a"),
            path("s a"),
            handler("h", MESSAGE, external("b"), path("start-h b"), interrupting=False),
            handler("t", timer("timeCycle", "R/PT5S"), external("c"), path("start-t c"),
                    interrupting=False),
            aside=BESIDE,
        )  # fmt: skip
        await play.send("message-1")
        await play.do("a")
        await play.send("message-1")
        assert 1 == await play.elapse(seconds=5)
        assert 1 == await play.elapse(seconds=5)
        assert ["b", "b", "c", "c"] == await play.open()
        for task in await play.fetch():
            await play.finish(task)

        assert InstanceState.COMPLETED == await play.state(instance)
        with pytest.raises(NotFound):
            await play.send("message-1")
        assert 0 == await play.elapse(seconds=60)

    async def test_interrupting_event_sub_process_ends_the_waiting(self, play: Play) -> None:
        """As on Camunda, its scope then waits for no other event, not even at its boundary."""
        await play.start(
            START,
            sub_process(
                "x",
                INNER,
                external("a"),
                path("is a"),
                handler("h1", MESSAGE, external("b"), path("start-h1 b")),
                handler("h2", cause("message", "m2"), external("c"), path("start-h2 c"),
                        interrupting=False),
            ),
            boundary_event("late", "x", cause("message", "m3")),
            END,
            path("s x e"),
            path("late e"),
            aside=BESIDE,
        )  # fmt: skip
        await play.send("message-2")
        await play.send("message-1")

        assert ["b"] == await play.open()
        for name in ("message-1", "message-2", "message-3"):
            with pytest.raises(NotFound):
                await play.send(name)

    async def test_event_sub_process_hears_a_signal_of_its_own_process(self, play: Play) -> None:
        """What is thrown beside it begins it, in the same step."""
        await play.start(
            START,
            throw_event("t", SIGNAL),
            external("a"),
            path("s t a"),
            handler("h", SIGNAL, external("b"), path("start-h b"), interrupting=False),
            aside=BESIDE,
        )

        assert ["a", "b"] == [task.topic for task in await play.fetch()]

    # -- links -------------------------------------------------------------------------------

    async def test_link_leads_from_throw_to_catch(self, play: Play) -> None:
        """Several throw events lead to one place; as on Camunda the history does not name them."""
        instance = await play.start(
            START,
            '<exclusiveGateway id="x" default="x_l2"/>',
            throw_event("l1", '<linkEventDefinition name="away"/>'),
            throw_event("l2", '<linkEventDefinition name="away"/>'),
            catch_event("l3", '<linkEventDefinition name="away"/>'),
            external("a"),
            path("s x"),
            flow("x", "l1", "${n == 1}"),
            path("x l2"),
            path("l3 a"),
            variables={"n": 1},
        )
        await play.again({"n": 2})

        assert ["a", "a"] == await play.open()
        assert ["s", "x", "a"] == [element for element, _ in await play.steps(instance)]

    # -- what is left behind -----------------------------------------------------------------

    async def test_deleted_instance_waits_for_nothing(self, play: Play) -> None:
        """Its subscriptions, timers and signals on their way go with it."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/><eventBasedGateway id="g"/>',
            catch_event("w1", MESSAGE),
            catch_event("w2", SOON),
            catch_event("w3", SIGNAL),
            path("s p g w1"),
            path("g w2"),
            path("p w3"),
            handler("h", cause("message", "m2")),
            handler("t", SOON, interrupting=False),
            aside=BESIDE,
        )
        await play.engine.signal("signal-1", {})
        await play.engine.delete_instances([instance.id], "not needed")

        for name in ("message-1", "message-2"):
            with pytest.raises(NotFound):
                await play.send(name)
        assert 0 == await play.tell("signal-1")
        assert 0 == await play.elapse(seconds=60)
        assert await play.engine.next_due() is None

    async def test_interrupted_sub_process_takes_all_with_it(self, play: Play) -> None:
        """Tasks, events, handlers and called instances in it go when it is interrupted."""
        await play.engine.deploy(
            "child",
            bpmn(START, catch_event("w", cause("message", "m2")), path("s w"), aside=BESIDE),
        )
        instance = await play.start(
            START,
            sub_process(
                "x",
                INNER,
                '<parallelGateway id="p"/><userTask id="u"/>',
                external("a"),
                boundary_event("l", "a", timer("timeDuration", "PT9S"), interrupting=False),
                catch_event("w", cause("message", "m3")),
                '<callActivity id="c" calledElement="child"/>',
                path("is p u"),
                path("p a"),
                path("p w"),
                path("p c"),
                handler("h", SIGNAL, interrupting=False),
            ),
            boundary_event("stop", "x", MESSAGE),
            END,
            path("s x"),
            path("stop e"),
            aside=BESIDE,
        )
        await play.send("message-1")

        assert InstanceState.COMPLETED == await play.state(instance)
        assert [] == await play.open()
        assert [] == list(await play.engine.user_tasks([instance.id]))
        for name in ("message-2", "message-3"):
            with pytest.raises(NotFound):
                await play.send(name)
        assert 0 == await play.tell("signal-1")
        assert await play.engine.next_due() is None
        assert 0 == await play.engine.running_instances("child")


class TestInMemoryEngine(EventsContract):
    """The fake."""

    @pytest.fixture
    def play(self) -> Play:
        """Make a fresh engine."""
        clock = Clock()
        return Play(InMemoryEngine(now=clock), clock)


class TestEmbeddedEngine(EventsContract):
    """The embedded engine on PostgreSQL."""

    @pytest.fixture
    def play(self, database: Database) -> Play:
        """Make an engine on an empty database."""
        clock = Clock()
        return Play(EmbeddedEngine(database, now=clock), clock)
