"""What every engine of ours keeps to: the fake in memory and the embedded one on PostgreSQL."""

from datetime import timedelta

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Conflict, NotFound, Unprocessable
from taskloom.ports.engine import ChangeKind, InstanceState, Outcome, StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, external, flow, path, timer
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import LOCK, Clock, Play

START = '<startEvent id="s"/>'
END = '<endEvent id="e"/>'
LATE = f'<boundaryEvent id="late" attachedToRef="a">{timer("timeDuration", "PT5S")}</boundaryEvent>'


class EngineContract:
    """The suite; a subclass says by its `play` fixture on which engine.

    What an engine refuses it says in words of its own: these are ours.
    """

    NO_VARIABLE = r"x: .*there is no variable 'n'"
    NO_TRUTH = "x: "
    NO_WAY_OUT = "x: no condition of its outgoing flows holds"

    async def test_history_is_in_the_order_in_which_it_happened(self, play: Play) -> None:
        """A step is listed after all that began before it, also in other branches and callers."""
        await play.engine.deploy("child", bpmn(START, external("c"), path("s c")))
        instance = await play.start(
            START,
            '<parallelGateway id="p"/><task id="t1"/><task id="t2"/><task id="t3"/>',
            '<callActivity id="call" calledElement="child"/>',
            external("a"),
            external("b"),
            '<userTask id="last"/>',
            path("s p a t1 t2 t3"),
            path("p b last"),
            path("p call"),
        )
        for topic in ("a", "b", "c"):
            await play.wait(seconds=1)
            await play.do(topic)
        steps = [element for element, _ in await play.steps(instance)]

        assert ["t1", "t2", "t3", "last"] == steps[-4:]
        assert steps.index("c") < steps.index("t1")

    # -- deployments and starts --------------------------------------------------------------

    async def test_same_bytes_are_the_same_version(self, play: Play) -> None:
        """Deploying a file again gives the version it has; another file makes the next one."""
        first = await play.engine.deploy("w", bpmn(START, external("a"), END, path("s a e")))
        same = await play.engine.deploy("w", bpmn(START, external("a"), END, path("s a e")))
        other = await play.engine.deploy("w", bpmn(START, external("b"), END, path("s b e")))

        assert first == same
        assert (1, 2) == (first.version, other.version)
        assert {"b"} == other.topics

    async def test_known_definitions_are_those_that_are_deployed(self, play: Play) -> None:
        """What was removed, and what never was there, is not known."""
        first = await play.engine.deploy("w", bpmn(START, external("a"), END, path("s a e")))
        second = await play.engine.deploy("w", bpmn(START, external("b"), END, path("s b e")))
        asked = [first.definition_id, second.definition_id, "none"]
        before = await play.engine.known_definitions(asked)
        await play.engine.undeploy([first.definition_id])

        assert {first.definition_id, second.definition_id} == before
        assert {second.definition_id} == await play.engine.known_definitions(asked)
        assert frozenset() == await play.engine.known_definitions([])

    async def test_refused_model_names_its_element(self, play: Play) -> None:
        """What is not supported is refused at deployment, and nothing is deployed."""
        with pytest.raises(Unprocessable, match="x: scriptTask is not supported"):
            await play.engine.deploy("w", bpmn(START, '<scriptTask id="x"/>', END))
        with pytest.raises(NotFound):
            await play.engine.start(StartRequest(workflow_key="w", start_id="1", variables={}))

    async def test_inspect_tells_of_a_model_without_deploying_it(self, play: Play) -> None:
        """A model can be checked before there is a workflow for it."""
        summary = await play.engine.inspect(bpmn(START, external("a"), END, path("s a e")))

        assert ("P", frozenset({"a"})) == (summary.process_id, summary.topics)

    async def test_start_with_the_same_id_gives_the_first_instance(self, play: Play) -> None:
        """A repeated start starts nothing, whatever its variables, also after the end."""
        first = await play.start(START, external("a"), END, path("s a e"))
        play.starts -= 1
        second = await play.again({"other": 1})
        await play.do("a")
        play.starts -= 1
        third = await play.again()

        assert first.id == second.id == third.id
        assert InstanceState.COMPLETED == third.state

    async def test_start_names_a_definition(self, play: Play) -> None:
        """The latest version starts, unless another one is named."""
        old = await play.engine.deploy("w", bpmn(START, external("a"), END, path("s a e")))
        await play.engine.deploy("w", bpmn(START, external("b"), END, path("s b e")))
        request = StartRequest(workflow_key="w", start_id="1", variables={})
        latest = await play.engine.start(request)
        named = await play.engine.start(
            StartRequest(
                workflow_key="w", start_id="2", variables={}, definition_id=old.definition_id
            )
        )

        assert (2, 1) == (latest.version, named.version)
        with pytest.raises(NotFound):
            await play.engine.start(
                StartRequest(workflow_key="w", start_id="3", variables={}, definition_id="none")
            )

    async def test_undeploy_waits_for_instances(self, play: Play) -> None:
        """A definition stays while instances of it run, and goes when none does."""
        deployed = await play.engine.deploy(
            "workflow", bpmn(START, external("a"), END, path("s a e"))
        )
        await play.again()
        with pytest.raises(Conflict):
            await play.engine.undeploy([deployed.definition_id])
        assert 1 == await play.engine.running_instances("workflow")
        assert {"workflow": 1} == await play.engine.running_by_workflow()
        await play.do("a")
        await play.engine.undeploy([deployed.definition_id])

        assert 0 == await play.engine.running_instances("workflow")
        assert {} == await play.engine.running_by_workflow()
        with pytest.raises(NotFound):
            await play.again()

    async def test_instance_without_wait_state_ends_at_once(self, play: Play) -> None:
        """Start events, manual and undefined tasks and none throw events are passed through."""
        instance = await play.start(
            START,
            '<manualTask id="m"/><task id="t"/><intermediateThrowEvent id="i"/>',
            END,
            path("s m t i e"),
        )

        assert InstanceState.COMPLETED == instance.state
        assert [(id_, "completed") for id_ in "smtie"] == await play.steps(instance)

    # -- external tasks ----------------------------------------------------------------------

    async def test_external_task_carries_what_a_worker_needs(self, play: Play) -> None:
        """A fetched task knows its instance, business key and every variable that it sees."""
        variables = {"n": 1, "text": "\x00\ud800 é", "map": {"z": [1.5, None], "a": True}}
        instance = await play.start(START, external("a"), END, path("s a e"), variables=variables)
        task = await play.fetch_one()

        assert variables == task.variables
        assert ["z", "a"] == list(task.variables["map"])
        assert ("a", "a", instance.id, instance.id) == (
            task.topic,
            task.element_id,
            task.instance_id,
            task.root_instance_id,
        )
        assert ("workflow", "the-key", None) == (task.workflow_key, task.business_key, task.retries)

    async def test_locked_task_is_not_fetched_until_its_lock_ends(self, play: Play) -> None:
        """A lock holds for its time; afterwards another worker takes over."""
        await play.start(START, external("a"), END, path("s a e"))
        task = await play.fetch_one()
        assert [] == await play.fetch(worker="other")
        await play.wait(seconds=31)
        [same] = await play.fetch(worker="other")

        assert task.id == same.id
        assert Outcome.LOCK_LOST == await play.finish(task)
        assert Outcome.DONE == await play.engine.complete(task.id, "other", {})
        assert Outcome.GONE == await play.finish(task)

    async def test_extended_lock_holds_longer(self, play: Play) -> None:
        """A lock is extended from now on, by the worker that holds it alone."""
        await play.start(START, external("a"), END, path("s a e"))
        task = await play.fetch_one()
        await play.wait(seconds=29)

        assert Outcome.DONE == await play.engine.extend_lock(task.id, "worker", LOCK)
        await play.wait(seconds=29)
        assert [] == await play.fetch()
        assert Outcome.LOCK_LOST == await play.engine.extend_lock(task.id, "other", LOCK)
        assert Outcome.GONE == await play.engine.extend_lock("none", "worker", LOCK)

    async def test_unlock_all_frees_what_a_worker_held(self, play: Play) -> None:
        """After a crash a worker's tasks are fetched again at once."""
        await play.start(START, external("a"), END, path("s a e"))
        await play.again()
        assert 2 == len(await play.fetch())

        assert 0 == await play.engine.unlock_all("other")
        assert 2 == await play.engine.unlock_all("worker")
        assert 2 == len(await play.fetch())

    async def test_oldest_tasks_are_fetched_first_and_no_more_than_asked(self, play: Play) -> None:
        """Tasks leave in the order they came, of the given topics only."""
        first = await play.start(START, external("a"), END, path("s a e"))
        second = await play.again()
        await play.again()
        tasks = await play.engine.fetch_and_lock(["a", "x"], "worker", max_tasks=2, lock=LOCK)

        assert [first.id, second.id] == [task.instance_id for task in tasks]
        assert [] == await play.fetch("b")
        assert [] == list(await play.engine.fetch_and_lock([], "worker", max_tasks=2, lock=LOCK))

    async def test_failed_task_comes_again_after_its_wait(self, play: Play) -> None:
        """A failure with retries left puts the task off and counts down."""
        await play.start(START, external("a"), END, path("s a e"))
        task = await play.fetch_one()
        wait = timedelta(seconds=10)
        outcome = await play.engine.fail(
            task.id, "worker", "no answer", retries=2, retry_after=wait
        )

        assert Outcome.DONE == outcome
        assert [] == await play.fetch()
        assert Outcome.LOCK_LOST == await play.finish(task)
        await play.wait(seconds=11)
        assert 2 == (await play.fetch_one()).retries

    async def test_task_without_retries_is_an_incident_until_retried(self, play: Play) -> None:
        """The last failure stops the task; a retry of the incident brings it back."""
        instance = await play.start(START, external("a"), END, path("s a e"))
        task = await play.fetch_one()
        await play.engine.fail(task.id, "worker", "broken", retries=0, retry_after=timedelta(0))
        await play.wait(hours=1)
        assert [] == await play.fetch()
        [incident] = await play.engine.incidents([instance.id])
        assert ("a", "broken", instance.id) == (
            incident.element_id,
            incident.message,
            incident.root_instance_id,
        )
        assert [incident] == list(await play.engine.incidents())
        assert [] == list(await play.engine.incidents(["other"]))
        await play.engine.retry_incident(incident.id, retries=3)

        assert [] == list(await play.engine.incidents())
        assert 3 == (await play.fetch_one()).retries
        with pytest.raises(NotFound):
            await play.engine.retry_incident(incident.id)

    async def test_completion_that_fails_changes_nothing(self, play: Play) -> None:
        """An expression that fails undoes the completion; the task can be completed again."""
        await play.start(
            START, external("a"), '<exclusiveGateway id="x"/>', END,
            path("s a x"), flow("x", "e", "${n > 1}"), flow("x", "s2", "${n <= 1}"),
            '<task id="s2"/>',
        )  # fmt: skip
        task = await play.fetch_one()
        with pytest.raises(Unprocessable, match=self.NO_VARIABLE):
            await play.finish(task)

        assert Outcome.DONE == await play.finish(task, n=2)

    async def test_start_that_fails_starts_nothing(self, play: Play) -> None:
        """An expression that fails undoes the start; the same start id can be used again."""
        gateway = '<exclusiveGateway id="x"/>', flow("x", "e", "${n}"), flow("x", "b", "${!n}")
        with pytest.raises(Unprocessable, match=self.NO_TRUTH):
            await play.start(START, END, path("s x"), external("b"), *gateway)
        play.starts -= 1

        assert InstanceState.COMPLETED == (await play.again({"n": True})).state

    async def test_message_and_send_and_rule_tasks_are_external(self, play: Play) -> None:
        """Message throw and end events, send tasks and rule tasks have a topic as service tasks."""
        attributes = 'camunda:type="external" camunda:topic='
        instance = await play.start(
            START,
            f'<sendTask id="t1" {attributes}"a"/><businessRuleTask id="t2" {attributes}"b"/>',
            f'<intermediateThrowEvent id="t3"><messageEventDefinition {attributes}"c"/>'
            "</intermediateThrowEvent>",
            f'<endEvent id="t4"><messageEventDefinition {attributes}"${{name}}"/></endEvent>',
            path("s t1 t2 t3 t4"),
            variables={"name": "d"},
        )
        for topic in "abcd":
            await play.do(topic)

        assert InstanceState.COMPLETED == await play.state(instance)

    # -- user tasks and the feed -------------------------------------------------------------

    async def test_user_task_tells_what_was_modelled(self, play: Play) -> None:
        """A user task's attributes are computed when it begins."""
        instance = await play.start(
            START,
            '<userTask id="u" name="Approve ${item.name}" camunda:assignee="${who}"'
            ' camunda:candidateUsers="ann, ${others}" camunda:candidateGroups="${groups}"'
            ' camunda:formKey="form:${item.id}" camunda:priority="${30 + 40}"'
            ' camunda:dueDate="P1D"><documentation>See ${item.name}.</documentation></userTask>',
            END,
            path("s u e"),
            variables={
                "item": {"name": "pens", "id": 7},
                "who": None,
                "others": "bob,cid",
                "groups": ["x", "y"],
            },
        )
        [task] = await play.engine.user_tasks([instance.id])

        assert ("Approve pens", "See pens.", None) == (task.name, task.description, task.assignee)
        assert (("ann", "bob", "cid"), ("x", "y")) == (task.candidate_users, task.candidate_groups)
        assert ("form:7", 70, "2030-01-02T00:00:00Z") == (
            task.form_key,
            task.priority,
            task.due_date,
        )
        assert (play.clock.time, instance.id) == (task.created_at, task.root_instance_id)

    async def test_completed_user_task_lets_its_instance_go_on(self, play: Play) -> None:
        """Completing sets the variables and moves on; twice is told apart from once."""
        instance = await play.start(
            START, '<userTask id="u"/>', external("a"), END, path("s u a e")
        )
        [task] = await play.engine.user_tasks([instance.id])

        assert Outcome.DONE == await play.engine.complete_user_task(task.id, {"ok": True})
        assert Outcome.GONE == await play.engine.complete_user_task(task.id, {})
        assert [] == list(await play.engine.user_tasks([instance.id]))
        assert {"ok": True} == (await play.fetch_one()).variables

    async def test_feed_tells_what_happened_until_confirmed(self, play: Play) -> None:
        """Created and ended user tasks, ended instances and incidents are told, in order."""
        instance = await play.start(START, '<userTask id="u"/>', END, path("s u e"))
        [task] = await play.engine.user_tasks([instance.id])
        await play.engine.complete_user_task(task.id, {})
        created, ended, over = await play.engine.changes(10)

        assert (ChangeKind.USER_TASK_CREATED, task) == (created.kind, created.user_task)
        assert (ChangeKind.USER_TASK_ENDED, task.id, True) == (
            ended.kind,
            ended.user_task_id,
            ended.completed,
        )
        assert (ChangeKind.INSTANCE_ENDED, instance.id, True) == (
            over.kind,
            over.instance_id,
            over.completed,
        )
        assert [created] == list(await play.engine.changes(1))
        await play.engine.confirm_changes([created.id, ended.id])
        await play.engine.confirm_changes([created.id])
        assert [over] == list(await play.engine.changes(10))

    # -- deletion ----------------------------------------------------------------------------

    async def test_deleted_instance_is_terminated_with_its_work(self, play: Play) -> None:
        """Deleting ends tasks, timers and incidents; unknown and ended ones are no error."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/><userTask id="u"/>',
            external("a"),
            f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT1S")}'
            "</intermediateCatchEvent>",
            path("s p a"),
            path("p u"),
            path("p w"),
        )
        task = await play.fetch_one()
        await play.engine.fail(task.id, "worker", "broken", retries=0, retry_after=timedelta(0))
        await play.engine.delete_instances([instance.id, "none"], "not needed")
        await play.engine.delete_instances([instance.id], "again")

        assert InstanceState.TERMINATED == await play.state(instance)
        assert [] == list(await play.engine.user_tasks([instance.id]))
        assert [] == list(await play.engine.incidents())
        assert 0 == await play.elapse(seconds=5)
        assert {"completed": 2, "cancelled": 3} == _tally(await play.steps(instance))
        last = list(await play.engine.changes(10))[-1]
        assert (ChangeKind.INSTANCE_ENDED, False, "not needed") == (
            last.kind,
            last.completed,
            last.message,
        )

    # -- gateways ----------------------------------------------------------------------------

    async def test_exclusive_gateway_takes_the_first_that_holds(self, play: Play) -> None:
        """Conditions are asked in the order of the file; the default is for when none holds."""
        parts = [
            START,
            '<exclusiveGateway id="x" default="x_c"/>',
            external("a"),
            external("b"),
            external("c"),
            path("s x"),
            flow("x", "c"),
            flow("x", "b", "${n > 5}"),
            flow("x", "a", "${n > 1}"),
        ]
        await play.start(*parts, variables={"n": 9})
        await play.again({"n": 3})
        await play.again({"n": 0})

        assert ["b", "a", "c"] == [task.topic for task in await play.fetch()]

    async def test_exclusive_gateway_without_a_way_out_refuses(self, play: Play) -> None:
        """If no condition holds and there is no default, the step fails at the gateway."""
        parts = (
            '<exclusiveGateway id="x"/>',
            flow("x", "e", "${n == 1}"),
            flow("x", "s", "${n == 2}"),
        )
        with pytest.raises(Unprocessable, match=self.NO_WAY_OUT):
            await play.start(START, END, path("s x"), *parts, variables={"n": 3})

    async def test_parallel_branches_join(self, play: Play) -> None:
        """Every branch is walked, and the join waits for all of them."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/><parallelGateway id="j"/>',
            external("a"),
            external("b"),
            external("c"),
            END,
            path("s p a j c e"),
            path("p b j"),
        )
        await play.do("b", b=1)
        assert [] == await play.fetch("c")
        await play.do("a", a=1)
        task = await play.do("c")

        assert {"a": 1, "b": 1} == task.variables
        assert InstanceState.COMPLETED == await play.state(instance)
        assert [("s", "completed"), ("p", "completed"), ("a", "completed"), ("b", "completed"),
                ("j", "completed"), ("j", "completed"), ("c", "completed"), ("e", "completed")
                ] == await play.steps(instance)  # fmt: skip

    async def test_inclusive_gateway_joins_what_it_has_split(self, play: Play) -> None:
        """Only the branches whose condition holds are walked and waited for."""
        parts = [
            START,
            '<inclusiveGateway id="o" default="o_c"/><inclusiveGateway id="j"/>',
            external("a"),
            external("b"),
            external("c"),
            external("d"),
            path("s o"),
            flow("o", "a", "${x}"),
            flow("o", "b", "${y}"),
            path("o c j"),
            path("a j d"),
            path("b j"),
        ]
        await play.start(*parts, variables={"x": True, "y": True})
        assert ["a", "b"] == [task.topic for task in await play.fetch()]
        await play.engine.unlock_all("worker")
        await play.do("a")
        assert [] == await play.fetch("d")
        await play.do("b")
        await play.do("d")
        await play.again({"x": False, "y": False})
        await play.do("c")
        await play.do("d")

    async def test_inclusive_join_goes_on_when_the_other_token_ends(self, play: Play) -> None:
        """A token that ends elsewhere is waited for no more."""
        await play.start(
            START,
            '<parallelGateway id="p"/><inclusiveGateway id="j"/><exclusiveGateway id="x"/>',
            '<endEvent id="dead"/>',
            external("a"),
            external("b"),
            external("c"),
            path("s p a j c"),
            path("p b x"),
            flow("x", "j", "${on}"),
            flow("x", "dead", "${!on}"),
        )
        await play.do("a")
        assert [] == await play.fetch("c")
        await play.do("b", on=False)

        assert "c" == (await play.fetch_one()).topic

    async def test_flows_of_an_activity_split_and_have_conditions(self, play: Play) -> None:
        """An activity takes all of its flows that hold, or else its default."""
        parts = [
            START,
            '<task id="t" default="t_c"/>',
            external("a"),
            external("b"),
            external("c"),
            path("s t"),
            flow("t", "a", "${n > 1}"),
            flow("t", "b", "${n > 2}"),
            flow("t", "c"),
        ]
        await play.start(*parts, variables={"n": 3})
        await play.again({"n": 0})

        assert ["a", "b", "c"] == [task.topic for task in await play.fetch()]

    async def test_loop_is_walked_until_its_condition_fails(self, play: Play) -> None:
        """A flow may lead back."""
        await play.start(
            START,
            external("a"),
            '<exclusiveGateway id="x"/>',
            END,
            path("s a x"),
            flow("x", "a", "${n < 3}"),
            flow("x", "e", "${n >= 3}"),
            variables={"n": 0},
        )
        for n in (1, 2, 3):
            await play.do("a", n=n)

        assert [] == await play.fetch()

    # -- timers ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("timeDuration", "PT10S"),
            ("timeDuration", "${wait}"),
            ("timeDate", "2030-01-01T00:00:10Z"),
            ("timeDate", "2030-01-01T01:00:10+01:00"),
            ("timeCycle", "R3/PT10S"),
        ],
    )
    async def test_timer_event_waits_for_its_time(self, play: Play, kind: str, value: str) -> None:
        """A date, a duration or a cycle is waited for, once."""
        instance = await play.start(
            START,
            f'<intermediateCatchEvent id="w">{timer(kind, value)}</intermediateCatchEvent>',
            END,
            path("s w e"),
            variables={"wait": "PT10S"},
        )

        assert 0 == await play.elapse(seconds=9)
        assert 1 == await play.elapse(seconds=1)
        assert InstanceState.COMPLETED == await play.state(instance)
        assert 0 == await play.elapse(days=1)

    async def test_boundary_timer_interrupts_its_activity(self, play: Play) -> None:
        """At its time the activity is cancelled and the event's flow is taken."""
        parts = [
            START,
            external("a"),
            external("b"),
            END,
            LATE,
            path("s a e"),
            path("late b"),
        ]
        instance = await play.start(*parts)
        task = await play.fetch_one()
        assert 1 == await play.elapse(seconds=5)

        assert Outcome.GONE == await play.finish(task)
        assert "b" == (await play.fetch_one()).topic
        assert ("a", "cancelled") in await play.steps(instance)

    async def test_boundary_timer_is_gone_with_its_activity(self, play: Play) -> None:
        """A completed activity's timer fires no more."""
        await play.start(
            START,
            external("a"),
            END,
            f'<boundaryEvent id="late" attachedToRef="a">{timer("timeDuration", "PT5S")}'
            '</boundaryEvent><endEvent id="e2"/>',
            path("s a e"),
            path("late e2"),
        )
        await play.do("a")

        assert 0 == await play.elapse(minutes=1)

    async def test_timer_that_cannot_go_on_is_an_incident_until_retried(self, play: Play) -> None:
        """What fails behind a timer stops it; after the cause is mended it is retried."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/>',
            f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT5S")}'
            "</intermediateCatchEvent>",
            '<userTask id="u"/><exclusiveGateway id="x"/>',
            END,
            path("s p w x"),
            path("p u"),
            flow("x", "e", "${n == 1}"),
            flow("x", "u", "${n == 2}"),
        )
        await play.elapse(seconds=5)
        [incident] = await play.engine.incidents([instance.id])
        assert incident.message.startswith("x: ")
        assert 0 == await play.elapse(hours=1)
        [task] = await play.engine.user_tasks([instance.id])
        await play.engine.complete_user_task(task.id, {"n": 1})
        await play.engine.retry_incident(incident.id)

        assert 1 == await play.elapse(seconds=0)
        assert InstanceState.COMPLETED == await play.state(instance)


def _tally(steps: list[tuple[str, str]]) -> dict[str, int]:
    states = [state for _, state in steps]
    return {state: states.count(state) for state in states}


class TestInMemoryEngine(EngineContract):
    """The fake."""

    @pytest.fixture
    def play(self) -> Play:
        """Make a fresh engine."""
        clock = Clock()
        return Play(InMemoryEngine(now=clock), clock)


class TestEmbeddedEngine(EngineContract):
    """The embedded engine on PostgreSQL."""

    @pytest.fixture
    def play(self, database: Database) -> Play:
        """Make an engine on an empty database."""
        clock = Clock()
        return Play(EmbeddedEngine(database, now=clock), clock)
