"""Start events of messages, signals and timers, on every engine of ours."""

from typing import cast

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import NotFound, Unprocessable
from taskloom.ports.engine import InstanceState
from taskloom.store.database import Database
from taskloom.testing.bpmn import (
    bpmn,
    catch_event,
    cause,
    external,
    flow,
    path,
    start_event,
    throw_event,
    timer,
)
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import Clock, Play

START = '<startEvent id="s"/>'
BESIDE = (
    '<message id="m1" name="ordered"/><message id="m2" name="returned"/>'
    '<signal id="g1" name="opened"/>'
)
ORDERED, RETURNED = cause("message", "m1"), cause("message", "m2")
OPENED = cause("signal", "g1")


def begins(definition: str, topic: str = "a") -> bytes:
    """Make a process that begins with something and has one task."""
    return bpmn(start_event("s", definition), external("t", topic=topic), path("s t"), aside=BESIDE)


class StartsContract:
    """The suite; a subclass says by its `play` fixture on which engine."""

    # -- messages ----------------------------------------------------------------------------

    async def test_message_starts_the_workflow_that_begins_with_it(self, play: Play) -> None:
        """With its variables and business key; several start events begin several ways."""
        await play.engine.deploy(
            "w",
            bpmn(
                START,
                start_event("s1", ORDERED),
                start_event("s2", RETURNED),
                external("a"),
                external("b"),
                external("c"),
                path("s a"),
                path("s1 b"),
                path("s2 c"),
                aside=BESIDE,
            ),
        )
        await play.begin("w")
        ordered = await play.send("ordered", business_key="o-7", variables={"n": 7})
        returned = await play.send("returned")
        tasks = {task.topic: task for task in await play.fetch()}

        assert ["a", "b", "c"] == sorted(tasks)
        assert (True, True) == (ordered.started, returned.started)
        assert (ordered.instance_id, "o-7", {"n": 7}) == (
            tasks["b"].instance_id,
            tasks["b"].business_key,
            tasks["b"].variables,
        )
        assert (returned.instance_id, None) == (tasks["c"].instance_id, tasks["c"].business_key)
        [instance] = await play.engine.instances([ordered.instance_id])
        assert ("w", 1, "o-7") == (instance.workflow_key, instance.version, instance.business_key)
        assert [("s1", "completed"), ("b", "active")] == await play.steps(instance)

    async def test_waiting_instance_goes_before_a_start(self, play: Play) -> None:
        """As on Camunda, which asks what narrows a message down of waiting instances only."""
        await play.engine.deploy("w", begins(ORDERED))
        waiting = await play.start(START, catch_event("w", ORDERED), path("s w"), aside=BESIDE)
        first = await play.send("ordered")
        second = await play.send("ordered", business_key="k")
        third = await play.send("ordered", correlation={"n": 1}, instance_id=waiting.id)

        assert (waiting.id, False) == (first.instance_id, first.started)
        assert (True, True) == (second.started, third.started)
        assert 2 == await play.engine.running_instances("w")

    async def test_process_that_begins_with_messages_is_not_started_by_its_key(
        self, play: Play
    ) -> None:
        """As on Camunda, unless there is but one start event, or one without an event."""
        await play.engine.deploy("one", begins(ORDERED))
        await play.begin("one")
        await play.engine.deploy(
            "two",
            bpmn(
                start_event("s1", RETURNED),
                start_event("s2", OPENED),
                external("a"),
                path("s1 a"),
                path("s2 a"),
                aside=BESIDE,
            ),
        )

        with pytest.raises(Unprocessable, match="cannot be started by its key"):
            await play.begin("two")
        assert 1 == await play.engine.running_instances("one")
        assert 0 == await play.engine.running_instances("two")

    async def test_new_version_takes_the_start_events_over(self, play: Play) -> None:
        """Only the latest version begins by them; without it the one before does again."""
        old = await play.engine.deploy("w", begins(ORDERED))
        new = await play.engine.deploy("w", begins(RETURNED, topic="b"))
        with pytest.raises(NotFound):
            await play.send("ordered")
        await play.send("returned")
        await play.do("b")
        await play.engine.undeploy([new.definition_id])
        with pytest.raises(NotFound):
            await play.send("returned")
        await play.send("ordered")
        await play.do("a")
        await play.engine.undeploy([old.definition_id])

        with pytest.raises(NotFound):
            await play.send("ordered")

    async def test_message_starts_one_workflow(self, play: Play) -> None:
        """Another one that begins with the same is refused, until the first is gone."""
        first = await play.engine.deploy("w", begins(ORDERED))
        await play.engine.deploy("w", begins(ORDERED, topic="b"))
        with pytest.raises(Unprocessable, match="s: the workflow w begins with the message"):
            await play.engine.deploy("other", begins(ORDERED))
        await play.engine.deploy("w", begins(RETURNED))
        await play.engine.undeploy([first.definition_id])

        await play.engine.deploy("other", begins(ORDERED))
        await play.send("ordered")
        assert 1 == await play.engine.running_instances("other")

    async def test_message_that_was_taken_meanwhile_stays_with_its_workflow(
        self, play: Play
    ) -> None:
        """A version that begins again does not take a message back that another begins with."""
        await play.engine.deploy("w", begins(ORDERED))
        new = await play.engine.deploy("w", begins(RETURNED))
        await play.engine.deploy("other", begins(ORDERED, topic="b"))
        await play.engine.undeploy([new.definition_id])
        await play.send("ordered")

        assert ["b"] == await play.open()

    async def test_start_that_cannot_go_on_starts_nothing(self, play: Play) -> None:
        """The sender is told at which element."""
        await play.engine.deploy(
            "w",
            bpmn(
                start_event("s", ORDERED),
                '<exclusiveGateway id="x"/>',
                external("a"),
                external("b"),
                path("s x"),
                flow("x", "a", "${n == 1}"),
                flow("x", "b", "${n == 2}"),
                aside=BESIDE,
            ),
        )
        with pytest.raises(Unprocessable, match="x: no condition"):
            await play.send("ordered", variables={"n": 3})

        assert 0 == await play.engine.running_instances("w")

    # -- signals -----------------------------------------------------------------------------

    async def test_signal_starts_every_workflow_that_begins_with_it(self, play: Play) -> None:
        """In their latest versions, beside those who wait for it."""
        await play.engine.deploy("v", begins(OPENED, topic="c"))
        await play.engine.deploy("v", begins(OPENED))
        await play.engine.deploy("w", begins(OPENED, topic="b"))

        assert 2 == await play.tell("opened", n=1)
        assert [("a", {"n": 1}), ("b", {"n": 1})] == sorted(
            (task.topic, dict(task.variables)) for task in await play.fetch()
        )

    async def test_signal_starts_the_version_it_was_told_to(self, play: Play) -> None:
        """A version that comes before the signal is heard changes nothing of that."""
        await play.engine.deploy("w", begins(OPENED))
        await play.engine.signal("opened", {})
        await play.engine.deploy("w", begins(RETURNED, topic="b"))

        assert 1 == await play.elapse(seconds=0)
        assert ["a"] == await play.open()

    async def test_thrown_signal_starts_workflows(self, play: Play) -> None:
        """It is told by the step that throws it, and heard right after."""
        await play.engine.deploy("w", begins(OPENED))
        await play.start(START, throw_event("t", OPENED), path("s t"), aside=BESIDE)
        await play.elapse(seconds=0)

        assert ["a"] == await play.open()

    # -- timers ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("kind", "value", "times"),
        [
            ("timeDuration", "PT10S", [10]),
            ("timeDate", "2030-01-01T00:00:20Z", [20]),
            ("timeCycle", "R2/PT10S", [10, 20]),
            ("timeCycle", "R1/2030-01-01T00:00:05Z/PT15S", [5, 20]),
            ("timeDuration", "${'PT5S'}", [5]),
        ],
    )
    async def test_timer_starts_instances(
        self, play: Play, kind: str, value: str, times: list[int]
    ) -> None:
        """From its deployment on: at a date, after a duration, or again and again."""
        await play.engine.deploy("w", begins(timer(kind, value)))
        fired = [second for second in range(1, 60) if await play.elapse(seconds=1)]

        assert times == fired
        assert len(times) == await play.engine.running_instances("w")

    async def test_new_version_takes_the_timer_over(self, play: Play) -> None:
        """The former one's fires no more; the same bytes again change nothing."""
        old = begins(timer("timeDuration", "PT10S"))
        new = begins(timer("timeDuration", "PT30S"), topic="b")
        await play.engine.deploy("w", old)
        await play.elapse(seconds=5)
        await play.engine.deploy("w", old)
        await play.elapse(seconds=5)
        await play.do("a")
        await play.engine.deploy("w", old.replace(b"PT10S", b"PT11S"))
        latest = await play.engine.deploy("w", new)
        assert 0 == await play.elapse(seconds=29)
        assert 1 == await play.elapse(seconds=1)
        await play.do("b")
        await play.engine.undeploy([latest.definition_id])

        assert 1 == await play.elapse(seconds=11)

    async def test_process_of_a_timer_is_started_by_its_key_too(self, play: Play) -> None:
        """As on Camunda, where a timer's start event is the default one."""
        await play.engine.deploy("w", begins(timer("timeDuration", "P1D")))
        instance = await play.begin("w")

        assert InstanceState.ACTIVE == instance.state

    async def test_start_that_fails_is_an_incident(self, play: Play) -> None:
        """It belongs to no instance, holds up none of those after it, and is retried."""
        gateway = (
            '<exclusiveGateway id="x"/>',
            flow("x", "a", "${execution.processBusinessKey == 1}"),
            flow("x", "b", "${now() > dateTime().plusDays(1)}"),
        )
        await play.engine.deploy(
            "w",
            bpmn(
                start_event("s", timer("timeCycle", "R2/PT10S")),
                external("a"),
                external("b"),
                path("s x"),
                *gateway,
            ),
        )
        await play.elapse(seconds=10)
        [incident] = await play.engine.incidents()
        assert ("", "s") == (incident.instance_id, incident.element_id)
        assert incident.message.startswith("x: ")
        await play.engine.retry_incident(incident.id)
        assert 1 == await play.elapse(seconds=0)
        assert 1 == len(await play.engine.incidents())
        assert 1 == await play.elapse(seconds=10)
        assert 2 == len(await play.engine.incidents())
        await play.engine.deploy("w", begins(timer("timeDuration", "PT10S")))

        assert [] == list(await play.engine.incidents())

    async def test_time_that_cannot_be_computed_is_refused(self, play: Play) -> None:
        """There are no variables at a deployment; nothing is deployed."""
        with pytest.raises(Unprocessable, match="s: "):
            await play.engine.deploy("w", begins(timer("timeDuration", "${wait}")))
        with pytest.raises(NotFound):
            await play.begin("w")

    async def test_nothing_begins_by_itself_in_a_retired_engine(self, play: Play) -> None:
        """No message, signal or time starts anything; what runs goes on, a told signal arrives."""
        await play.engine.deploy("m", begins(ORDERED))
        await play.engine.deploy("g", begins(OPENED, "b"))
        await play.engine.deploy("t", begins(timer("timeDuration", "PT10S")))
        await play.start(START, catch_event("w", RETURNED), path("s w"), aside=BESIDE)
        await play.engine.signal("opened", {})
        await cast("EmbeddedEngine | InMemoryEngine", play.engine).retire()
        await play.engine.signal("opened", {})
        with pytest.raises(NotFound):
            await play.send("ordered")
        went_on = await play.send("returned")
        await play.elapse(seconds=20)

        assert not went_on.started
        assert ["b"] == [task.topic for task in await play.fetch()]


class TestInMemoryEngine(StartsContract):
    """The fake."""

    @pytest.fixture
    def play(self) -> Play:
        """Make a fresh engine."""
        clock = Clock()
        return Play(InMemoryEngine(now=clock), clock)


class TestEmbeddedEngine(StartsContract):
    """The embedded engine on PostgreSQL."""

    @pytest.fixture
    def play(self, database: Database) -> Play:
        """Make an engine on an empty database."""
        clock = Clock()
        return Play(EmbeddedEngine(database, now=clock), clock)
